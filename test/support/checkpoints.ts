import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { packageRoot } from "../../codegen/kernel/template-path.ts";

const path = (relative: string) => join(packageRoot(), relative);

/** Hugging Face folders made by PyTorch, with what PyTorch answered for them. */
export const checkpoints = {
  "bitnet-tiny-packed": {
    folder: path("examples/generate/bitnet-tiny"),
    golden: path("test/goldens/bitnet-tiny-packed/golden.json"),
  },
  "bitnet-tiny-latent": {
    folder: path("test/goldens/bitnet-tiny-latent"),
    golden: path("test/goldens/bitnet-tiny-latent/golden.json"),
  },
} as const;

export type CheckpointName = keyof typeof checkpoints;

/** One prompt of golden.json, as PyTorch in float32 answered it. */
export interface GoldenPrompt {
  readonly prompt: string;
  readonly input_ids: readonly number[];
  /** Logits of the prompt's last position. */
  readonly last_logits: readonly number[];
  /** Most likely next token at each position of the prompt. */
  readonly argmax_per_position: readonly number[];
  /** Residual stream at the last position: the embedding, then after every layer. */
  readonly hidden_last_position_per_layer: readonly (readonly number[])[];
  /** The prompt followed by 32 greedy tokens. */
  readonly greedy_ids: readonly number[];
  /** `greedy_ids` decoded, special tokens included. */
  readonly greedy_text: string;
}

export async function readGolden(name: CheckpointName): Promise<GoldenPrompt[]> {
  return JSON.parse(await readFile(checkpoints[name].golden, "utf8")) as GoldenPrompt[];
}
