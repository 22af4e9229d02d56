/**
 * Speed of a training step, `npx jiti bench/train-step.ts [threads]`: a BitNet model of 3.7 M parameters, 16 sequences
 * of 128 tokens, AdamW. The first table has the time by kernel on one thread, called one by one, and the share of matrix
 * products; then comes the step as the runtime runs it.
 */

import { sizeOf, tensor } from "../ir/tensor.ts";
import { load } from "../runtime/index.ts";
import { bitnet } from "../src/dsl/families/index.ts";
import { adamW, trainingGraph } from "../src/train/index.ts";
import { hasRelaxedSimd } from "../test/support/kernel-host.ts";
import { memoryArtifact } from "../test/support/memory-artifact.ts";
import { Random } from "../test/support/random.ts";
import { WasmProgram } from "../test/support/run-wasm.ts";
import { cells } from "./measure.ts";

const [batch, seq, vocabularySize] = [16, 128, 2048];
const threads = Number(process.argv[2] ?? 2);

const model = bitnet({
  name: "bench",
  architecture: "BitNetForCausalLM",
  vocabularySize,
  hiddenSize: 256,
  intermediateSize: 688,
  layers: 4,
  heads: 8,
  keyValueHeads: 8,
  headDim: 32,
  normEpsilon: 1e-5,
  ropeTheta: 10_000,
  contextLength: seq,
  activation: "relu2",
  tiedHead: true,
  attentionBias: false,
  mlpBias: false,
  quantized: true,
  bosToken: null,
  eosTokens: [],
});
const graph = trainingGraph(model, {
  optimizer: adamW(),
  symbols: { batch: { max: batch }, seq: { max: seq } },
});

const random = new Random(1);
const ids = () => Int32Array.from({ length: batch * seq }, () => random.int(0, vocabularySize - 1));
const inputs = {
  tokens: tensor("i32", [batch, seq], ids()),
  targets: tensor("i32", [batch, seq], ids()),
  learning_rate: tensor("f32", [], [1e-3]),
};
const states = Object.fromEntries(
  graph.states.map(({ value: { name, type } }) => {
    const dims = type.dims as readonly number[];
    const isWeight = /weight$/.test(name!);
    const values = Float32Array.from({ length: sizeOf(dims) }, () => (isWeight ? 0.02 * random.normal() : 0));
    return [name!, tensor("f32", dims, values)];
  }),
);

const program = await WasmProgram.compile({ run: graph });
const recording = program.record("run", { inputs, parameters: {}, states });
const module = new WebAssembly.Module(program.binaries[hasRelaxedSimd() ? "relaxed" : "baseline"]);
const pages = recording.memoryBytes / 65_536;
const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
const { exports } = new WebAssembly.Instance(module, { env: { memory } });
const best = new Map<string, number>();
for (let pass = 0; pass < 3; pass++) {
  for (const { address, bytes } of recording.image) new Uint8Array(memory.buffer).set(bytes, address);
  const times = new Map<string, number>();
  for (const { kernel, values, items } of recording.calls) {
    const start = performance.now();
    (exports[kernel] as (...values: number[]) => void)(...values, 0, items);
    times.set(kernel, (times.get(kernel) ?? 0) + performance.now() - start);
  }
  for (const [kernel, time] of times) best.set(kernel, Math.min(time, best.get(kernel) ?? Infinity));
}
const total = [...best.values()].reduce((sum, time) => sum + time, 0);
console.log(cells("kernel", "ms", "share"));
for (const [kernel, time] of [...best].sort(([, a], [, b]) => b - a).slice(0, 16)) {
  console.log(cells(kernel.slice(0, 40), time, time / total));
}
const products = [...best].filter(([kernel]) => kernel.includes("matmul"));
const inProducts = products.reduce((sum, [, time]) => sum + time, 0);
console.log(cells("matrix products", inProducts, inProducts / total));
console.log(cells("all", total, 1));

const files = await memoryArtifact({ run: graph }, {}, threads);
const source = { open: async (path: string) => ({ stream: new Blob([files[path]!]).stream() }) };
await using loaded = await load(source, { threads, device: "wasm" });
const call = Object.fromEntries(
  Object.entries(inputs).map(([name, { data, type }]) => [name, { data, dims: type.dims }]),
) as Parameters<typeof loaded.run>[0];
const milliseconds: number[] = [];
for (let step = 0; step < 12; step++) {
  const start = performance.now();
  await loaded.run(call);
  milliseconds.push(performance.now() - start);
}
const step = Math.min(...milliseconds);
console.log(
  `${loaded.device.description}: ${step.toFixed(0)} ms a step, ${((1000 * batch * seq) / step).toFixed(0)} tokens/s`,
);
