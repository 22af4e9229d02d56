import { resolve } from "node:path";
import type { Plan, TargetName } from "../../codegen/schedule/plan.ts";
import { schedule } from "../../codegen/schedule/schedule.ts";
import { BitloomError } from "../../errors/index.ts";
import type { Graph } from "../../ir/graph.ts";
import { partitionParameters } from "../../ir/passes/partition-parameters.ts";
import { artifactPath, type Manifest } from "../../runtime/manifest.ts";
import type { ParameterSource } from "../checkpoint/source.ts";
import { type AnyModel, isModel } from "../dsl/model.ts";
import { describe, invalidOption, knownOptions, requirePath } from "../dsl/options.ts";
import { type CompileProgress, type TargetReport, writeArtifact } from "./artifact.ts";
import { ArtifactFolder } from "./artifact-folder.ts";
import { type BuildLimits, buildLimits } from "./build-limits.ts";
import { checkArchitectures } from "./cuda-target.ts";
import { loaderSource, loaderTypes } from "./loader-files.ts";
import { type BuildBounds, type HeadStorage, headStorages, lowerModel } from "./lower.ts";

export interface CompileOptions extends BuildLimits {
  /** The artifact's folder; an artifact that is there is replaced, anything else is an error. */
  readonly out: string;
  /** Where the parameters come from. The caller closes it. */
  readonly weights: ParameterSource;
  /** How the embedding and head are stored where they are not ternary; default: as `weights` has them. */
  readonly head?: HeadStorage;
  readonly bounds?: BuildBounds;
  /**
   * What the target `cuda` is compiled for where this machine has nvcc; `[]` leaves its kernels as sources. Default:
   * `sm_80` and `sm_90`.
   */
  readonly cudaArchitectures?: readonly string[];
  /** Files for the artifact by name, such as tokenizer.json. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  /** Check the graph after every pass. */
  readonly verify?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: CompileProgress) => void;
}

/** What a build made, for people. */
export interface CompileReport {
  readonly out: string;
  readonly isLanguageModel: boolean;
  /** Run-time operations of each entry as described, lowered and fused, and the steps of its plans. */
  readonly entries: Readonly<
    Record<
      string,
      { described: number; lowered: number; fused: number; steps: Partial<Record<TargetName, number>> }
    >
  >;
  readonly targets: readonly TargetReport[];
  readonly parameters: { readonly count: number; readonly f32Bytes: number };
  /** Bytes of packed weights. */
  readonly weights: number;
  readonly timings: { readonly graphMs: number; readonly weightsMs: number };
}

const DEFAULT_ARCHITECTURES = ["sm_80", "sm_90"];
const optionNames: readonly (keyof CompileOptions)[] = [
  "out",
  "weights",
  "head",
  "bounds",
  "targets",
  "cudaArchitectures",
  "maxThreads",
  "files",
  "verify",
  "signal",
  "onProgress",
];
const boundNames: readonly (keyof BuildBounds)[] = ["context", "chunk", "batch"];

/**
 * Compiles a model into an artifact folder: graph, passes, kernels, plan, packed weights, typed loader. The
 * folder appears whole when everything has been written; a failure leaves nothing behind.
 *
 * @throws BitloomError with the codes of the stage that failed: the model's description, its weights
 *   (MISSING_TENSOR, SHAPE_MISMATCH, INVALID_WEIGHTS, …), INVALID_OPTION, UNSUPPORTED_OP, LIMIT_EXCEEDED,
 *   WRITE_FAILED, ABORTED
 */
