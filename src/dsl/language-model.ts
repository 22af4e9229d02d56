import type { Graph, SymbolBound } from "../../ir/graph.ts";
import { declaredParameters, type NamedLayers } from "./layer.ts";
import { located } from "./located.ts";
import { callerLocation } from "./location.ts";
import {
  callForward,
  finish,
  type Model,
  modelBrand,
  modelName,
  requireForward,
  type TraceOptions,
  withBounds,
  withLayers,
  wrongResult,
} from "./model.ts";
import { invalidOption, knownOptions, positiveInteger } from "./options.ts";
import { i32, Tensor, type TensorSpec } from "./tensor.ts";
import { type Sequence, Trace } from "./trace.ts";

export type { Sequence };

/** The inputs of every language model. */
export interface LanguageModelInputs {
  readonly [name: string]: TensorSpec;
  /** Token ids of this call. */
  readonly tokens: TensorSpec<"i32", ["batch", "seq"]>;
  /** Index of each sequence's first token in its context. */
  readonly positions: TensorSpec<"i32", ["batch"]>;
  /** Which cache slot each sequence lives in. */
  readonly slots: TensorSpec<"i32", ["batch"]>;
}

/** What `defineLanguageModel` takes. */
export interface LanguageModelDefinition<V extends number, L extends NamedLayers> {
  /** Names the artifact and the graph. */
  readonly name: string;
  /** Number of tokens; the last axis of the logits. */
  readonly vocabularySize: V;
  /** Most positions a sequence can have: rows of the KV cache and of the RoPE tables. */
  readonly contextLength: number;
  /** The token that starts a sequence, if there is one. Default `null`. */
  readonly bosToken?: number | null;
  /** Tokens that end generation. Default none. */
  readonly eosTokens?: readonly number[];
  /**
   * `batch`: sequences of one call (default 1). `seq`: tokens of one call, longer prompts come in chunks
   * (default 64, never above the context). `slots`: sequences the cache holds (default that of `batch`).
   */
  readonly symbols?: {
    readonly batch?: SymbolBound;
    readonly seq?: SymbolBound;
    readonly slots?: SymbolBound;
  };
  /** Everything with weights or state. The path of a layer here is the name of its weights in a checkpoint. */
  readonly layers: L;
  /**
   * From tokens `i32[batch, seq]` to logits `f32[batch, seq, vocabulary]`. `rope` and `attention` know where
   * the tokens stand; `sequence` says it to anything else.
   */
  readonly forward: (
    tokens: Tensor<"i32", ["batch", "seq"]>,
    layers: L,
    sequence: Sequence,
  ) => Tensor<"f32", ["batch", "seq", NoInfer<V>]>;
}

/** Bounds that a build chooses over those of the model. */
export interface LanguageModelTraceOptions extends TraceOptions {
  /** A shorter or longer context than the model's own. */
  readonly contextLength?: number;
}

/** A described language model, ready to be compiled. */
export interface LanguageModel<V extends number = number>
  extends Omit<
    Model<LanguageModelInputs, { logits: Tensor<"f32", ["batch", "seq", V]> }>,
    "kind" | "trace" | typeof withLayers
  > {
  readonly kind: "language-model";
  readonly vocabularySize: V;
  readonly contextLength: number;
  readonly bosToken: number | null;
  readonly eosTokens: readonly number[];
  trace(options?: LanguageModelTraceOptions): Graph;
  /** The model that `change` makes of this one's layers; forward stays. */
  [withLayers](change: (layers: NamedLayers) => NamedLayers): LanguageModel<V>;
}

const DEFAULT_CHUNK = 64;
const inputs: LanguageModelInputs = {
  tokens: i32("batch", "seq"),
  positions: i32("batch"),
  slots: i32("batch"),
};

/**
 * Describes a causal language model: tokens in, logits out, with a KV cache where the layers hold one.
 *
 * ```ts
 * export default defineLanguageModel({
 *   name: "bigram",
 *   vocabularySize: 256,
 *   contextLength: 128,
 *   layers: { embed: embedding(256, 64), mix: bitLinear(64, 64) },
 *   forward: (tokens, { embed, mix }) => embed.head(relu2(mix(embed(tokens)))),
 * });
 * ```
 * @throws BitloomError INVALID_MODEL or INVALID_OPTION for a definition that cannot be a model.
 */
export function defineLanguageModel<const V extends number, L extends NamedLayers>(
  definition: LanguageModelDefinition<V, L>,
): LanguageModel<V> {
  knownOptions("defineLanguageModel", definition, [
    "name",
    "vocabularySize",
    "contextLength",
    "bosToken",
    "eosTokens",
    "symbols",
    "layers",
    "forward",
  ]);
  const { layers, forward, bosToken = null, eosTokens = [] } = definition;
  const name = modelName(definition.name);
  const vocabularySize = definition.vocabularySize;
  positiveInteger("vocabularySize", vocabularySize);
  const ownContext = positiveInteger("contextLength", definition.contextLength);
  for (const token of bosToken === null ? eosTokens : [bosToken, ...eosTokens]) {
    if (!Number.isInteger(token) || token < 0 || token >= vocabularySize) {
      throw invalidOption("bosToken or eosTokens", `an id in 0..${vocabularySize - 1}`, token);
    }
  }
  const symbolsFor = (contextLength: number, bounds: TraceOptions["symbols"] = {}) => {
    const chosen: TraceOptions["symbols"] = { ...definition.symbols, ...bounds };
    const batch = chosen.batch ?? { max: 1 };
    const defaults = { batch, seq: { max: Math.min(DEFAULT_CHUNK, contextLength) }, slots: batch };
    const symbols = withBounds(new Map(Object.entries(defaults)), chosen);
    const chunk = symbols.get("seq")!.max;
    if (chunk > contextLength)
      throw invalidOption("symbols: seq.max", `at most the context of ${contextLength}`, chunk);
    return symbols;
  };
  const parameters = declaredParameters(layers);
  requireForward(forward);
  const location = callerLocation();
  return {
    [modelBrand]: true,
    kind: "language-model",
    name,
    inputs,
    symbols: symbolsFor(ownContext),
    vocabularySize,
    contextLength: ownContext,
    bosToken,
    eosTokens,
    parameters: () => parameters,
    trace(options = {}) {
      const contextLength = positiveInteger("contextLength", options.contextLength ?? ownContext);
      const trace = new Trace(name, symbolsFor(contextLength, options.symbols), layers);
      const tokens = trace.input("tokens", inputs.tokens);
      const positions = trace.input("positions", inputs.positions);
      const slots = trace.input("slots", inputs.slots);
      const sequence = { positions, slots, contextLength };
      trace.sequence = sequence;
      const logits = callForward(name, () => forward(tokens, layers, sequence));
      const expected = `f32[batch, seq, ${vocabularySize}]`;
      const summary = `forward of ${name} must return logits`;
      if (!Tensor.is(logits)) throw wrongResult(summary, expected, logits, location);
      if (String(logits) !== expected) {
        throw located("SHAPE_MISMATCH", summary, { expected, received: String(logits) }, location);
      }
      return finish(trace, { logits }, location);
    },
    [withLayers]: (change) => defineLanguageModel({ ...definition, layers: change(layers) as L }),
  };
}
