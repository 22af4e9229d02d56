import type { ScaleGranularity } from "../../ir/types.ts";
import { type FloatType, floatBytes, type ParameterSource } from "./source.ts";

/** Group sizes of published models, besides the halves, quarters and eighths that sharded training leaves. */
const GROUP_SIZES = [256, 128, 64, 32];
const PIECE_BYTES = 2 * 1024 * 1024;

/**
 * Whether a dense [N, K] tensor is ternary: each value exactly 0 or +-scale with one scale a row or one for
 * each group of columns. The coarsest granularity that holds for every value, or undefined. An ordinary weight
 * is refused by its first row; only a ternary one is read to its end.
 */
export async function detectTernary(
  source: ParameterSource,
  path: string,
): Promise<ScaleGranularity | undefined> {
  const info = source.info(path);
  if (info?.form.kind !== "dense" || info.dims.length !== 2) return undefined;
  const [n, k] = info.dims as [number, number];
  const groups = [k / 2, k / 4, k / 8, ...GROUP_SIZES].filter(
    (group) => Number.isInteger(group) && group >= Math.min(...GROUP_SIZES) && group < k,
  );
  for (const group of [k, ...new Set(groups.sort((a, b) => b - a))]) {
    if (await holds(source, path, n, k, group, info.form.dtype)) return group === k ? "row" : { group };
  }
  return undefined;
}

async function holds(
  source: ParameterSource,
  path: string,
  n: number,
  k: number,
  group: number,
  dtype: FloatType,
): Promise<boolean> {
  const rowBytes = k * floatBytes[dtype];
  const most = Math.max(1, Math.floor(PIECE_BYTES / rowBytes));
  const bytes = new Uint8Array(most * rowBytes);
  // One row first: it is all that an ordinary weight costs.
  for (let row = 0, rows = 1; row < n; row += rows, rows = Math.min(most, n - row)) {
    const piece = bytes.subarray(0, rows * rowBytes);
    await source.read(path, row * rowBytes, piece);
    const values = dtype === "f32" ? new Uint32Array(bytes.buffer) : new Uint16Array(bytes.buffer);
    if (!haveOneMagnitude(values, rows, k, group, magnitudeMask[dtype])) return false;
  }
  return true;
}

/** Everything but the sign. */
const magnitudeMask: Readonly<Record<FloatType, number>> = { f32: 0x7fffffff, f16: 0x7fff, bf16: 0x7fff };

function haveOneMagnitude(
  values: Uint32Array | Uint16Array,
  rows: number,
  k: number,
  group: number,
  mask: number,
): boolean {
  for (let row = 0; row < rows; row++) {
    for (let start = 0; start < k; start += group) {
      const end = row * k + Math.min(k, start + group);
      let scale = 0;
      for (let i = row * k + start; i < end; i++) {
        const magnitude = values[i]! & mask;
        if (magnitude === 0 || magnitude === scale) continue;
        if (scale !== 0) return false;
        scale = magnitude;
      }
    }
  }
  return true;
}
