import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { formatBytes } from "../../../codegen/schedule/bytes.ts";
import type { Plan, PlannedKernel, TargetName } from "../../../codegen/schedule/plan.ts";
import { formatArgument, formatPlan } from "../../../codegen/schedule/plan-summary.ts";
import { schedule, targetNames } from "../../../codegen/schedule/schedule.ts";
import { formatExpr } from "../../../codegen/schedule/symbols.ts";
import { renderCuda } from "../../../codegen/targets/cuda/render.ts";
import { renderKernelModule } from "../../../codegen/targets/wasm/functions.ts";
import { renderWgsl } from "../../../codegen/targets/wgsl/render.ts";
import { BitloomError } from "../../../errors/index.ts";
import { partitionParameters } from "../../../ir/passes/partition-parameters.ts";
import { printGraph } from "../../../ir/text/print.ts";
import type { Manifest, Plans } from "../../../runtime/manifest.ts";
import { parseManifest } from "../../../runtime/parse-manifest.ts";
import { cudaBody } from "../../compiler/cuda-target.ts";
import { type HeadStorage, lowerModel, type Stage } from "../../compiler/lower.ts";
import { weightStatistics } from "../../compiler/weight-statistics.ts";
import { formatTable } from "../format.ts";
import { openSubject, type SubjectOptions } from "../subject.ts";

export interface InspectOptions extends SubjectOptions {
  readonly after?: Stage;
  readonly entry?: string;
  readonly target?: TargetName;
  readonly plan?: boolean;
  readonly kernel?: string;
  readonly head?: HeadStorage;
  readonly context?: number;
  readonly chunk?: number;
  readonly batch?: number;
  readonly verify?: boolean;
}

/** Prints what the compiler makes of a model, or what an artifact holds. */
export async function inspect(path: string | undefined, options: InspectOptions): Promise<void> {
  const isArtifact = path !== undefined && existsSync(join(path, "manifest.json"));
  const text = isArtifact ? await inspectArtifact(path, options) : await inspectModel(path, options);
  process.stdout.write(`${text.trimEnd()}\n`);
}

async function inspectModel(path: string | undefined, options: InspectOptions): Promise<string> {
  const { after, entry, target = "wasm", head, verify, context, chunk, batch } = options;
  if (!targetNames.includes(target)) {
    throw new BitloomError("INVALID_OPTION", `There is no target "${target}"`, {
      expected: targetNames.join(", "),
    });
  }
  const { model, weights } = await openSubject(path, { ...options, orRandom: true });
  try {
    const operations = new Map<Stage, string[]>();
    const graphs = lowerModel(model, weights, {
      bounds: { context, chunk, batch },
      ...(head && { head }),
      ...(verify && { verify }),
      ...(after && { after }),
      onStage(stage, _, graph) {
        const counts = operations.get(stage) ?? [];
        operations.set(stage, [...counts, `${partitionParameters(graph).runTime.length}`]);
      },
    });
    const graph = graphs[chooseEntry(graphs, entry)]!;
    if (after !== undefined) return printGraph(graph);
    if (options.kernel === undefined && !options.plan) {
      return `${model.name}
${formatTable([["ops after", ...Object.keys(graphs)], ...[...operations].map(([stage, counts]) => [stage, ...counts])])}

${printGraph(graph)}
--after <stage> prints an earlier graph, --entry <name> another entry, --plan the steps, --kernel <name> a kernel.`;
    }
    const plan = await schedule(graphs, { targets: [target], maxThreads: 1 });
    if (options.kernel !== undefined) return kernelText(plan, target, options.kernel);
    return formatPlan(plan, target, entry);
  } finally {
    await weights.close();
  }
}

/** The asked-for entry, or the one a user cares for most: what runs for every token, or the only one. */
function chooseEntry(entries: Readonly<Record<string, unknown>>, name?: string): string {
  if (name === undefined) return "decode" in entries ? "decode" : "run";
  if (Object.hasOwn(entries, name)) return name;
  throw new BitloomError("INVALID_OPTION", `There is no entry "${name}"`, {
    expected: Object.keys(entries).join(", "),
  });
}

/** How each target's kernels read. */
const renderers: Readonly<Record<TargetName, (kernel: PlannedKernel) => string>> = {
  wasm: ({ variants }) => renderKernelModule([variants.baseline]),
  webgpu: ({ variants }) => renderWgsl(variants.baseline).text,
  cuda: (kernel) => renderCuda(cudaBody(kernel)).text,
};

function kernelText({ targets }: Plan, target: TargetName, name: string): string {
  const { kernels } = targets[target]!;
  const kernel = kernels.find((candidate) => candidate.name === name);
  if (kernel !== undefined) return renderers[target](kernel);
  throw unknownKernel(kernels, name);
}

function unknownKernel(kernels: readonly { readonly name: string }[], name: string): BitloomError {
  return new BitloomError("INVALID_OPTION", `There is no kernel "${name}"`, {
    expected: [...new Set(kernels.map((kernel) => kernel.name))].join(", "),
  });
}

async function inspectArtifact(folder: string, options: InspectOptions): Promise<string> {
  if (options.after !== undefined) {
    throw new BitloomError("INVALID_OPTION", "An artifact holds kernels and a plan, no graph", {
      received: `--after ${options.after}`,
      hint: "Inspect the model or the checkpoint instead.",
    });
  }
  const manifest = parseManifest(await readText(join(folder, "manifest.json")));
  const { entry } = options;
  if (entry !== undefined) chooseEntry(manifest.entries, entry);
  const targets = chooseTargets(manifest, options.target);
  if (options.kernel !== undefined) return kernelSources(folder, targets, options.kernel);
  if (options.plan) {
    const names = entry === undefined ? Object.keys(manifest.entries) : [entry];
    return targets
      .flatMap((target) => names.map((name) => formatSteps(name, target, targets.length > 1)))
      .join("\n");
  }
  return summarize(folder, manifest, targets);
}

