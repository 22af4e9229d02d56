import { schedule } from "../../codegen/schedule/schedule.ts";
import { BitloomError } from "../../errors/index.ts";
import type { Graph } from "../../ir/graph.ts";
import { runForwardPipeline } from "../../ir/passes/pipelines.ts";
import type { WasmFeatures } from "../../runtime/index.ts";
import { memorySource, type ParameterSource } from "../checkpoint/source.ts";
import { type CompileProgress, type WrittenArtifact, writeArtifact } from "../compiler/artifact.ts";
import { type BuildLimits, buildLimits } from "../compiler/build-limits.ts";
import type { AnyModel } from "../dsl/model.ts";
import { positiveInteger } from "../dsl/options.ts";
import {
  lossGraph,
  predictGraph,
  stepOptions,
  type TrainingGraphOptions,
  trainingEntries,
} from "./train-step.ts";

export interface CompileTrainingOptions
  extends Omit<TrainingGraphOptions, "weights" | "recompute">,
    BuildLimits {
  /** The artifact's folder; an artifact that is there is replaced, anything else is an error. */
  readonly out: string;
  /**
   * Holds what is frozen, all but `parameters`: constants of the artifact, in the form that they are stored in, packed
   * where they are ternary. The caller closes it.
   */
  readonly weights?: ParameterSource;
  /**
   * Whether activations are computed again for the gradients, which takes less memory and about a third more time; the
   * numbers are the same. Default `"auto"`: where a target or `maxMemory` has no room for the step otherwise.
   */
  readonly recompute?: boolean | "auto";
  /** Most bytes that the step may take on a target. Default: what the target can have. */
  readonly maxMemory?: number;
  /** Calls whose gradients are averaged to one step. Default 1. */
  readonly accumulation?: number;
  /**
   * Whether a language model gets one more entry, `predict`: from tokens i32 [batch, seq] to the logits after the last of
   * them, f32 [batch, V]. Default false.
   */
  readonly predict?: boolean;
  /** Further files of the artifact by name. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  /**
   * What the one engine can do that will run the artifact on WebAssembly, with `maxThreads` threads: others' modules are
   * left out. Default: modules for every engine.
   */
  readonly engine?: WasmFeatures;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: CompileProgress) => void;
}

/** What a build of a training made. */
export interface WrittenTraining extends WrittenArtifact {
  /** Whether activations are computed again for the gradients. */
  readonly recomputes: boolean;
}

/**
 * Compiles a model's training into an artifact that the runtime loads as any other. Its entries are those of
 * `TrainingEntries`, and `predict` where it is asked for; its states, which `Model.readState` and `writeState` reach by name, are the trained parameters
 * (f32, by path, zero at load), `<path>.gradient`, and what the optimizer keeps.
 * @throws BitloomError of the model's description, INVALID_OPTION, INVALID_GRAPH, UNSUPPORTED_OP, WRITE_FAILED,
 *   ABORTED, MISSING_TENSOR and others of the weights, and LIMIT_EXCEEDED for a step that needs more memory than a target has
 */
export async function compileTraining(
  model: AnyModel,
  options: CompileTrainingOptions,
): Promise<WrittenTraining> {
  // Where nothing is frozen there is nothing but constants.
  const { out, engine, signal, onProgress, weights = memorySource(new Map()), files = {} } = options;
  onProgress?.({ stage: "compiling the training step" });
  const { plan, recomputes } = await planTraining(model, { ...options, weights });
  const written = await writeArtifact(plan, {
    out,
    name: model.name,
    weights,
    cudaArchitectures: [],
    files,
    ...(engine && { engine }),
    ...(signal && { signal }),
    ...(onProgress && { onProgress }),
  });
  return { ...written, recomputes };
}

/** The plan of a step, and whether activations are computed again in it. */
async function planTraining(model: AnyModel, options: Omit<CompileTrainingOptions, "out">) {
  const { accumulation = 1, maxMemory, predict = false } = options;
  const { recompute = "auto", verify } = options;
  const limits = {
    ...buildLimits(options),
    checks: true,
    ...(maxMemory !== undefined && { maxMemory }),
  };
  positiveInteger("accumulation", accumulation);
  if (maxMemory !== undefined) positiveInteger("maxMemory", maxMemory);
  const graph = lossGraph(model, options);
  const logits = predict && lossGraph(model, { ...options, loss: (traced) => traced });
  const plan = async (recomputes: boolean) => {
    const step = trainingEntries(graph, accumulation, { ...stepOptions(options), recompute: recomputes });
    const entries = { ...step, ...(logits && { predict: predictGraph(logits, step.evaluate) }) };
    const lowered = Object.entries<Graph>(entries).map(([name, entry]) => [
      name,
      runForwardPipeline(entry, verify === undefined ? {} : { verify }),
    ]);
    return { plan: await schedule(Object.fromEntries(lowered), limits), recomputes };
  };
  const first = plan(recompute === true);
  const last = recompute === "auto" ? first.catch((error) => whereShort(error, () => plan(true))) : first;
  return last.catch((error) => lowerTheStep(error, recompute !== false));
}

/** Goes on in another way where memory was short. */
export async function whereShort<T>(error: unknown, otherwise: () => Promise<T>): Promise<T> {
  if (isShortage(error)) return otherwise();
  throw error;
}

function isShortage(error: unknown): error is BitloomError {
  return error instanceof BitloomError && ["LIMIT_EXCEEDED", "OUT_OF_MEMORY"].includes(error.code);
}

/** What to change where a step takes more memory than there is. */
export function lowerTheStep(error: unknown, recomputes: boolean): never {
  if (!isShortage(error)) throw error;
  const lower = "Lower `batch`, and raise `accumulation` by as much to keep the step; or lower `sequence`.";
  throw new BitloomError(error.code, "A training step needs more memory than there is", {
    ...(error.expected !== undefined && { expected: error.expected }),
    ...(error.received !== undefined && { received: error.received }),
    hint: recomputes ? lower : `${lower} Or set \`recompute\`, which takes more time instead.`,
    cause: error,
  });
}
