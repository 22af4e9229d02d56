import { BitloomError } from "../../errors/index.ts";
import { bf16ToF32, f16ToF32 } from "../../ir/tensor.ts";
import type { FloatType } from "./source.ts";

/** Widens stored little-endian floats; exact. */
export function widen(bytes: Uint8Array, type: FloatType): Float32Array<ArrayBuffer> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (type) {
    case "f32":
      return Float32Array.from({ length: bytes.byteLength / 4 }, (_, i) => view.getFloat32(4 * i, true));
    case "f16":
      return Float32Array.from({ length: bytes.byteLength / 2 }, (_, i) =>
        f16ToF32(view.getUint16(2 * i, true)),
      );
    case "bf16":
      return Float32Array.from({ length: bytes.byteLength / 2 }, (_, i) =>
        bf16ToF32(view.getUint16(2 * i, true)),
      );
  }
}

/** INVALID_WEIGHTS for a NaN or Inf at flat `index` of a tensor. */
export function nonFiniteWeight(
  path: string,
  index: number,
  dims: readonly number[],
  value: number,
): BitloomError {
  const columns = dims.at(-1) ?? 1;
  const place =
    dims.length < 2 ? `element ${index}` : `row ${Math.floor(index / columns)}, column ${index % columns}`;
  return new BitloomError("INVALID_WEIGHTS", `Tensor "${path}" holds a value that is not finite`, {
    expected: "finite numbers",
    received: `${value} at index ${index}`,
    location: `tensor "${path}", ${place}`,
  });
}
