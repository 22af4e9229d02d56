import { access } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { formatBytes } from "../../../codegen/schedule/bytes.ts";
import { BitloomError } from "../../../errors/index.ts";
import type { LoadOptions } from "../../../runtime/index.ts";
import type { TrainedStep } from "../../../runtime/training/index.ts";
import { type TrainReport, train as trainModel } from "../../train/train.ts";
import { isTraining, type Training } from "../../train/training.ts";
import { formatTable } from "../format.ts";
import { importModule } from "../import-module.ts";
import { interruptible } from "../interrupt.ts";
import { Progress } from "../progress.ts";
import { warnOf } from "../warn.ts";

export interface TrainCommandOptions {
  readonly out: string;
  readonly resume?: boolean;
  readonly recompute?: true;
  readonly threads?: number;
  readonly device?: LoadOptions["device"];
}

/** Trains what a file describes. Interrupted, it writes a checkpoint first, from which `--resume` goes on. */
export async function train(
  path: string,
  { out, resume, recompute, threads, device }: TrainCommandOptions,
): Promise<void> {
  const training = { ...(await openTraining(path)), ...(recompute && { recompute }) };
  await interruptible(async (signal) => {
    const progress = new Progress();
    progress.update("compiling the training step");
    let isOpen = false;
    let done = 0;
    signal.addEventListener("abort", () => {
      if (!isOpen) return;
      progress.clear();
      process.stderr.write("stopping with a checkpoint after this step; once more stops at once, without\n");
    });
    try {
      const report = await trainModel(training, {
        out,
        base: dirname(resolve(path)),
        signal,
        ...(resume && { resume }),
        ...(threads !== undefined && { threads }),
        onCompiled: ({ memoryBytes, recomputes }) => {
          progress.clear();
          const how = recomputes ? ", computing activations again" : "";
          process.stderr.write(`a step takes ${formatBytes(memoryBytes)}${how}\n`);
        },
        onOpened: () => {
          isOpen = true;
        },
        device,
        onWarning: (warning) => {
          progress.clear();
          warnOf(warning);
        },
        onStep: (step) => {
          done = step.step;
          if (process.stderr.isTTY || step.step % training.evaluateEvery === 0) {
            progress.update(describeStep(step, training.steps));
          }
        },
        onEvaluation: ({ step, loss }) => {
          progress.clear();
          process.stderr.write(`step ${step}: held-out perplexity ${Math.exp(loss).toFixed(2)}\n`);
        },
      });
      progress.clear();
      process.stdout.write(`${describe(report, out)}\n`);
    } catch (error) {
      progress.clear();
      if (signal.aborted && done > 0) {
        process.stderr.write(`stopped after step ${done}, with a checkpoint; --resume goes on from it\n`);
      }
      throw error;
    } finally {
      progress.clear();
    }
  });
}

async function openTraining(path: string): Promise<Training> {
  await access(path).catch((cause) => {
    throw new BitloomError("MISSING_FILE", `There is no ${path}`, {
      hint: "Name a file that exports defineTraining({ … }).",
      cause,
    });
  });
  const module = await importModule(resolve(path));
  if (isTraining(module.default)) return module.default;
  throw new BitloomError("INVALID_OPTION", `${path} does not export a training`, {
    expected: "export default defineTraining({ ... })",
    received: `exports named ${Object.keys(module).join(", ") || "nothing"}`,
    hint: "docs/training.md begins with a whole one.",
  });
}

function describeStep(trained: TrainedStep, steps: number): string {
  const { step, loss, learningRate, lambda, tokensPerSecond } = trained;
  const warmup = lambda < 1 ? `  lambda ${lambda.toFixed(2)}` : "";
  const speed = `${Math.round(tokensPerSecond).toLocaleString("en-US")} tokens/s`;
  return `step ${step} of ${steps}  loss ${loss.toFixed(4)}  rate ${learningRate.toExponential(2)}${warmup}  ${speed}`;
}

function describe(report: TrainReport, out: string): string {
  const { device, model, adapter, parameters, trained, losses, evaluations } = report;
  const count = (of: number) => of.toLocaleString("en-US");
  const [before, last] = [evaluations[0]!, evaluations.at(-1)!];
  return `${model}
${formatTable([
  ["parameters", count(parameters)],
  ...(trained < parameters ? [["trained", count(trained)]] : []),
  ["device", device],
  ["steps", String(losses.length)],
  ["loss", `${losses[0]!.toFixed(3)} at first, ${losses.at(-1)!.toFixed(3)} at last`],
  [
    "held-out text",
    `loss ${before.loss.toFixed(3)} before, ${last.loss.toFixed(3)} after: perplexity ${Math.exp(last.loss).toFixed(2)}`,
  ],
  ["curve", `${out}/loss.svg`],
  ...(adapter === undefined ? [] : [["adapter", adapter]]),
  ["next", `bitloom build ${model} --out <folder>`],
])}`;
}
