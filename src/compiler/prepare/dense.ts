import { BitloomError } from "../../../errors/index.ts";
import { sizeOf } from "../../../ir/tensor.ts";
import { type FloatType, floatBytes, type ParameterSource } from "../../checkpoint/source.ts";
import { nonFiniteIn } from "./invalid-weights.ts";
import type { DenseParameter } from "./leaves.ts";
import { PIECE_BYTES, ranges, readAhead } from "./pieces.ts";
import type { Workspace } from "./workspace.ts";

/** Elements of a piece: a multiple of what any kernel takes at a time. */
const PIECE_ELEMENTS = PIECE_BYTES / 4;

/** Writes a parameter's elements as `dtype`, converted where they are stored otherwise. */
export async function writeDense(
  workspace: Workspace,
  source: ParameterSource,
  parameter: DenseParameter,
  dtype: FloatType,
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  const [even, odd, wide, narrow, flag] = workspace.reserve(
    PIECE_ELEMENTS * 4,
    PIECE_ELEMENTS * 4,
    PIECE_ELEMENTS * 4,
    PIECE_ELEMENTS * 2,
    16,
  );
  const storedSize = floatBytes[parameter.dtype];
  const buffers = [even, odd] as const;
  await readAhead(
    ranges(sizeOf(parameter.dims), PIECE_ELEMENTS),
    ({ first: element, count }, buffer) => {
      const into = workspace.bytes(buffers[buffer], count * storedSize);
      return source.read(parameter.path, element * storedSize, into);
    },
    async ({ first: element, count }, buffer) => {
      const stored = buffers[buffer];
      const bytes = count * storedSize;
      if (workspace.hasNonFinite(parameter.dtype, stored, bytes, flag)) {
        throw nonFiniteIn(workspace.bytes(stored, bytes), parameter, element);
      }
      if (dtype === parameter.dtype) return write(workspace.bytes(stored, bytes));
      workspace.widen(parameter.dtype, stored, wide, count);
      const values = parameter.dtype === "f32" ? stored : wide;
      if (dtype === "f32") return write(workspace.bytes(values, count * 4));
      workspace.narrow(dtype, values, narrow, count);
      if (workspace.hasNonFinite(dtype, narrow, count * 2, flag)) {
        throw beyondRange(workspace.f32(values, count), parameter, element, dtype);
      }
      return write(workspace.bytes(narrow, count * 2));
    },
  );
}

function beyondRange(
  values: Float32Array,
  { path }: DenseParameter,
  first: number,
  dtype: FloatType,
): BitloomError {
  const largest = values.reduce((at, value, i) => (Math.abs(value) > Math.abs(values[at]!) ? i : at), 0);
  return new BitloomError("INVALID_WEIGHTS", `Tensor "${path}" has values beyond the range of ${dtype}`, {
    received: `${values[largest]} at index ${first + largest}`,
    location: `tensor "${path}"`,
    hint: "Keep the tensor in f32 or bf16.",
  });
}
