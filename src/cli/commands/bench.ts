import { formatBytes } from "../../../codegen/schedule/bytes.ts";
import { BitloomError } from "../../../errors/index.ts";
import type { LanguageModel } from "../../../runtime/index.ts";
import { formatDuration, formatTable, peakMemory } from "../format.ts";
import { loadLanguageArtifact } from "../load-artifact.ts";

export interface BenchOptions {
  readonly threads?: number;
  readonly prefill?: number;
  readonly decode?: number;
  readonly repeat: number;
  readonly json?: boolean;
}

/** Measures loading, prefill and decoding of an artifact; medians over the repetitions. */
export async function bench(artifact: string, { threads, repeat, json, ...lengths }: BenchOptions) {
  const model = await loadLanguageArtifact(artifact, { threads });
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
      weightBytes: bytesPerToken,
      prefillTokensPerSecond: (1000 * prefill) / prefillMs,
      decodeTokensPerSecond: 1000 / decodeMs,
      decodeMs,
      weightBytesPerSecond: (bytesPerToken / decodeMs) * 1000,
      peakMemoryBytes: peakMemory(),
      stepsPerToken: model.manifest.targets[model.device.name]?.plans.decode?.length ?? 0,
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
  [`prefill of ${prefill} tokens`, `${number("prefillTokensPerSecond").toFixed(1)} tokens/s`],
  ["decode", `${number("decodeTokensPerSecond").toFixed(1)} tokens/s`],
  ["time a token", formatDuration(number("decodeMs"))],
  ["steps a token", String(report.stepsPerToken)],
  ["weights", formatBytes(number("weightBytes"))],
  ["weights a second", `${formatBytes(number("weightBytesPerSecond"))}/s`],
  ["peak memory of this process", formatBytes(number("peakMemoryBytes"))],
])}`;
}

async function measure(
  model: LanguageModel,
  prefill: number,
  decode: number,
): Promise<{ prefillMs: number; decodeMs: number }> {
  model.reset();
  const { vocabularySize } = model.info;
  const token = (index: number) => (index * 7919 + 13) % vocabularySize;
  let started = performance.now();
  await model.prefill(Array.from({ length: prefill }, (_, index) => token(index)));
  const prefillMs = performance.now() - started;
  started = performance.now();
  for (let index = 0; index < decode; index++) await model.decode(token(prefill + index));
  return { prefillMs, decodeMs: performance.now() - started };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
