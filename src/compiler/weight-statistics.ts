import { join } from "node:path";
import type { Manifest } from "../../runtime/manifest.ts";
import { openSafetensors } from "../checkpoint/safetensors.ts";

export interface WeightStatistics {
  /** Ternary weights, without padding. */
  readonly ternary: number;
  /** Of those, how many are zero. */
  readonly zeros: number;
  /** Weights stored in any form. */
  readonly weights: number;
  /** Bytes of the weight files' tensors. */
  readonly bytes: number;
}

const PIECE_BYTES = 4 * 1024 * 1024;

/** How many of a byte's four codes are 1, which stands for weight 0. */
const zerosInByte = Uint8Array.from({ length: 256 }, (_, byte) =>
  [0, 2, 4, 6].reduce((count, shift) => count + Number(((byte >> shift) & 3) === 1), 0),
);

/** Reads an artifact's weight files and counts what they hold. */
export async function weightStatistics(folder: string, { weights }: Manifest): Promise<WeightStatistics> {
  let ternary = 0;
  let zeros = 0;
  let count = 0;
  for (const { path } of weights.shards) {
    const file = await openSafetensors(join(folder, path));
    try {
      for (const tensor of file.tensors.values()) {
        // `ternary-codes of f32[256, 688] ternary(row)`, as the artifact's writer puts it.
        const [, layout, dims] =
          /^(\S+) of \w+\[([\d, ]*)\]/.exec(file.metadata.get(tensor.name) ?? "") ?? [];
        if (layout === undefined || layout.endsWith("scales")) continue;
        const elements = dims!.split(", ").reduce((product, dim) => product * Number(dim || 1), 1);
        count += elements;
        if (layout !== "ternary-codes") continue;
        ternary += elements;
        // Padding is code 1 too.
        zeros -= 4 * tensor.bytes - elements;
        for (let offset = 0; offset < tensor.bytes; offset += PIECE_BYTES) {
          const piece = new Uint8Array(Math.min(PIECE_BYTES, tensor.bytes - offset));
          await file.read(tensor, offset, piece);
          for (const byte of piece) zeros += zerosInByte[byte]!;
        }
      }
    } finally {
      await file.close();
    }
  }
  return { ternary, zeros, weights: count, bytes: weights.bytes };
}