export async function compile(model: AnyModel, options: CompileOptions): Promise<CompileReport> {
  checkArguments(model, options);
  const { out, weights, files = {}, cudaArchitectures = DEFAULT_ARCHITECTURES } = options;
  const { bounds = {}, head, verify, signal, onProgress } = options;
  const limits = buildLimits(options);
  const started = performance.now();
  // Whether it can be written is known at once, and compiling takes a while.
  await ArtifactFolder.requireRoom(out);
  onProgress?.({ stage: "compiling the graph" });
  const counts = new Map<string, number>();
  const graphs = lowerModel(model, weights, {
    bounds,
    ...(head && { head }),
    ...(verify && { verify }),
    onStage: (stage, entry, graph) => counts.set(`${entry} ${stage}`, operations(graph)),
  });
  const plan = await schedule(graphs, { ...limits, checks: true });
  const isLanguageModel = model.kind === "language-model";
  const written = await writeArtifact(plan, {
    out,
    name: model.name,
    weights,
    cudaArchitectures,
    files: {
      ...files,
      "index.js": loaderSource(isLanguageModel),
      "index.d.ts": loaderTypes(model.name, plan.entries.run!, isLanguageModel),
      "package.json": '{ "type": "module" }\n',
    },
    ...(model.kind === "language-model" && { languageModel: describeLanguageModel(model, plan, bounds) }),
    ...(signal && { signal }),
    ...(onProgress && { onProgress }),
  });

  const parameters = model.parameters().map(({ dims }) => dims.reduce((product, dim) => product * dim, 1));
  const count = parameters.reduce((sum, size) => sum + size, 0);
  const graphMs = written.targetsAt - started;
  return {
    out: resolve(out),
    isLanguageModel,
    entries: Object.fromEntries(
      Object.keys(graphs).map((name) => [
        name,
        {
          described: counts.get(`${name} bind`)!,
          lowered: counts.get(`${name} lower`)!,
          fused: counts.get(`${name} fuse`)!,
          steps: Object.fromEntries(
            Object.entries(plan.targets).map(([target, { plans }]) => [target, plans[name]!.length]),
          ),
        },
      ]),
    ),
    targets: written.targets,
    parameters: { count, f32Bytes: 4 * count },
    weights: plan.regions.weights,
    timings: { graphMs, weightsMs: performance.now() - started - graphMs },
  };
}

/** What TypeScript would have caught, and numbers out of range, before any work is done. */
function checkArguments(model: AnyModel, options: CompileOptions): void {
  if (!isModel(model)) {
    throw new BitloomError("INVALID_MODEL", "What is to be compiled is no model", {
      expected: "what defineModel or defineLanguageModel returns",
      received: describe(model),
    });
  }
  knownOptions("compile", options, optionNames);
  const { out, weights, head, bounds = {}, files = {}, cudaArchitectures = DEFAULT_ARCHITECTURES } = options;
  knownOptions("compile: bounds", bounds, boundNames);
  requirePath("out", out);
  checkFiles(files);
  if (typeof weights?.info !== "function") throw invalidOption("weights", "a parameter source", weights);
  if (head !== undefined && !headStorages.includes(head)) {
    throw invalidOption("head", headStorages.join(", "), head);
  }
  const { targets } = buildLimits(options);
  checkArchitectures(cudaArchitectures);
  if (options.cudaArchitectures !== undefined && !targets.includes("cuda")) {
    throw invalidOption("cudaArchitectures", "the target cuda with them", targets);
  }
}

/** Names that the compiler gives to files of its own. */
const ownNames =
  /^(?:manifest\.json|index\.js|index\.d\.ts|package\.json|kernels[./].*|weights[.-].*|self-check[.-].*)$/;

function checkFiles(files: Readonly<Record<string, string | Uint8Array>>): void {
  if (typeof files !== "object" || files === null || Array.isArray(files)) {
    throw invalidOption("files", "an object of contents by name", files);
  }
  for (const [name, content] of Object.entries(files)) {
    if (!artifactPath.safeParse(name).success || ownNames.test(name)) {
      throw invalidOption(
        "files",
        "names of letters, digits, . - _ and / that the artifact has not itself",
        name,
      );
    }
    if (typeof content !== "string" && !(content instanceof Uint8Array)) {
      throw invalidOption(`files: ${name}`, "a text or a Uint8Array", content);
    }
  }
}

function operations(graph: Graph): number {
  return partitionParameters(graph).runTime.length;
}

function describeLanguageModel(
  model: Extract<AnyModel, { kind: "language-model" }>,
  plan: Plan,
  { context }: BuildBounds,
): NonNullable<Manifest["languageModel"]> {
  const { symbols } = plan.entries.run!;
  const top = plan.entries.decode!.outputs.find(({ name }) => name === "topTokens")!;
  return {
    vocabularySize: model.vocabularySize,
    contextLength: context ?? model.contextLength,
    chunkLength: symbols.seq!,
    slots: symbols.slots!,
    candidates: top.dims.at(-1) as number,
    bosToken: model.bosToken,
    stopTokens: [...model.eosTokens],
  };
}
