/**
 * What the WebGPU target makes of graphs, against the reference interpreter: vectors that break kernels, limits of a
 * device, fusion and whole graphs. webgpu.test.ts has each op by itself.
 */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { TargetLimits } from "../codegen/schedule/limits.ts";
import type { Graph } from "../ir/graph.ts";
import { type InterpretResult, interpret } from "../ir/interpret.ts";
import { runForwardPipeline } from "../ir/passes/pipelines.ts";
import { type Tensor, tensor } from "../ir/tensor.ts";
import { parseGraph } from "../ir/text/parse.ts";
import { cachedAttentionOptions, cachedAttentionTrial } from "./support/cached-attention.ts";
import { wgslTier } from "./support/comparisons.ts";
import { latentTrials } from "./support/latent-trials.ts";
import { castTo } from "./support/op-groups.ts";
import { Random } from "./support/random.ts";
import { graphs, randomTensors } from "./support/random-graph.ts";
import { attemptOn, WebgpuProgram } from "./support/run-webgpu.ts";
import { expectSameResults } from "./support/same-bits.ts";
import { expectWithin } from "./support/tolerance.ts";
import { hardTrials, nodeTrials, type Trial } from "./support/trials.ts";
import { openWebgpuHost, type WebgpuHost } from "./support/webgpu-host.ts";

// A software device compiles each kernel for seconds.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 60_000 });

let host: WebgpuHost;
beforeAll(async () => {
  host = await openWebgpuHost("dawn");
});
afterAll(() => host?.close());

const attempt = (trial: Trial, limits?: Partial<TargetLimits>) => attemptOn(host, trial, limits);

describe("vectors that break kernels", () => {
  // webgpu.test.ts has the first.
  const trials = hardTrials().slice(1);
  test.each(trials.map((trial) => [trial.name, trial] as const))("%s", (_, trial) => attempt(trial));
});

describe("weights that a call packs", () => {
  test.each(latentTrials().map((trial) => [trial.name, trial] as const))("%s", (_, trial) => attempt(trial));
});

/** Expects equal numbers: a zero may have either sign. */
function expectEqualResults(received: InterpretResult, expected: InterpretResult, name: string): void {
  for (const kind of ["outputs", "states"] as const) {
    for (const [key, want] of Object.entries(expected[kind])) {
      expectWithin(received[kind][key]!, want, () => 0, `${name}, ${kind} ${key}`);
    }
  }
}

/** Expects the interpreter's bits, for random parameters. */
async function expectExact(graph: Graph, inputs: Record<string, Tensor>, seed: number): Promise<void> {
  const program = await WebgpuProgram.compile({ run: graph }, host);
  const { parameters } = randomTensors(graph, new Random(seed));
  const given = { inputs, parameters };
  expectSameResults(await program.run("run", given), interpret(graph, given), graph.name);
}

describe("weights larger than a buffer may be", () => {
  test.each([
    ["f16[N, K]", 262, 33, 2 * 33],
    ["f32[N, K] int8(row)", 301, 17, 17],
    ["f32[N, K] ternary(row)", 515, 66, 32],
    ["f32[N, K] ternary(group 12)", 530, 30, 48],
  ])("%s: products and look-ups read them in pieces", async (encoding, n, k, rowBytes) => {
    const product = encoding.includes("ternary")
      ? `%q: i8[batch, ${k}], %d: f32[batch, 1], %s: i32[batch, 1] = quantize(%x) {bits = 8, granularity = "row"}
         %y: f32[batch, ${n}] = ternary_matmul(%q, %s, %w, %d) {epilogue = mul(to_f32(acc), x0)}`
      : `%y: f32[batch, ${n}] = linear(%x, %w)`;
    const graph = parseGraph(`graph @g(batch <= 10) {
      %x: input f32[batch, ${k}]
      %ids: input i32[batch]
      %w: parameter "w" ${encoding.replace("N", `${n}`).replace("K", `${k}`)}
      %e: f32[batch, ${k}] = embedding(%w, %ids)
      ${product}
      return e = %e, y = %y
    }`);
    // Room for 256 rows and what may follow a weight's last.
    const limits = { bufferBytes: 16 + 259 * rowBytes };
    for (const trial of nodeTrials(graph, 7, wgslTier)) {
      if (trial.name !== "quantize") await attempt(trial, limits);
    }
  });
});

