import { BitloomError } from "../../errors/index.ts";
import type { SafetensorsType } from "../../runtime/safetensors.ts";
import { requirePath } from "../dsl/options.ts";
import { type FloatType, type ParameterSource, requireInfo } from "./source.ts";
import { openTensors } from "./tensor-places.ts";

/** Safetensors' names of the float types a weight may have. */
export const floatTypes: Partial<Record<SafetensorsType, FloatType>> = {
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
};

/**
 * The float tensors of a safetensors file, or of a folder with model.safetensors or its shards, under the names
 * they have there: weights of a user's own model.
 * @throws BitloomError INVALID_OPTION for no path, MISSING_FILE or CORRUPT_FILE; INVALID_TENSOR for a tensor of another dtype.
 */
export async function safetensorsSource(path: string): Promise<ParameterSource> {
  requirePath("safetensorsSource: path", path);
  const { places, close } = await openTensors(path);
  const info: ParameterSource["info"] = (name) => {
    const place = places.get(name);
    if (place === undefined) return undefined;
    const { file, tensor } = place;
    const dtype = floatTypes[tensor.dtype];
    if (dtype === undefined) {
      throw new BitloomError("INVALID_TENSOR", `Tensor "${name}" cannot be a weight`, {
        expected: Object.keys(floatTypes).join(", "),
        received: tensor.dtype,
        location: `${file.file}, tensor "${name}"`,
      });
    }
    return { dims: tensor.shape, form: { kind: "dense", dtype } };
  };
  return {
    location: path,
    info,
    paths: () => places.keys(),
    async read(name, byteOffset, into) {
      requireInfo({ info }, name);
      const { file, tensor } = places.get(name)!;
      await file.read(tensor, byteOffset, into);
    },
    close,
  };
}
