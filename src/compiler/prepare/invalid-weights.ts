import { BitloomError } from "../../../errors/index.ts";
import { nonFiniteWeight, widen } from "../../checkpoint/float-bits.ts";
import type { DenseParameter } from "./leaves.ts";

/** INVALID_WEIGHTS for the first float of a piece that is not finite; `firstElement` is the piece's place. */
export function nonFiniteIn(
  piece: Uint8Array,
  parameter: DenseParameter,
  firstElement: number,
): BitloomError {
  const values = widen(piece, parameter.dtype);
  const at = values.findIndex((value) => !Number.isFinite(value));
  return nonFiniteWeight(parameter.path, firstElement + at, parameter.dims, values[at]!);
}

/** INVALID_TENSOR for the first code 3 of rows of packed bytes [rows, k] at a bit pair. */
export function invalidCodeIn(
  piece: Uint8Array,
  path: string,
  k: number,
  shift: number,
  firstRow: number,
): BitloomError {
  const at = piece.findIndex((byte) => ((byte >> shift) & 3) === 3);
  return new BitloomError("INVALID_TENSOR", `Tensor "${path}" holds the packed code 3, which means nothing`, {
    expected: "codes 0, 1 and 2 for -1, 0 and +1",
    received: "code 3",
    location: `tensor "${path}", row ${firstRow + Math.floor(at / k)}, column ${at % k}`,
  });
}