test("a gradient adds up what pieces of a weight give", async () => {
  const graph = parseGraph(`graph @g(batch <= 3) {
    %g: input f32[batch, 530]
    %w: parameter "w" f32[530, 30] ternary(group 12)
    %dx: f32[batch, 30] = linear_input_gradient(%g, %w)
    return dx = %dx
  }`);
  const limits = { bufferBytes: 16 + 259 * 48 };
  for (const trial of nodeTrials(graph, 7, wgslTier)) await attempt(trial, limits);
});

describe("whole graphs on the WebGPU target", () => {
  /** Ops without arithmetic, whose results are the interpreter's whatever the device. */
  const movingOps = [
    ...(["neg", "abs", "relu", "max", "min", "to_f32", "cast", "max_reduce", "min_reduce"] as const),
    ...(["reshape", "transpose", "slice", "concat", "cache_write"] as const),
  ];
  const anyGraph = graphs({ ops: movingOps, exact: true, size: 16, castTo });

  test("random graphs of ops without arithmetic give the interpreter's values, fused or not", () =>
    fc.assert(
      fc.asyncProperty(anyGraph, fc.integer(), async (graph, seed) => {
        const program = await WebgpuProgram.compile({ run: graph, fused: runForwardPipeline(graph) }, host);
        const tensors = randomTensors(graph, new Random(seed));
        const given = { ...tensors, symbols: Object.fromEntries(tensors.symbols) };
        const expected = interpret(graph, given);
        for (const entry of ["run", "fused"]) {
          expectEqualResults(await program.run(entry, given), expected, entry);
        }
      }),
      { numRuns: 25 },
    ));

  test("a product with more columns than a dispatch has workgroups", async () => {
    const graph = parseGraph(`graph @g(batch <= 3) {
      %x: input f32[batch, 1]
      %w: parameter "w" f32[262200, 1]
      %y: f32[batch, 262200] = linear(%x, %w)
      return y = %y
    }`);
    await expectExact(graph, { x: tensor("f32", [1, 1], [0.5]) }, 1);
  });

  test("a root of a negative constant is not a number", async () => {
    const graph = parseGraph(`graph @g(batch <= 3) {
      %x: input f32[batch]
      %y: f32[batch] = elementwise(%x) {expr = max(x0, sqrt(-2))}
      return y = %y
    }`);
    await expectExact(graph, { x: tensor("f32", [2], [0.5, 3]) }, 1);
  });

  test("expressions over more operands than a kernel may bind", async () => {
    const names = Array.from({ length: 12 }, (_, i) => `a${i}`);
    const sum = (count: number, first: string) =>
      names.slice(0, count).reduce((inner, _, i) => `mul(add(${inner}, x${i}), x${(i + 5) % count})`, first);
    const graph = parseGraph(`graph @g(batch <= 3) {
      ${names.map((name) => `%${name}: input f32[batch, 5]`).join("\n")}
      %w: parameter "w" f32[5, 5] ternary(row)
      %q: i8[batch, 5], %d: f32[batch, 1], %s: i32[batch, 1] = quantize(${names.map((n) => `%${n}`).join(", ")}) {bits = 8, granularity = "row", prologue = ${sum(12, "neg(x3)")}}
      %y: f32[batch, 5] = ternary_matmul(%q, %s, %w, ${names.map((n) => `%${n}`).join(", ")}) {epilogue = ${sum(12, "to_f32(acc)")}}
      %z: f32[batch, 5] = elementwise(${names.map((n) => `%${n}`).join(", ")}) {expr = ${sum(12, "x0")}}
      return q = %q, d = %d, y = %y, z = %z
    }`);
    const random = new Random(3);
    const inputs = names.map((name) => [
      name,
      tensor(
        "f32",
        [3, 5],
        Array.from({ length: 15 }, () => random.int(-8, 8) / 4),
      ),
    ]);
    await expectExact(graph, Object.fromEntries(inputs), 5);
  });

  test.each([40, 200])("one query a sequence over a cache of %i rows", async (capacity) => {
    const graph = parseGraph(`graph @g(batch <= 3, slots <= 3) {
      %q: input f32[batch, 1, 6, 8]
      %k: state "k" f32[slots, ${capacity}, 2, 8]
      %v: state "v" f32[slots, ${capacity}, 2, 8]
      %slots: input i32[batch]
      %positions: input i32[batch]
      %y: f32[batch, 1, 6, 8] = attention(%q, %k, %v, %slots, %positions) {scale = 0.35}
      return y = %y
    }`);
    const random = new Random(4);
    const floats = (dims: readonly number[]) =>
      tensor(
        "f32",
        dims,
        Array.from({ length: dims.reduce((a, b) => a * b) }, () => random.int(-50, 50) / 40),
      );
    const given = {
      inputs: {
        q: floats([3, 1, 6, 8]),
        slots: tensor("i32", [3], [2, 0, 1]),
        positions: tensor("i32", [3], [capacity - 1, 3, 17]),
      },
      parameters: {},
      states: { k: floats([3, capacity, 2, 8]), v: floats([3, capacity, 2, 8]) },
    };
    const program = await WebgpuProgram.compile({ run: graph }, host);
    const names = program.target.plans.run!.map(({ kernel }) => kernel);
    expect(names).toEqual(capacity === 40 ? ["attention_decode"] : ["attention_decode", "attention_combine"]);
    const expected = interpret(graph, given).outputs.y!;
    for (const features of [host.features, []]) {
      const { outputs } = await program.run("run", given, features);
      expectWithin(outputs.y!, expected, () => 1e-5, "y");
    }
  });

  test.each([
    ["batch, 1100", 1, "[batch]"],
    ["batch, 3, 33", -1, "[batch, 3]"],
    ["100, batch", 0, "[batch]"],
    ["600, 40", 0, "[40]"],
    ["2, 70, batch, 5", 1, "[2, batch, 5]"],
  ])("f32[%s] reduced along its long axis %i", async (dims, axis, results) => {
    const ops = ["sum", "mean", "max_reduce", "min_reduce"] as const;
    const graph = parseGraph(`graph @g(batch <= 3) {
      %x: input f32[${dims}]
      ${ops.map((op) => `%${op}: f32${results} = ${op}(%x) {axis = ${axis}, keep_dims = false}`).join("\n")}
      return ${ops.map((op) => `${op} = %${op}`).join(", ")}
    }`);
    for (const trial of nodeTrials(graph, 3, wgslTier)) await attempt(trial);
  });

  test("a long axis of a transposed tensor is reduced where it lies", async () => {
    const graph = parseGraph(`graph @g(batch <= 3) {
      %x: input f32[batch, 2, 90]
      %t: f32[90, batch, 2] = transpose(%x) {permutation = [2, 0, 1]}
      %rows: f32[batch, 2] = max_reduce(%t) {axis = 0, keep_dims = false}
      %u: f32[90, 2, batch] = transpose(%x) {permutation = [2, 1, 0]}
      %scattered: f32[2, batch] = max_reduce(%u) {axis = 0, keep_dims = false}
      return rows = %rows, scattered = %scattered
    }`);
    const x = tensor(
      "f32",
      [3, 2, 90],
      Array.from({ length: 540 }, (_, i) => ((i * 7919) % 541) - 300),
    );
    await expectExact(graph, { x }, 1);
  });

  test("attention over caches that get new rows, and near misses", () =>
    fc.assert(
      fc.asyncProperty(cachedAttentionOptions, fc.integer(), (options, seed) =>
        attempt(cachedAttentionTrial(options, seed)),
      ),
      { numRuns: 6 },
    ));
});