async function readText(path: string): Promise<string> {
  return readFile(path, "utf8").catch((cause) => {
    throw new BitloomError("READ_FAILED", "A file of the artifact cannot be read", {
      received: (cause as Error).message,
      location: path,
      cause,
    });
  });
}

/** What inspecting tells of every target alike. */
interface BuiltTarget {
  readonly name: string;
  readonly arena: number;
  readonly plans: Plans;
  readonly kernels: readonly {
    readonly name: string;
    readonly template: string;
    readonly sources: readonly string[];
  }[];
}

function targetsOf({ targets: { wasm, webgpu, cuda } }: Manifest): readonly BuiltTarget[] {
  const alone = <K extends { readonly source: string }>(kernel: K) => ({
    ...kernel,
    sources: [kernel.source],
  });
  return [
    ...(wasm ? [{ ...wasm, name: "wasm", kernels: wasm.kernels.map(alone) }] : []),
    ...(webgpu
      ? [
          {
            ...webgpu,
            name: "webgpu",
            kernels: webgpu.kernels.map((kernel) => ({
              ...kernel,
              sources: kernel.variants.map(({ source }) => source),
            })),
          },
        ]
      : []),
    ...(cuda ? [{ ...cuda, name: "cuda", kernels: cuda.kernels.map(alone) }] : []),
  ];
}

/** The asked-for target, or every one the artifact was built for. */
function chooseTargets(manifest: Manifest, name?: TargetName): readonly BuiltTarget[] {
  const built = targetsOf(manifest);
  const chosen = built.filter((target) => name === undefined || target.name === name);
  if (chosen.length > 0) return chosen;
  throw new BitloomError("INVALID_OPTION", `The artifact was not built for target "${name}"`, {
    expected: built.map((target) => target.name).join(", "),
  });
}

/** The text of a kernel, or the texts that targets and devices have of it, each under its file's name. */
async function kernelSources(folder: string, targets: readonly BuiltTarget[], name: string): Promise<string> {
  const kernels = targets.flatMap((target) => target.kernels);
  const sources = kernels.filter((kernel) => kernel.name === name).flatMap((kernel) => kernel.sources);
  if (sources.length === 0) throw unknownKernel(kernels, name);
  const texts = await Promise.all(sources.map((source) => readText(join(folder, source))));
  if (texts.length === 1) return texts[0]!;
  return texts.map((text, index) => `${sources[index]}\n\n${text}`).join("\n\n");
}

function formatSteps(name: string, target: BuiltTarget, isOneOfMany: boolean): string {
  const steps = target.plans[name]!;
  const rows = steps.map(({ label, kernel, range, arguments: values }) => [
    label,
    kernel,
    `${formatExpr(range)} items`,
    values.map(formatArgument).join(", "),
  ]);
  const where = isOneOfMany ? ` on ${target.name}` : "";
  return `${name}${where}: ${steps.length} steps\n${formatTable(rows)}\n`;
}

async function summarize(
  folder: string,
  manifest: Manifest,
  targets: readonly BuiltTarget[],
): Promise<string> {
  const { ternary, zeros, weights, bytes } = await weightStatistics(folder, manifest);
  const wasm = targets.some(({ name }) => name === "wasm") ? manifest.targets.wasm : undefined;
  const on = (target: BuiltTarget) => (targets.length === 1 ? "" : ` on ${target.name}`);
  const signature = (slots: Manifest["entries"][string]["inputs"]) =>
    slots.map(({ name, dtype, dims }) => `${name} ${dtype}[${dims.join(", ")}]`).join(", ");
  const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
  return `${manifest.name}, made by ${manifest.generator}

weights
${formatTable([
  ["values, with tables", weights.toLocaleString("en-US")],
  [
    "ternary",
    `${ternary.toLocaleString("en-US")}, ${ternary === 0 ? "none" : percent(zeros / ternary)} of them zero`,
  ],
  [
    "bytes",
    weights === 0
      ? formatBytes(bytes)
      : `${formatBytes(bytes)}, ${((4 * weights) / bytes).toFixed(1)} times smaller than f32`,
  ],
])}

entries
${formatTable(
  Object.entries(manifest.entries).map(([name, { inputs, outputs }]) => [
    name,
    targets.map((target) => `${target.plans[name]!.length} steps${on(target)}`).join(", "),
    `${signature(inputs)} → ${signature(outputs)}`,
  ]),
)}

memory
${formatTable([
  ["weights", formatBytes(bytes)],
  ["state", formatBytes(manifest.regions.state)],
  ...targets.map((target) => [`temporaries${on(target)}`, formatBytes(target.arena)]),
  ["inputs and outputs", formatBytes(manifest.regions.io)],
  ...(wasm ? [["scratch a thread", formatBytes(wasm.memory.scratchBytes)]] : []),
  ...(wasm ? [["WebAssembly memory in all", formatBytes(wasm.memory.totalBytes)]] : []),
])}

kernels
${formatTable(targets.flatMap(({ kernels }) => kernels.map(({ name, template }) => [name, template])))}

files
${formatTable(manifest.files.map((file) => [file.path, formatBytes(file.bytes)]))}

--plan prints every step, --kernel <name> a kernel's source.`;
}
