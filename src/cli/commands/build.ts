import { mkdtemp, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { formatBytes } from "../../../codegen/schedule/bytes.ts";
import { type CompileReport, compile } from "../../compiler/compile.ts";
import type { HeadStorage } from "../../compiler/lower.ts";
import { compareLogits } from "../compare-logits.ts";
import { formatDuration, formatTable, peakMemory } from "../format.ts";
import { interruptible } from "../interrupt.ts";
import { Progress } from "../progress.ts";
import { openSubject, type SubjectOptions } from "../subject.ts";

export interface BuildOptions extends SubjectOptions {
  readonly out: string;
  readonly target: "wasm";
  readonly head?: HeadStorage;
  readonly context?: number;
  readonly chunk?: number;
  readonly batch?: number;
  readonly maxThreads?: number;
  readonly compare: boolean;
  readonly verify?: boolean;
}

/** Compiles a model into an artifact folder and says what became of it. Interrupted, it leaves nothing behind. */
export async function build(path: string | undefined, options: BuildOptions): Promise<void> {
  await interruptible((signal) => buildUntil(signal, path, options));
}

async function buildUntil(
  signal: AbortSignal,
  path: string | undefined,
  options: BuildOptions,
): Promise<void> {
  const progress = new Progress();
  const compileTo = async (out: string, head: HeadStorage | undefined): Promise<CompileReport> => {
    const { model, weights, files } = await openSubject(path, options);
    const { context, chunk, batch, maxThreads, verify } = options;
    try {
      return await compile(model, {
        out,
        weights,
        files,
        bounds: { context, chunk, batch },
        ...(head && { head }),
        ...(maxThreads && { maxThreads }),
        ...(verify && { verify }),
        signal,
        onProgress: ({ stage, loaded, total }) => progress.update(stage, loaded, total),
      });
    } finally {
      await weights.close();
      progress.clear();
    }
  };
  const report = await compileTo(options.out, options.head);
  process.stdout.write(`${describe(report)}\n`);
  if (options.head === undefined || !options.compare || !report.isLanguageModel) return;

  // The same weights with the head as the checkpoint has it, for as long as the comparison takes.
  const parent = dirname(resolve(options.out));
  const folder = await mkdtemp(join(parent, `.${basename(options.out)}.compare-`));
  try {
    progress.update("building the unchanged head to compare with");
    await compileTo(join(folder, "reference"), undefined);
    const { relativeL2, sameTop, positions } = await compareLogits(
      options.out,
      join(folder, "reference"),
      signal,
    );
    process.stdout.write(
      `logits with --head ${options.head}: relative L2 ${relativeL2.toExponential(1)}, ` +
        `same most likely token at ${sameTop} of ${positions} positions\n`,
    );
  } finally {
    progress.clear();
    await rm(folder, { recursive: true, force: true });
  }
}

function describe(report: CompileReport): string {
  const { entries, kernels, parameters, weights, memoryBytes, timings, out } = report;
  const ops = Object.entries(entries).map(([name, { described, lowered, fused, steps }]) => [
    name,
    `${described} ops described`,
    `${lowered} lowered`,
    `${fused} fused`,
    `${steps} steps`,
  ]);
  return `${out}
${formatTable([
  ["parameters", parameters.count.toLocaleString("en-US")],
  [
    "weights",
    `${formatBytes(weights)}, ${(parameters.f32Bytes / weights).toFixed(1)} times smaller than f32`,
  ],
  ["memory to run", formatBytes(memoryBytes)],
  ["kernels", `${kernels.count}, ${formatBytes(kernels.bytes)} of WebAssembly`],
  [
    "time",
    `${formatDuration(timings.graphMs)} for the graph, ${formatDuration(timings.weightsMs)} for the weights`,
  ],
  ["peak memory of this build", formatBytes(peakMemory())],
])}
${formatTable(ops)}`;
}
