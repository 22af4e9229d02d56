import { BitloomError } from "../../errors/index.ts";
import { widen } from "./float-bits.ts";
import { type ParameterSource, requireInfo, storedBytes } from "./source.ts";

/**
 * A whole floating-point parameter as f32, row-major.
 * @throws BitloomError MISSING_TENSOR, INVALID_TENSOR for packed codes, and what the source throws.
 */
export async function readFloats(source: ParameterSource, path: string): Promise<Float32Array<ArrayBuffer>> {
  const info = requireInfo(source, path);
  if (info.form.kind !== "dense") {
    throw new BitloomError("INVALID_TENSOR", `"${path}" is stored as ternary codes`, {
      expected: "floating-point weights",
      received: info.form.kind,
      hint: "Take the checkpoint with the weights from before quantization.",
    });
  }
  const bytes = new Uint8Array(storedBytes(info));
  await source.read(path, 0, bytes);
  return widen(bytes, info.form.dtype);
}
