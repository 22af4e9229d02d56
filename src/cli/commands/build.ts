import { stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { formatBytes } from "../../../codegen/schedule/bytes.ts";
import type { TargetName } from "../../../codegen/schedule/plan.ts";
import { BitloomError } from "../../../errors/index.ts";
import type { TargetReport } from "../../compiler/artifact.ts";
import { type CompileReport, compile } from "../../compiler/compile.ts";
import type { HeadStorage } from "../../compiler/lower.ts";
import { holdTemporary, removeTemporary } from "../../files/temporary.ts";
import { hiddenBeside } from "../../files/whole-file.ts";
import { buildTraining } from "../../train/build-training.ts";
import { isTraining, type Training } from "../../train/training.ts";
import { compareLogits } from "../compare-logits.ts";
import { formatDuration, formatTable, peakMemory } from "../format.ts";
import { importModule } from "../import-module.ts";
import { interruptible } from "../interrupt.ts";
import { Progress } from "../progress.ts";
import { openSubject, type Subject, type SubjectOptions } from "../subject.ts";
import { warn, warnOf } from "../warn.ts";

export interface BuildOptions extends SubjectOptions {
  readonly out: string;
  readonly target: readonly TargetName[];
  readonly arch?: readonly string[];
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
  const training = path === undefined ? undefined : await trainingIn(path);
  if (training !== undefined) return buildTrainingIn(path!, training, signal, options);
  const subject = await openSubject(path, options);
  const { model } = subject;
  const { context, head } = options;
  if (model.kind === "language-model" && context !== undefined && context > model.contextLength) {
    warn(
      `--context ${context} is beyond the ${model.contextLength} positions of ${model.name}; ` +
        "what it says after them may be nonsense",
    );
  }
  try {
    const report = await compileTo(options.out, head, subject, signal, options);
    process.stdout.write(`${describe(report)}\n`);
    if (head === undefined || !options.compare) return;
    process.stdout.write(
      report.isLanguageModel
        ? `logits with --head ${head}: ${await describeChange(subject, signal, options)}\n`
        : `outputs with --head ${head} are not compared: ${model.name} is no language model\n`,
    );
  } finally {
    await subject.weights.close();
  }
}

/** The training that a file exports, if that is what it does. */
async function trainingIn(path: string): Promise<Training | undefined> {
  const isFile = await stat(path).then(
    (entry) => entry.isFile(),
    () => false,
  );
  if (!isFile) return undefined;
  const { default: exported } = await importModule(resolve(path));
  return isTraining(exported) ? exported : undefined;
}

/** What is said of a model alone. */
const modelOptions = ["weights", "random", "head", "context", "chunk", "batch", "arch"] as const;

async function buildTrainingIn(
  path: string,
  training: Training,
  signal: AbortSignal,
  options: BuildOptions,
): Promise<void> {
  const { out, target, maxThreads, verify } = options;
  const refused = modelOptions.find((name) => options[name] !== undefined);
  if (refused !== undefined) {
    throw new BitloomError("INVALID_OPTION", `${path} describes a training, which takes no --${refused}`, {
      hint: "Leave the option out; the file says it all.",
    });
  }
  const progress = new Progress();
  const report = await buildTraining(training, {
    out,
    base: dirname(resolve(path)),
    targets: target,
    ...(maxThreads && { maxThreads }),
    ...(verify && { verify }),
    signal,
    onProgress: ({ stage, loaded, total }) => progress.update(stage, loaded, total),
    onWarning: (warning) => {
      progress.clear();
      warnOf(warning);
    },
  }).finally(() => progress.clear());
  process.stdout.write(`${report.out}
${formatTable([
  ["parameters to train", report.parameters.toLocaleString("en-US")],
  ...targetRows(report.targets),
])}
`);
}

async function compileTo(
  out: string,
  head: HeadStorage | undefined,
  { model, weights, files }: Subject,
  signal: AbortSignal,
  { target, arch, context, chunk, batch, maxThreads, verify }: BuildOptions,
): Promise<CompileReport> {
  const progress = new Progress();
  try {
    return await compile(model, {
      out,
      weights,
      files,
      targets: target,
      ...(arch && { cudaArchitectures: arch }),
      bounds: { context, chunk, batch },
      ...(head && { head }),
      ...(maxThreads && { maxThreads }),
      ...(verify && { verify }),
      signal,
      onProgress: ({ stage, loaded, total }) => progress.update(stage, loaded, total),
    });
  } finally {
    progress.clear();
  }
}

/** How far the logits are from those with the head as the weights have it, which is built for as long as it takes. */
async function describeChange(subject: Subject, signal: AbortSignal, options: BuildOptions): Promise<string> {
  const { out } = options;
  const reference = await holdTemporary(hiddenBeside(`${resolve(out)}.compare`));
  const progress = new Progress();
  try {
    progress.update("building the unchanged head to compare with");
    await compileTo(reference, undefined, subject, signal, options);
    const { relativeL2, sameTop, positions } = await compareLogits(out, reference, signal);
    return (
      `relative L2 ${relativeL2.toExponential(1)}, ` +
      `same most likely token at ${sameTop} of ${positions} positions`
    );
  } finally {
    progress.clear();
    await removeTemporary(reference);
  }
}

/** The steps of an entry are those of the targets in their order. */
function describe(report: CompileReport): string {
  const { entries, targets, parameters, weights, timings, out } = report;
  const ops = Object.entries(entries).map(([name, { described, lowered, fused, steps }]) => [
    name,
    `${described} ops described`,
    `${lowered} lowered`,
    `${fused} fused`,
    `${Object.values(steps).join(", ")} steps`,
  ]);
  return `${out}
${formatTable([
  ["parameters", parameters.count.toLocaleString("en-US")],
  [
    "weights",
    parameters.count === 0
      ? formatBytes(weights)
      : `${formatBytes(weights)}, ${(parameters.f32Bytes / weights).toFixed(1)} times smaller than f32`,
  ],
  ...targetRows(targets),
  [
    "time",
    `${formatDuration(timings.graphMs)} for the graph, ${formatDuration(timings.weightsMs)} for the weights`,
  ],
  ["peak memory of this build", formatBytes(peakMemory())],
])}
${formatTable(ops)}`;
}

function targetRows(targets: readonly TargetReport[]): string[][] {
  return targets.flatMap(({ name, kernels, memoryBytes, unchecked, note }) => [
    [
      name,
      `${kernels.count} kernels of ${formatBytes(kernels.bytes)}, ${formatBytes(memoryBytes)} of memory to run`,
    ],
    ...(note === undefined ? [] : [["", note]]),
    ...(unchecked.length === 0 ? [] : [["", `loading does not check ${unchecked.join(", ")}`]]),
  ]);
}
