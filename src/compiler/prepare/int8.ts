import { floatBytes, type ParameterSource } from "../../checkpoint/source.ts";
import { nonFiniteIn } from "./invalid-weights.ts";
import type { DenseParameter } from "./leaves.ts";
import { PIECE_BYTES, ranges, readAhead } from "./pieces.ts";
import type { Workspace } from "./workspace.ts";

/** What becomes of each piece of an int8 weight; the arrays are valid until the function returns or resolves. */
export type Int8Consumer = (codes: Uint8Array, scales: Float32Array) => void | Promise<void>;

/** Quantizes the rows of stacked parameters to int8 and hands them on piece by piece. */
export async function quantizeRows(
  workspace: Workspace,
  source: ParameterSource,
  parts: readonly DenseParameter[],
  consume: Int8Consumer,
): Promise<void> {
  for (const parameter of parts) {
    const { path, dtype } = parameter;
    const [n, k] = parameter.dims as [number, number];
    const rowBytes = k * floatBytes[dtype];
    const pieceRows = Math.max(1, Math.min(n, Math.floor(PIECE_BYTES / rowBytes)));
    const [even, odd, wide, codes, scales] = workspace.reserve(
      pieceRows * rowBytes,
      pieceRows * rowBytes,
      pieceRows * k * 4,
      pieceRows * k,
      pieceRows * 4,
    );
    const buffers = [even, odd] as const;
    await readAhead(
      ranges(n, pieceRows),
      ({ first: row, count: rows }, buffer) =>
        source.read(path, row * rowBytes, workspace.bytes(buffers[buffer], rows * rowBytes)),
      ({ first: row, count: rows }, buffer) => {
        workspace.widen(dtype, buffers[buffer], wide, rows * k);
        const weights = dtype === "f32" ? buffers[buffer] : wide;
        workspace.kernels.quantizeInt8(weights, codes, scales, k, 0, rows);
        const rowScales = workspace.f32(scales, rows);
        if (!rowScales.every(Number.isFinite)) {
          throw nonFiniteIn(workspace.bytes(buffers[buffer], rows * rowBytes), parameter, row * k);
        }
        return consume(workspace.bytes(codes, rows * k), rowScales);
      },
    );
  }
}
