import { rm } from "node:fs/promises";
import { join } from "node:path";
import { compileCheckpoint, openCheckpoint, train } from "bitloom";
import { loadLanguageModel } from "bitloom/runtime";
import { stories } from "./stories.ts";
import { training } from "./training.ts";

const BAR = 40;
const SHOWN = 20;
const PROMPT = "One day,";

/**
 * Describes a model, trains it, compiles it and has it tell stories.
 * @param out the folder of the run; that of an earlier one is written over
 * @param write is given what a person reads, in pieces
 */
export async function demo(steps: number, out: string, write: (text: string) => void): Promise<void> {
  // An earlier run is not gone on with.
  await rm(join(out, "checkpoint.safetensors"), { force: true });
  const described = training(steps);
  write(
    `Train a BitNet language model from random weights on stories like this one:\n\n  ${stories(1, 3)}\n`,
  );

  let first: number | undefined;
  const started = performance.now();
  const trained = await train(described, {
    out,
    onStep({ step, loss, tokensPerSecond }) {
      first ??= loss;
      if (step !== 1 && step !== steps && step % Math.ceil(steps / SHOWN) !== 0) return;
      const bar = "█".repeat(Math.max(1, Math.round((BAR * loss) / first)));
      const speed = Math.round(tokensPerSecond).toLocaleString("en-US");
      write(
        `  step ${String(step).padStart(5)}  loss ${loss.toFixed(2)}  ${bar.padEnd(BAR)}  ${speed} tokens/s\n`,
      );
    },
  });
  const parameters = trained.parameters.toLocaleString("en-US");
  write(`  ${parameters} parameters in ${seconds(started)}; the curve is ${join(out, "loss.svg")}\n\n`);

  const compiling = performance.now();
  const checkpoint = await openCheckpoint(trained.model);
  const report = await compileCheckpoint(checkpoint, { out: join(out, "artifact") });
  await checkpoint.source.close();
  const { lowered, fused, steps: calls } = report.entries.decode!;
  const [wasm] = report.targets;
  write(`Compile it
  operations   ${lowered}, ${fused} after fusion: ${calls.wasm} kernel calls a token
  kernels      ${wasm!.kernels.count}, ${kilobytes(wasm!.kernels.bytes)} of WebAssembly
  weights      ${kilobytes(report.parameters.f32Bytes)} as f32, ${kilobytes(report.weights)} packed
  build        ${seconds(compiling)}

`);

  await using model = await loadLanguageModel(join(out, "artifact"));
  const told = model.generate(PROMPT, { temperature: 0.5, seed: 1 });
  write(`Generate\n\n  ${PROMPT}`);
  for await (const { text } of told) write(text.replaceAll("\n", "\n  "));
  const { tokens, timings } = told.result;
  write(
    `\n\n  ${tokens.length} tokens, ${Math.round(timings.tokensPerSecond).toLocaleString("en-US")} tokens/s\n`,
  );
}

function kilobytes(bytes: number): string {
  return `${(bytes / 1000).toFixed(0)} kB`;
}

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}
