/**
 * What training comes to, for docs/training.md: `npx jiti bench/learning/main.ts --out out/learning`. The same model in
 * full precision and as BitNet, conversion with and without a warm-up of lambda, low-rank corrections. Interrupted, it
 * goes on where it was. `--steps` is the length of the two long runs, the others have a quarter of it; `--docs` puts
 * tables and curves into docs/.
 */
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type ConversionReport, convertCheckpoint } from "../../src/quantize/index.ts";
import { type Training, type TrainReport, train } from "../../src/train/index.ts";
import { type LossCurve, lossChart } from "../../src/train/loss-chart.ts";
import { comparison, percent, table, withMeasured } from "./report.ts";
import { correcting, fineTuning, fromScratch } from "./runs.ts";

const { values } = parseArgs({
  options: {
    out: { type: "string", default: "out/learning" },
    steps: { type: "string", default: "600" },
    threads: { type: "string", default: "2" },
    docs: { type: "boolean", default: false },
  },
});
const { out, docs } = values;
const steps = Number(values.steps);
const quarter = Math.ceil(steps / 4);
const threads = Number(values.threads);
const RANKS = [5, 25];

const started = performance.now();
const elapsed = () => `${((performance.now() - started) / 60_000).toFixed(1)} min`;

/** Trains, or goes on with what an interrupted command left. */
async function run(name: string, training: Training): Promise<TrainReport> {
  const folder = join(out, name);
  const resume = existsSync(join(folder, "checkpoint.safetensors"));
  return train(training, {
    out: folder,
    threads,
    ...(resume && { resume }),
    onEvaluation: ({ step, loss }) =>
      console.log(
        `${elapsed()}  ${name}: step ${step} of ${training.steps}, held-out loss ${loss.toFixed(4)}`,
      ),
  });
}

/** Always anew: it takes seconds. */
async function convert(name: string, rankPercentage?: number): Promise<ConversionReport> {
  const folder = join(out, name);
  await rm(folder, { recursive: true, force: true });
  return convertCheckpoint(join(out, "full/model"), {
    out: folder,
    ...(rankPercentage !== undefined && { corrections: { rankPercentage } }),
  });
}

const firstOf = ({ evaluations }: TrainReport) => evaluations[0]!.loss;
const lossOf = ({ evaluations }: TrainReport) => evaluations.at(-1)!.loss;
const curve = (name: string, report: TrainReport): LossCurve => ({ name, ...report });

const full = await run("full", fromScratch(steps, "full"));
const bitnet = await run("bitnet", fromScratch(steps, "ternary"));

const { out: converted } = await convert("converted");
const scratch = await run("scratch", fromScratch(quarter, "ternary"));
const tuned = await run("tuned", fineTuning(quarter, converted, 0));
const warmed = await run("warmed", fineTuning(quarter, converted, Math.ceil(quarter / 2)));
const before = firstOf(tuned);

const corrected = [];
for (const rank of RANKS) {
  const name = `corrected-${rank}`;
  const { out: weights, corrections } = await convert(name, rank);
  const report = await run(`${name}-trained`, correcting(quarter, weights));
  const parameters = corrections.reduce((sum, one) => sum + one.parameters, 0);
  const residual = (when: "before" | "after") =>
    Math.hypot(...corrections.map(({ residualNorm }) => residualNorm[when]));
  corrected.push({ rank, parameters, left: residual("after") / residual("before"), report });
}

const size = `${full.parameters.toLocaleString("en-US")} parameters`;
const setting = `Steps have 16 sequences of 128 tokens; held-out losses are nats a token, on 128 sequences. Node ${process.versions.node}.`;
const measured: Readonly<Record<string, readonly [string, string]>> = {
  precision: [
    `${size}, ${steps} steps. ${setting}\n\n${comparison([
      { name: "full precision", loss: lossOf(full) },
      { name: "BitNet b1.58", loss: lossOf(bitnet) },
    ])}`,
    lossChart("From random weights", [curve("full precision", full), curve("BitNet b1.58", bitnet)]),
  ],
  conversion: [
    `${comparison([
      { name: `full precision, ${steps} steps`, loss: lossOf(full) },
      { name: "converted, as it is", loss: before },
      { name: `converted, ${quarter} steps`, loss: lossOf(tuned) },
      { name: `converted, ${quarter} steps, lambda rises over the first half`, loss: lossOf(warmed) },
      { name: `BitNet from random weights, ${quarter} steps`, loss: lossOf(scratch) },
      { name: `BitNet from random weights, ${steps} steps`, loss: lossOf(bitnet) },
    ])}`,
    lossChart("Converted", [
      curve("converted", tuned),
      curve("with a warm-up of lambda", warmed),
      curve("from random weights", scratch),
    ]),
  ],
  corrections: [
    table(
      [
        "rank",
        "parameters added",
        "residual left",
        "loss as it is",
        `loss after ${quarter} steps of the corrections alone`,
      ],
      ["none", "0", "100%", before.toFixed(4), ""],
      ...corrected.map(({ rank, parameters, left, report }) => [
        `${rank}%`,
        `${parameters.toLocaleString("en-US")} (${percent(parameters / full.parameters)})`,
        `${(100 * left).toFixed(0)}%`,
        firstOf(report).toFixed(4),
        lossOf(report).toFixed(4),
      ]),
    ),
    lossChart("Corrections alone", [
      ...corrected.map(({ rank, report }) => curve(`rank ${rank}%`, report)),
      curve("all parameters, no correction", tuned),
    ]),
  ],
};

const guide = fileURLToPath(new URL("../../docs/training.md", import.meta.url));
const pictures = docs ? fileURLToPath(new URL("../../docs/learning", import.meta.url)) : out;
await mkdir(pictures, { recursive: true });
let document = await readFile(guide, "utf8");
for (const [name, [text, picture]] of Object.entries(measured)) {
  console.log(`\n${text}`);
  await writeFile(join(pictures, `${name}.svg`), picture);
  if (docs) document = withMeasured(document, name, `${text}\n\n![Losses by step](learning/${name}.svg)`);
}
if (docs) await writeFile(guide, document);
console.log(`\nCurves are in ${pictures}. ${elapsed()}.`);
