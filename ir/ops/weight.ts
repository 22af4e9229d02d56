import { MAX_ACCUMULATION } from "../numerics.ts";
import type { DType, Encoding, TensorType } from "../types.ts";
import type { Site } from "./define.ts";

const floats: readonly DType[] = ["f32", "f16", "bf16"];

/** Checks that an operand can be a matrix of weights: literal [N, K], dense f32, f16 or bf16, or encoded. */
export function weightDims(type: TensorType, name: string, site: Site): readonly [number, number] {
  const [n, k] = type.dims;
  if (type.dims.length !== 2 || typeof n !== "number" || typeof k !== "number") {
    return site.shape(`${name} of literal dims [N, K]`);
  }
  if (!floats.includes(type.dtype) || (type.encoding && type.dtype !== "f32")) {
    site.dtype(`${name} of f32, f16 or bf16, or an encoded f32`);
  }
  return [n, k];
}

/** Checks that an operand is a ternary weight, and says where its scales are. */
export function ternaryEncoding(
  type: TensorType,
  name: string,
  site: Site,
): Extract<Encoding, { kind: "ternary" }> {
  if (type.encoding?.kind !== "ternary") return site.dtype(`${name} with ternary encoding`);
  return type.encoding;
}

/** Refuses an i32 accumulation so long that it is no longer exact as f32. */
export function requireExactAccumulation(length: number, site: Site): void {
  if (length > MAX_ACCUMULATION) {
    site.limit(`at most ${MAX_ACCUMULATION} products in one accumulation`, `K = ${length}`);
  }
}
