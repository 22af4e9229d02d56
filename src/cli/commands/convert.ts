import { formatBytes } from "../../../codegen/schedule/bytes.ts";
import type { SubLNPlacement } from "../../quantize/convert.ts";
import { convertCheckpoint } from "../../quantize/convert-checkpoint.ts";
import type { CorrectionInit, CorrectionStatistics } from "../../quantize/correct.ts";
import { formatTable } from "../format.ts";
import { interruptible } from "../interrupt.ts";
import { Progress } from "../progress.ts";

export interface ConvertOptions {
  readonly out: string;
  readonly subln: SubLNPlacement;
  readonly stageOne?: boolean;
  /** Of low-rank corrections, in percent. */
  readonly lrcRank?: number;
  readonly lrcInit: CorrectionInit;
}

/** Makes a BitNet checkpoint of a Llama-style one. Interrupted, it leaves nothing behind. */
export async function convert(
  folder: string,
  { out, subln, stageOne, lrcRank, lrcInit }: ConvertOptions,
): Promise<void> {
  await interruptible(async (signal) => {
    const progress = new Progress();
    const report = await convertCheckpoint(folder, {
      out,
      subln,
      ...(stageOne && { stageOne }),
      ...(lrcRank !== undefined && { corrections: { rankPercentage: lrcRank, init: lrcInit } }),
      signal,
      onProgress: ({ stage, loaded, total }) => progress.update(stage, loaded, total),
    }).finally(() => progress.clear());
    const { converted, norms, corrections, bytes } = report;
    process.stdout.write(
      `${out}: ${converted} projections are BitLinear, ${norms} norms of weight one inserted, ${formatBytes(bytes)}\n` +
        `${corrections.length === 0 ? "" : `${describeCorrections(corrections)}\n`}` +
        "It computes something else than before until it is trained: distil it from the original.\n",
    );
  });
}

/** A row for each kind of projection: what its corrections add, and which share of the quantization error they leave. */
function describeCorrections(corrections: readonly CorrectionStatistics[]): string {
  const kindOf = ({ path }: CorrectionStatistics) => path.slice(path.lastIndexOf(".") + 1);
  const kinds = new Set(corrections.map(kindOf));
  const row = (name: string, of: readonly CorrectionStatistics[]): string[] => {
    const norm = (part: "before" | "after") =>
      Math.hypot(...of.map(({ residualNorm }) => residualNorm[part]));
    const ranks = [...new Set(of.map(({ rank }) => rank))].sort((a, b) => a - b);
    const left = `${((100 * norm("after")) / norm("before")).toFixed(1)} %`;
    const bytes = formatBytes(of.reduce((sum, { bytes }) => sum + bytes, 0));
    return [name, String(of.length), ranks.join(", "), bytes, left];
  };
  return formatTable([
    ["corrections", "layers", "rank", "size", "error left"],
    ...[...kinds].map((kind) =>
      row(
        kind,
        corrections.filter((one) => kindOf(one) === kind),
      ),
    ),
    row("all", corrections),
  ]);
}
