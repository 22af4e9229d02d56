import { BitloomError } from "../../errors/index.ts";
import { openSafetensors } from "./safetensors.ts";
import type { SafetensorsType } from "./safetensors-header.ts";
import { type FloatType, type ParameterSource, requireInfo } from "./source.ts";

/** Safetensors' names of the float types a weight may have. */
export const floatTypes: Partial<Record<SafetensorsType, FloatType>> = {
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
};

/**
 * The float tensors of one safetensors file, under the names they have there: weights of a user's own model.
 * @throws BitloomError MISSING_FILE or CORRUPT_FILE; INVALID_TENSOR for a tensor of another dtype.
 */
export async function safetensorsSource(path: string): Promise<ParameterSource> {
  const file = await openSafetensors(path);
  const info: ParameterSource["info"] = (name) => {
    const tensor = file.tensors.get(name);
    if (tensor === undefined) return undefined;
    const dtype = floatTypes[tensor.dtype];
    if (dtype === undefined) {
      throw new BitloomError("INVALID_TENSOR", `Tensor "${name}" cannot be a weight`, {
        expected: Object.keys(floatTypes).join(", "),
        received: tensor.dtype,
        location: path,
      });
    }
    return { dims: tensor.shape, form: { kind: "dense", dtype } };
  };
  return {
    info,
    paths: () => file.tensors.keys(),
    async read(name, byteOffset, into) {
      requireInfo({ info }, name);
      await file.read(file.tensors.get(name)!, byteOffset, into);
    },
    close: () => file.close(),
  };
}
