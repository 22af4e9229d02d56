import type { TargetName } from "../../codegen/schedule/plan.ts";
import { schedule } from "../../codegen/schedule/schedule.ts";
import { BitloomError } from "../../errors/index.ts";
import type { Graph } from "../../ir/graph.ts";
import { runForwardPipeline } from "../../ir/passes/pipelines.ts";
import { memorySource, type ParameterSource } from "../checkpoint/source.ts";
import { type CompileProgress, type WrittenArtifact, writeArtifact } from "../compiler/artifact.ts";
import type { AnyModel } from "../dsl/model.ts";
import { positiveInteger } from "../dsl/options.ts";
import {
  lossGraph,
  predictGraph,
  stepOptions,
  type TrainingGraphOptions,
  trainingEntries,
} from "./train-step.ts";

export interface CompileTrainingOptions extends Omit<TrainingGraphOptions, "weights"> {
  /** The artifact's folder; an artifact that is there is replaced, anything else is an error. */
  readonly out: string;
  /**
   * Holds what is frozen, all but `parameters`: constants of the artifact, in the form that they are stored in, packed
   * where they are ternary. The caller closes it.
   */
  readonly weights?: ParameterSource;
  /** Calls whose gradients are averaged to one step. Default 1. */
  readonly accumulation?: number;
  /**
   * Whether a language model gets one more entry, `predict`: from tokens i32 [batch, seq] to the logits after the last of
   * them, f32 [batch, V]. Default false.
   */
  readonly predict?: boolean;
  /** Further files of the artifact by name. */
  readonly files?: Readonly<Record<string, string>>;
  /** What to compile for. Default: `wasm` alone. */
  readonly targets?: readonly TargetName[];
  /** Most threads a session may use; each has its own scratch memory. Default 32. */
  readonly maxThreads?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: CompileProgress) => void;
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
): Promise<WrittenArtifact> {
  const { out, accumulation = 1, targets = ["wasm"], maxThreads = 32, verify } = options;
  // Where nothing is frozen there is nothing but constants.
  const { signal, onProgress, weights = memorySource(new Map()), predict = false, files = {} } = options;
  positiveInteger("accumulation", accumulation);
  onProgress?.({ stage: "compiling the training step" });
  const graph = lossGraph(model, { ...options, weights });
  const training = trainingEntries(graph, accumulation, stepOptions(options));
  const logits = predict && lossGraph(model, { ...options, weights, loss: (traced) => traced });
  const entries = { ...training, ...(logits && { predict: predictGraph(logits, training.evaluate) }) };
  const lowered = Object.entries<Graph>(entries).map(([name, entry]) => [
    name,
    runForwardPipeline(entry, verify === undefined ? {} : { verify }),
  ]);
  const plan = await schedule(Object.fromEntries(lowered), { targets, maxThreads }).catch(lowerTheStep);
  return writeArtifact(plan, {
    out,
    name: model.name,
    weights,
    cudaArchitectures: [],
    files,
    ...(signal && { signal }),
    ...(onProgress && { onProgress }),
  });
}

/** What to change where a step takes more memory than there is. */
export function lowerTheStep(error: unknown): never {
  if (error instanceof BitloomError && (error.code === "LIMIT_EXCEEDED" || error.code === "OUT_OF_MEMORY")) {
    throw new BitloomError(error.code, "A training step needs more memory than there is", {
      ...(error.expected !== undefined && { expected: error.expected }),
      ...(error.received !== undefined && { received: error.received }),
      hint: "Lower `batch`, and raise `accumulation` by as much to keep the step; or lower `sequence`.",
      cause: error,
    });
  }
  throw error;
}
