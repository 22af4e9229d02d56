// Compiles the checkpoint beside this file, streams text from it, and says what the compiler did.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileCheckpoint, openCheckpoint } from "bitloom";
import { loadLanguageModel } from "bitloom/runtime";

const prompt = process.argv[2] ?? "This module provides";
const folder = await mkdtemp(join(tmpdir(), "bitloom-demo-"));
const artifact = join(folder, "bitnet-tiny");

const checkpoint = await openCheckpoint(fileURLToPath(new URL("./bitnet-tiny", import.meta.url)));
const report = await compileCheckpoint(checkpoint, { out: artifact });
await checkpoint.source.close();

const model = await loadLanguageModel(artifact);
const answer = model.generate(prompt, { maxTokens: 120 });
process.stdout.write(prompt);
for await (const { text } of answer) process.stdout.write(text);
const { timings, tokens } = answer.result;

const kilobytes = (bytes) => `${(bytes / 1000).toFixed(0)} kB`;
const { described, lowered, fused, steps } = report.entries.decode;
const [wasm] = report.targets;
console.log(`

What the compiler did
  operations   ${described} described, ${lowered} lowered, ${fused} after fusion, ${steps.wasm} kernel calls a token
  kernels      ${wasm.kernels.count}, ${kilobytes(wasm.kernels.bytes)} of WebAssembly
  weights      ${kilobytes(report.parameters.f32Bytes)} as f32, ${kilobytes(report.weights)} packed
  build        ${(report.timings.graphMs + report.timings.weightsMs).toFixed(0)} ms
What the runtime did
  device       ${model.device.description}
  load         ${timings.loadMs.toFixed(0)} ms
  decode       ${tokens.length} tokens, ${timings.tokensPerSecond.toFixed(0)} tokens/s`);

await model.dispose();
await rm(folder, { recursive: true });
