import type { Plan, WeightBuffer } from "../../codegen/schedule/plan.ts";
import { type DType, formatType } from "../../ir/types.ts";
import type { Manifest } from "../../runtime/manifest.ts";
import {
  dtypeBytes,
  encodeHeader,
  type SafetensorsType,
  type TensorDeclaration,
} from "../../runtime/safetensors.ts";
import type { ArtifactFolder } from "./artifact-folder.ts";

/** A new file begins where the next tensor would take the current one beyond this. */
const SHARD_BYTES = 2 ** 30;

/** Appends a weight buffer's bytes, in order, through `write`. */
export type FillWeight = (buffer: WeightBuffer, write: (bytes: Uint8Array) => Promise<void>) => Promise<void>;

/**
 * Writes the weights region as safetensors files, `weights.safetensors` or numbered shards: tensor data lies in
 * each file exactly as it will in device memory, so that loading is one forward copy. Gaps between buffers are
 * tensors named `padding.N`, because the format allows no holes. Metadata tells layout and logical type.
 */
export async function writeWeights(
  folder: ArtifactFolder,
  plan: Pick<Plan, "weights" | "regions">,
  fill: FillWeight,
): Promise<Manifest["weights"]> {
  const shards = cutIntoShards(plan.weights, plan.regions.weights);
  const written: Manifest["weights"]["shards"] = [];
  for (const [index, shard] of shards.entries()) {
    const number = (value: number) => String(value).padStart(5, "0");
    const path =
      shards.length === 1
        ? "weights.safetensors"
        : `weights-${number(index + 1)}-of-${number(shards.length)}.safetensors`;
    const header = encodeHeader(
      shard.pieces.map(({ declaration }) => declaration),
      Object.fromEntries(
        shard.pieces.flatMap(({ buffer }) =>
          buffer ? [[buffer.name, `${buffer.layout} of ${formatType(buffer.value.type)}`]] : [],
        ),
      ),
    );
    const file = await folder.open(path);
    await file.write(header);
    for (const { buffer, declaration } of shard.pieces) {
      const end = file.bytes + tensorBytes(declaration);
      if (buffer === undefined) await file.write(new Uint8Array(end - file.bytes));
      else await fill(buffer, (bytes) => file.write(bytes));
      if (file.bytes !== end) {
        throw new Error(`${declaration.name} took ${file.bytes - end} bytes more than planned`);
      }
    }
    await folder.finish(file);
    written.push({ path, dataOffset: header.length, bytes: shard.bytes, regionOffset: shard.start });
  }
  return { bytes: plan.regions.weights, shards: written };
}

interface Shard {
  readonly start: number;
  bytes: number;
  readonly pieces: { readonly declaration: TensorDeclaration; readonly buffer?: WeightBuffer }[];
}

function cutIntoShards(buffers: readonly WeightBuffer[], regionBytes: number): Shard[] {
  const shards: Shard[] = [];
  let position = 0;
  let paddings = 0;
  const append = (declaration: TensorDeclaration, buffer?: WeightBuffer): void => {
    const bytes = tensorBytes(declaration);
    let shard = shards.at(-1);
    if (
      shard === undefined ||
      (buffer !== undefined && shard.bytes > 0 && shard.bytes + bytes > SHARD_BYTES)
    ) {
      shard = { start: position, bytes: 0, pieces: [] };
      shards.push(shard);
    }
    shard.pieces.push({ declaration, ...(buffer && { buffer }) });
    shard.bytes += bytes;
    position += bytes;
  };
  const pad = (end: number): void => {
    if (end > position) append({ name: `padding.${paddings++}`, dtype: "U8", shape: [end - position] });
  };
  for (const buffer of buffers) {
    pad(buffer.offset);
    append(declare(buffer), buffer);
  }
  pad(regionBytes);
  return shards;
}

/** Elements where the layout has any, bytes where it packs several weights into one. */
function declare({ name, dtype, bytes, layout, value }: WeightBuffer): TensorDeclaration {
  const type = layout === "ternary-codes" ? "U8" : safetensorsTypes[dtype];
  const elements = bytes / dtypeBytes[type];
  const dims = value.type.dims as readonly number[];
  const plain = layout === "dense" && dims.reduce((product, dim) => product * dim, 1) === elements;
  return { name, dtype: type, shape: plain ? dims : [elements] };
}

const safetensorsTypes: Readonly<Record<DType, SafetensorsType>> = {
  f32: "F32",
  f16: "F16",
  bf16: "BF16",
  i8: "I8",
  u8: "U8",
  i32: "I32",
  u32: "U32",
  bool: "BOOL",
};

function tensorBytes({ dtype, shape }: TensorDeclaration): number {
  return shape.reduce((product, dim) => product * dim, dtypeBytes[dtype]);
}
