import { BitloomError } from "../../errors/index.ts";
import type { Graph } from "../../ir/graph.ts";
import { type BindOptions, bindParameters, type StoredParameter } from "../../ir/passes/bind-parameters.ts";
import {
  decodeGraph,
  forwardPipeline,
  prefillGraph,
  runForwardPipeline,
  type StageName,
} from "../../ir/passes/pipelines.ts";
import type { Pass } from "../../ir/rewrite.ts";
import type { ParameterInfo, ParameterSource } from "../checkpoint/source.ts";
import type { AnyModel } from "../dsl/model.ts";
import { invalidOption } from "../dsl/options.ts";

/** How the embedding and the output head are stored where they are not ternary. */
export type HeadStorage = NonNullable<BindOptions["head"]>;
export const headStorages: readonly HeadStorage[] = ["f32", "bf16", "f16", "int8"];

/** Bounds a build may choose over the model's own. */
export interface BuildBounds {
  /** Longest sequence of a language model. */
  readonly context?: number | undefined;
  /** Tokens of a prompt computed at once: the bound of `seq`. */
  readonly chunk?: number | undefined;
  /** The bound of `batch`. */
  readonly batch?: number | undefined;
}

export interface LowerOptions extends BindOptions {
  readonly bounds?: BuildBounds;
  /** Check the graph after every pass. */
  readonly verify?: boolean;
  /** Stop after this stage. */
  readonly after?: Stage;
  readonly onPass?: (pass: Pass, graph: Graph) => void;
  /** Told of each entry's graph after each stage from `bind` on. */
  readonly onStage?: (stage: Stage, entry: string, graph: Graph) => void;
}

/** Where `bitloom inspect --after` can stop. */
export type Stage = "trace" | "bind" | StageName;
export const stages: readonly Stage[] = ["trace", "bind", ...forwardPipeline.map(({ name }) => name)];

/**
 * From a model and what its weights are stored as to one optimised graph for each entry point: `run` for any
 * model, and `prefill` and `decode` for a language model.
 *
 * @throws BitloomError of the model's own description, MISSING_TENSOR and SHAPE_MISMATCH of its weights,
 *   INVALID_OPTION for a bound the model does not have.
 */
export function lowerModel(
  model: AnyModel,
  weights: Pick<ParameterSource, "info" | "location">,
  options: LowerOptions = {},
): Record<string, Graph> {
  const { after, bounds = {}, head, onStage, ...passOptions } = options;
  if (after !== undefined && !stages.includes(after)) {
    throw new BitloomError("INVALID_OPTION", `There is no stage "${after}"`, { expected: stages.join(", ") });
  }
  let graph = trace(model, bounds);
  if (after !== "trace") {
    graph = bindParameters(graph, (path) => storedParameter(weights.info(path)), {
      location: weights.location,
      ...(head && { head }),
    });
  }
  const entries: Record<string, Graph> =
    model.kind === "language-model"
      ? { run: graph, prefill: prefillGraph(graph), decode: decodeGraph(graph) }
      : { run: graph };
  if (after === "trace") return entries;
  for (const [name, entry] of Object.entries(entries)) onStage?.("bind", name, entry);
  if (after === "bind") return entries;
  return Object.fromEntries(
    Object.entries(entries).map(([name, entry]) => [
      name,
      runForwardPipeline(entry, {
        ...passOptions,
        ...(after && { after }),
        ...(onStage && { onStage: (stage: StageName, graph: Graph) => onStage(stage, name, graph) }),
      }),
    ]),
  );
}

function trace(model: AnyModel, { context, chunk, batch }: BuildBounds): Graph {
  const symbols = {
    ...(batch !== undefined && { batch: { max: batch } }),
    ...(chunk !== undefined && { seq: { max: chunk } }),
  };
  if (model.kind === "language-model") {
    const longest = context ?? model.contextLength;
    if (chunk !== undefined && chunk > longest) {
      throw invalidOption("bounds.chunk", `at most the context of ${longest} tokens`, chunk);
    }
    return model.trace({ symbols, ...(context !== undefined && { contextLength: context }) });
  }
  if (context !== undefined) {
    throw new BitloomError("INVALID_OPTION", `${model.name} has no context`, {
      expected: "a language model",
      hint: "Leave out --context.",
    });
  }
  return model.trace({ symbols });
}

/** How a checkpoint's parameter is bound to a graph. */
export function storedParameter(info: ParameterInfo | undefined): StoredParameter | undefined {
  if (info === undefined) return undefined;
  const { dims, form } = info;
  if (form.kind === "ternary-packed") {
    return { dims, form: { kind: "ternary", scale: form.scale.length === 1 ? "tensor" : "row" } };
  }
  if (form.ternary !== undefined) return { dims, form: { kind: "ternary", scale: form.ternary } };
  return { dims, form };
}
