/** Attention and what it must give, whatever the target. */
import { expect } from "vitest";

export interface AttentionShape {
  readonly batch: number;
  readonly seq: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly dim: number;
}

/** Softmax attention in f64; `rowsOf` gives the key rows that query t of a batch sees. */
export function attend(
  { batch, seq, heads, kvHeads, dim }: AttentionShape,
  q: Float32Array,
  qStride: number,
  keys: Float32Array,
  values: Float32Array,
  strides: { readonly key: number; readonly value: number },
  scale: number,
  rowsOf: (batch: number, t: number) => readonly number[],
): Float64Array {
  const out = new Float64Array(batch * seq * heads * dim);
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < seq; t++) {
      for (let h = 0; h < heads; h++) {
        const kv = Math.floor(h / (heads / kvHeads)) * dim;
        const rows = rowsOf(b, t);
        const scores = rows.map((row) => {
          let dot = 0;
          for (let i = 0; i < dim; i++)
            dot += q[(b * seq + t) * qStride + h * dim + i]! * keys[row * strides.key + kv + i]!;
          return dot * scale;
        });
        const largest = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - largest));
        const sum = weights.reduce((total, weight) => total + weight, 0);
        rows.forEach((row, j) => {
          for (let i = 0; i < dim; i++) {
            out[((b * seq + t) * heads + h) * dim + i]! +=
              (weights[j]! / sum) * values[row * strides.value + kv + i]!;
          }
        });
      }
    }
  }
  return out;
}

/** Fails unless every element is within 1e-5, for values of magnitude 1. */
export function expectAttention(out: Float32Array, wanted: Float64Array): void {
  wanted.forEach((value, i) => {
    expect(Math.abs(out[i]! - value), `element ${i}`).toBeLessThanOrEqual(1e-5);
  });
}

export const range = (length: number, from = 0) => Array.from({ length }, (_, i) => from + i);

export const attentionShapes: readonly AttentionShape[] = [
  { batch: 1, seq: 1, heads: 1, kvHeads: 1, dim: 4 },
  { batch: 2, seq: 5, heads: 2, kvHeads: 2, dim: 16 },
  { batch: 1, seq: 7, heads: 4, kvHeads: 1, dim: 8 },
  { batch: 1, seq: 3, heads: 20, kvHeads: 5, dim: 128 },
  { batch: 1, seq: 150, heads: 3, kvHeads: 1, dim: 40 },
  { batch: 2, seq: 4, heads: 6, kvHeads: 2, dim: 7 },
  { batch: 1, seq: 70, heads: 7, kvHeads: 1, dim: 33 },
];
