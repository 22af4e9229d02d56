import { formatBytes } from "../../../codegen/schedule/bytes.ts";
import { BitloomError } from "../../../errors/index.ts";
import type { DeviceCounters, LanguageModel, LoadOptions } from "../../../runtime/index.ts";
import { formatDuration, formatTable, peakMemory } from "../format.ts";
import { loadLanguageArtifact } from "../load-artifact.ts";

export interface BenchOptions {
  readonly device: NonNullable<LoadOptions["device"]>;
  readonly threads?: number;
  readonly prefill?: number;
  readonly decode?: number;
  readonly repeat: number;
  readonly json?: boolean;
}

/** Measures loading, prefill and decoding of an artifact; medians over the repetitions. */
export async function bench(artifact: string, { device, threads, repeat, json, ...lengths }: BenchOptions) {
  const model = await loadLanguageArtifact(artifact, { device, threads });
  try {
    const { contextLength } = model.info;
    const { prefill, decode } = shrinkToContext(lengths, contextLength);
    if (prefill + decode > contextLength) {
      throw new BitloomError("CONTEXT_OVERFLOW", "The benchmark does not fit the context", {
        expected: `--prefill and --decode within ${contextLength} tokens together`,
        received: `${prefill} + ${decode}`,
        hint: "Give smaller --prefill and --decode.",
      });
    }
    const runs = [];
    // The first run compiles the engine's fast code; it is not counted.
    await measure(model, prefill, decode);
    for (let i = 0; i < repeat; i++) runs.push(await measure(model, prefill, decode));
    const prefillMs = median(runs.map((run) => run.prefillMs));
    const decodeMs = median(runs.map((run) => run.decodeMs)) / decode;
    const bytesPerToken = model.manifest.weights.bytes;
    const report = {
      device: model.device.description,
      loadMs: model.loadMs,
      selfCheckMs: model.selfCheckMs ?? 0,
      weightBytes: bytesPerToken,
      prefillTokensPerSecond: (1000 * prefill) / prefillMs,
      decodeTokensPerSecond: 1000 / decodeMs,
      decodeMs,
      weightBytesPerSecond: (bytesPerToken / decodeMs) * 1000,
      peakMemoryBytes: peakMemory(),
      stepsPerToken: greedySteps(model),
      ...perToken(runs.at(-1)!.counted, decode),
    };
    process.stdout.write(json ? `${JSON.stringify(report)}\n` : `${render(model.name, prefill, report)}\n`);
  } finally {
    await model.dispose();
  }
}

/** What was not asked for shrinks to what a short context leaves, the prompt first. */
function shrinkToContext(
  { prefill, decode }: Pick<BenchOptions, "prefill" | "decode">,
  contextLength: number,
): { readonly prefill: number; readonly decode: number } {
  const room = (taken: number) => Math.max(1, contextLength - taken);
  const decoded = decode ?? Math.min(32, room(prefill ?? Math.ceil(contextLength / 2)));
  return { prefill: prefill ?? Math.min(64, room(decoded)), decode: decoded };
}

function render(name: string, prefill: number, report: Record<string, number | string>): string {
  const number = (key: string) => report[key] as number;
  return `${name} on ${report.device}
${formatTable([
  ["load", formatDuration(number("loadMs"))],
  ["of that, the self-check", formatDuration(number("selfCheckMs"))],
  [`prefill of ${prefill} tokens`, `${number("prefillTokensPerSecond").toFixed(1)} tokens/s`],
  ["decode", `${number("decodeTokensPerSecond").toFixed(1)} tokens/s`],
  ["time a token", formatDuration(number("decodeMs"))],
  ["steps a token", String(report.stepsPerToken)],
  ...("dispatchesPerToken" in report
    ? [
        ["dispatches a token", number("dispatchesPerToken").toFixed(1)],
        ["bytes to the device a token", formatBytes(number("bytesWrittenPerToken"))],
        ["bytes back a token", formatBytes(number("bytesReadPerToken"))],
        ["buffers created a token", String(number("buffersCreatedPerToken"))],
      ]
    : []),
  ["weights", formatBytes(number("weightBytes"))],
  ["weights a second", `${formatBytes(number("weightBytesPerSecond"))}/s`],
  ["peak memory of this process", formatBytes(number("peakMemoryBytes"))],
])}`;
}

interface Measured {
  readonly prefillMs: number;
  readonly decodeMs: number;
  /** What the device did while it decoded, if it counts. */
  readonly counted: DeviceCounters | undefined;
}

/** Generates greedily, as most callers do: a prompt and its first token, then `decode` more. */
async function measure(model: LanguageModel, prefill: number, decode: number): Promise<Measured> {
  model.reset();
  const { vocabularySize } = model.info;
  const prompt = Array.from({ length: prefill }, (_, index) => (index * 7919 + 13) % vocabularySize);
  const generation = model.generate(prompt, { maxTokens: decode + 1, ignoreStopTokens: true });
  await generation[Symbol.asyncIterator]().next();
  const { prefillMs, decodeMs: first } = generation.result.timings;
  const before = model.device.counters && { ...model.device.counters };
  const { decodeMs } = (await generation.finish()).timings;
  return {
    prefillMs,
    decodeMs: decodeMs - first,
    counted: before && difference(model.device.counters!, before),
  };
}

/** Steps of `decode` that a token takes whose choice needs the largest logit alone. */
function greedySteps({ manifest, device }: LanguageModel): number {
  const steps = manifest.targets[device.name]?.plans.decode ?? [];
  return steps.filter(({ serves }) => serves === undefined || serves.includes("bestToken")).length;
}

function difference(after: DeviceCounters, before: DeviceCounters): DeviceCounters {
  return {
    dispatches: after.dispatches - before.dispatches,
    bytesWritten: after.bytesWritten - before.bytesWritten,
    bytesRead: after.bytesRead - before.bytesRead,
    buffersCreated: after.buffersCreated - before.buffersCreated,
  };
}

function perToken(counted: DeviceCounters | undefined, tokens: number): Record<string, number> {
  return Object.fromEntries(
    Object.entries(counted ?? {}).map(([name, count]) => [`${name}PerToken`, count / tokens]),
  );
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
