import type { KeyValueCache } from "../layers/key-value-cache.ts";
import { located } from "../located.ts";
import { knownOptions, positiveNumber } from "../options.ts";
import type { Dim } from "../shape-types.ts";
import type { Tensor } from "../tensor.ts";
import { type Trace, traceOf } from "../trace.ts";

export interface AttentionOptions<KV extends number = number, D extends number = number> {
  /**
   * Remember k and v of this call and attend to those of earlier calls too; for language models. Without
   * it, attention reaches over the tokens of this call.
   */
  readonly cache?: KeyValueCache<KV, D>;
  /** What the scores are multiplied by. Default 1 / sqrt(headDim). */
  readonly scale?: number;
}

/**
 * Causal grouped-query attention (GQA, arXiv:2305.13245): every token attends to itself and what came
 * before, `softmax(scale * q·k) v` in f32, and consecutive groups of heads/kvHeads query heads share one
 * key-value head.
 * q `f32[batch, seq, heads, headDim]`, k and v `f32[batch, seq, kvHeads, headDim]` -> `f32[batch, seq, heads, headDim]`.
 * @throws BitloomError SHAPE_MISMATCH when heads is not a multiple of kvHeads or the shapes differ otherwise;
 * INVALID_MODEL for a cache outside of a language model.
 */
export function attention<
  Batch extends Dim,
  Seq extends Dim,
  Heads extends number,
  KV extends number,
  D extends number,
>(
  q: Tensor<"f32", [Batch, Seq, Heads, D]>,
  k: Tensor<"f32", [NoInfer<Batch>, NoInfer<Seq>, KV, NoInfer<D>]>,
  v: Tensor<"f32", [NoInfer<Batch>, NoInfer<Seq>, NoInfer<KV>, NoInfer<D>]>,
  options: AttentionOptions<NoInfer<KV>, NoInfer<D>> = {},
): Tensor<"f32", [Batch, Seq, Heads, D]> {
  const trace = traceOf("attention", q, k, v);
  knownOptions("attention", options, ["cache", "scale"]);
  const headDim = Number(q.dims.at(-1));
  const scale = positiveNumber("attention: scale", options.scale ?? 1 / Math.sqrt(headDim));
  const { cache } = options;
  if (cache === undefined) return trace.tensor("attention", [q, k, v], { scale });
  const sequence = sequenceOf(trace);
  const { positions, slots, contextLength } = sequence;
  const dims = ["slots", contextLength, cache.heads, cache.headDim];
  const remember = (name: string, x: Tensor) =>
    trace.updateState(cache, name, dims, (state) =>
      trace.tensor("cache_write", [state, x, slots, positions], {}, `${trace.pathOf(cache)}.${name}`),
    );
  const keys = remember("k", k);
  const values = remember("v", v);
  return trace.tensor("attention", [q, keys, values, slots, positions], { scale });
}

function sequenceOf(trace: Trace) {
  if (trace.sequence !== undefined) return trace.sequence;
  throw located("INVALID_MODEL", "a key-value cache needs a language model", {
    hint: "Use defineLanguageModel, or leave the cache out.",
  });
}
