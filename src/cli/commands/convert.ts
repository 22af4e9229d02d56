import { formatBytes } from "../../../codegen/schedule/bytes.ts";
import type { SubLNPlacement } from "../../quantize/convert.ts";
import { convertCheckpoint } from "../../quantize/convert-checkpoint.ts";
import { interruptible } from "../interrupt.ts";
import { Progress } from "../progress.ts";

export interface ConvertOptions {
  readonly out: string;
  readonly subln: SubLNPlacement;
  readonly stageOne?: boolean;
}

/** Makes a BitNet checkpoint of a Llama-style one. Interrupted, it leaves nothing behind. */
export async function convert(folder: string, { out, subln, stageOne }: ConvertOptions): Promise<void> {
  await interruptible(async (signal) => {
    const progress = new Progress();
    const report = await convertCheckpoint(folder, {
      out,
      subln,
      ...(stageOne && { stageOne }),
      signal,
      onProgress: ({ loaded, total }) => progress.update("writing weights", loaded, total),
    }).finally(() => progress.clear());
    const { converted, norms, bytes } = report;
    process.stdout.write(
      `${out}: ${converted} projections are BitLinear, ${norms} norms of weight one inserted, ${formatBytes(bytes)}\n` +
        "It computes something else than before until it is trained: distil it from the original.\n",
    );
  });
}
