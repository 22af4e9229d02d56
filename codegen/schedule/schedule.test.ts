import { describe, expect, test } from "vitest";
import { BitloomError } from "../../errors/index.ts";
import type { Graph } from "../../ir/graph.ts";
import { interpret } from "../../ir/interpret.ts";
import { parseGraph } from "../../ir/text/parse.ts";
import { Random } from "../../test/support/random.ts";
import { randomTensors } from "../../test/support/random-graph.ts";
import { WasmProgram } from "../../test/support/run-wasm.ts";
import { expectSameBits } from "../../test/support/same-bits.ts";
import { formatArgument, formatPlan } from "./plan-summary.ts";
import { schedule } from "./schedule.ts";

const options = { targets: ["wasm"], maxThreads: 2 } as const;

/** Expects outputs and next states to have the interpreter's bits. */
async function expectSameResults(graph: Graph): Promise<WasmProgram> {
  const program = await WasmProgram.compile({ run: graph });
  for (const seed of [1, 2, 3]) {
    const tensors = randomTensors(graph, new Random(seed));
    const given = { ...tensors, symbols: Object.fromEntries(tensors.symbols) };
    const expected = interpret(graph, given);
    const received = program.run("run", given, { threads: seed });
    for (const part of ["outputs", "states"] as const) {
      for (const [name, tensor] of Object.entries(expected[part])) {
        expectSameBits(received[part][name]!, tensor, name);
      }
    }
  }
  return program;
}

async function errorOf(text: string): Promise<BitloomError> {
  const failure = await schedule({ run: parseGraph(text) }, options).catch((error: unknown) => error);
  if (!(failure instanceof BitloomError)) throw new Error("scheduling should have failed");
  return failure;
}

const layer = `graph @layer(batch <= 1, seq <= 8) {
  %x: input f32[batch, seq, 96]
  %g: parameter "norm.weight" f32[96]
  %a: parameter "q_proj.weight" f32[64, 96] ternary(tensor)
  %b: parameter "k_proj.weight" f32[32, 96] ternary(tensor)
  %w: f32[96, 96] ternary(row) = concat(%a, %b) {axis = 0}
  %c: f32[96] = weight_scale(%w)
  %q: i8[batch, seq, 96], %d: f32[batch, seq, 1], %s: i32[batch, seq, 1] = quantize(%x, %g) {bits = 8, granularity = "row", eps = 0.00001}
  %y: f32[batch, seq, 96] = ternary_matmul(%q, %s, %w, %d, %c, %x) {epilogue = add(mul(mul(to_f32(acc), x0), x1), x2)}
  %k: f32[batch, seq, 32] = slice(%y) {axis = 2, start = 64, size = 32}
  %z: f32[batch, seq, 32] = relu(%k)
  return y = %y, z = %z
}`;

test("the least memory that suffices is named, and does", async () => {
  const scheduled = (maxMemory: number) =>
    schedule({ run: parseGraph(layer) }, { ...options, maxMemory }).then(
      () => "fits",
      ({ expected }: BitloomError) => Number(/`maxMemory` of (\d+) bytes/.exec(expected!)![1]),
    );
  const least = (await scheduled(1)) as number;
  expect(least).toBeGreaterThan(10_000);
  expect(await Promise.all([least - 1, least].map(scheduled))).toEqual([least, "fits"]);
});

test("a plan reads as steps, buffers and kernels", async () => {
  const plan = await schedule({ run: parseGraph(layer) }, options);
  expect(formatPlan(plan, "wasm")).toMatchInlineSnapshot(`
    "memory
      weights 4.1 kB in 3 buffers
      state 0 B
      temporaries 1.79 kB
      inputs and outputs 7.17 kB
      scratch 512 B a thread
    kernels (4)
      quantize_rms_norm                   templates/cpu/quantize.ts        1 step
      ternary_matmul_gemv_scale_residual  templates/cpu/ternary-matmul.ts  1 step
      ternary_matmul_gemm_scale_residual  templates/cpu/ternary-matmul.ts  1 step
      elementwise_relu                    elementwise                      1 step
    run(batch <= 1, seq <= 8): 4 steps
      moves weights 3.84 kB, read 8 kB, written 4.93 kB
      3 temporaries of 1.79 kB share 1.79 kB
      quantize %q        quantize_rms_norm                   seq items  weights 384 B    read 3.07 kB  written 832 B
      ternary_matmul %y  ternary_matmul_gemv_scale_residual  24 items                                                   if seq = 1
      ternary_matmul %y  ternary_matmul_gemm_scale_residual  24 items   weights 3.46 kB  read 3.9 kB   written 3.07 kB  if 2 <= seq <= 8
      relu %z            elementwise_relu                    seq items                   read 1.02 kB  written 1.02 kB  for z
    "
  `);
  expect(plan.targets.wasm!.plans.run![1]!.arguments.map(formatArgument).join(", ")).toMatchInlineSnapshot(
    `"weights + 512, arena + 0, arena + 1536, weights + 512, io + 3072, scratch, seq, 96, 96, 96, arena + 1280, weights + 3584, io + 0, arena + 1280, weights + 3584, io + 0"`,
  );
  expect(
    plan.weights.map(({ name, layout, offset, bytes }) => [name, layout, offset, bytes]),
  ).toMatchInlineSnapshot(`
    [
      [
        "norm.weight",
        "dense",
        0,
        384,
      ],
      [
        "{q_proj,k_proj}.weight.codes",
        "ternary-codes",
        512,
        3072,
      ],
      [
        "{q_proj,k_proj}.weight.weight_scale",
        "dense",
        3584,
        384,
      ],
    ]
  `);
});

describe("memory", () => {
  test("outputs are written where they stay, and slices of them are read in place", async () => {
    const plan = await schedule({ run: parseGraph(layer) }, options);
    const steps = plan.targets.wasm!.plans.run!.map((step) => step.kernel);
    expect(steps.some((name) => name.startsWith("copy"))).toBe(false);
  });

  test("an output that is an input, and two that are one value, share its memory", async () => {
    const program = await expectSameResults(
      parseGraph(`graph @g(batch <= 3) {
        %x: input f32[batch, 4]
        %y: f32[batch, 4] = neg(%x)
        %z: f32[batch, 2, 2] = reshape(%y) {dims = ["batch", 2, 2]}
        return x = %x, y = %y, z = %z, again = %y
      }`),
    );
    expect(program.steps("run")).toHaveLength(1);
    expect(program.plan.entries.run!.outputs.map(({ offset }) => offset)).toEqual([0, 256, 256, 256]);
  });

  test("temporaries of a long chain take two places", async () => {
    const chain = Array.from({ length: 20 }, (_, i) => `%x${i + 1}: f32[batch, 100] = softmax(%x${i})`);
    const plan = await schedule(
      {
        run: parseGraph(`graph @g(batch <= 3) {
          %x0: input f32[batch, 100]
          ${chain.join("\n")}
          return y = %x20
        }`),
      },
      options,
    );
    const { arena, summaries } = plan.targets.wasm!;
    expect(arena.bytes).toBe(2 * 1280);
    expect(summaries.run!.arena).toEqual({ buffers: 19, unsharedBytes: 19 * 1280, bytes: 2 * 1280 });
  });

  test("too much of it is named and numbered", async () => {
    const error = await errorOf(`graph @g(slots <= 64) {
      %w: parameter "head.weight" f32[100000, 5000]
      %ids: input i32[1]
      %cache: state "layers.0.cache" f32[slots, 4096, 8, 512]
      %y: f32[1, 5000] = embedding(%w, %ids)
      return y = %y
    }`);
    expect(error.code).toBe("LIMIT_EXCEEDED");
    expect(error.message).toContain("at most 4.29 GB in all");
    expect(error.message).toContain("state 4.29 GB (largest: layers.0.cache, 4.29 GB)");
    expect(error.message).toContain("weights 2 GB (largest: head.weight, 2 GB)");
  });
});

describe("states", () => {
  test("a cache is written in place", async () => {
    const program = await expectSameResults(
      parseGraph(`graph @g(batch <= 2, seq <= 3, slots <= 4) {
        %cache: state "cache" f32[slots, 8, 2, 3]
        %x: input f32[batch, seq, 2, 3]
        %slots: input i32[batch]
        %positions: input i32[batch]
        %next: f32[slots, 8, 2, 3] = cache_write(%cache, %x, %slots, %positions)
        %y: f32[slots, 8, 2, 3] = abs(%next)
        next %cache = %next
        return y = %y
      }`),
    );
    expect(program.steps("run").map((step) => step.kernel)).toEqual(["cache_write", "elementwise_abs"]);
    expect(program.plan.targets.wasm!.arena.bytes).toBe(0);
  });

  test("a cache that is still needed as it was is copied first", async () => {
    await expectSameResults(
      parseGraph(`graph @g(batch <= 2, seq <= 3, slots <= 4) {
        %cache: state "cache" f32[slots, 8, 2, 3]
        %x: input f32[batch, seq, 2, 3]
        %slots: input i32[batch]
        %positions: input i32[batch]
        %next: f32[slots, 8, 2, 3] = cache_write(%cache, %x, %slots, %positions)
        %y: f32[slots, 8, 2, 3] = sub(%next, %cache)
        next %cache = %next
        return y = %y, old = %cache
      }`),
    );
  });

  test("states may swap, and follow a computation", async () => {
    await expectSameResults(
      parseGraph(`graph @g(batch <= 2) {
        %a: state "a" f32[5]
        %b: state "b" f32[5]
        %count: state "count" f32[]
        %one: f32[] = constant() {value = 1, dtype = "f32"}
        %more: f32[] = add(%count, %one)
        %x: input f32[batch, 5]
        %y: f32[batch, 5] = add(%x, %a)
        next %a = %b
        next %b = %a
        next %count = %more
        return y = %y
      }`),
    );
  });
});

describe("weights", () => {
  const entry = (rows: number) =>
    parseGraph(`graph @g(batch <= ${rows}) {
      %w: parameter "w" f32[6, 70]
      %t: f32[6, 70] ternary(row) = absmean_quantize(%w) {scale = "row"}
      %c: f32[6] = weight_scale(%t)
      %x: input f32[batch, 70]
      %q: i8[batch, 70], %d: f32[batch, 1], %s: i32[batch, 1] = quantize(%x) {bits = 8, granularity = "row"}
      %y: f32[batch, 6] = ternary_matmul(%q, %s, %t, %d, %c) {epilogue = mul(mul(to_f32(acc), x0), x1)}
      return y = %y
    }`);

  test("entries share weights and kernels", async () => {
    const one = await schedule({ run: entry(4) }, options);
    const both = await schedule({ run: entry(4), decode: entry(1) }, options);
    expect(both.weights.map(({ name }) => name)).toEqual(["w.codes", "w.weight_scale"]);
    expect(both.regions.weights).toBe(one.regions.weights);
    expect(Object.keys(both.entries)).toEqual(["run", "decode"]);
    const gemv = (name: string) =>
      both.targets.wasm!.plans[name]!.filter((step) => step.kernel.includes("gemv"));
    expect(gemv("decode")[0]!.kernel).toBe(gemv("run")[0]!.kernel);
    expect(gemv("decode")[0]!.guard).toBeUndefined();
    expect(gemv("run")[0]!.guard).toEqual({ value: "batch", lower: 1, upper: 1 });
  });

  test("lie in the order in which decode reads them", async () => {
    const reads = (first: string, second: string) =>
      parseGraph(`graph @g(batch <= 1) {
        %x: input f32[batch, 3]
        %a: parameter "${first}" f32[3, 3]
        %b: parameter "${second}" f32[3, 3]
        %y: f32[batch, 3] = linear(%x, %a)
        %z: f32[batch, 3] = linear(%y, %b)
        return z = %z
      }`);
    const plan = await schedule({ run: reads("b", "a"), decode: reads("a", "b") }, options);
    expect(plan.weights.map(({ name, offset }) => [name, offset])).toEqual([
      ["a", 0],
      ["b", 256],
    ]);
  });

  test("one weight in two encodings is two buffers with two names", async () => {
    const plan = await schedule(
      {
        run: parseGraph(`graph @g(batch <= 1) {
          %w: parameter "w" f32[4, 4]
          %i: f32[4, 4] int8(row) = quantize_int8(%w)
          %ids: input i32[batch]
          %x: f32[batch, 4] = embedding(%w, %ids)
          %y: f32[batch, 4] = linear(%x, %i)
          return y = %y
        }`),
      },
      options,
    );
    expect(plan.weights.map(({ name }) => name)).toEqual(["w", "w.int8", "w.int8_scales"]);
  });
});

test("an op that only a build can compute names the target", async () => {
  const error = await errorOf(`graph @g() {
    %x: input f32[4, 4]
    %w: f32[4, 4] int8(row) = quantize_int8(%x)
    %ids: input i32[2]
    %y: f32[2, 4] = embedding(%w, %ids)
    return y = %y
  }`);
  expect(error.code).toBe("UNSUPPORTED_OP");
  expect(error.message).toContain("quantize_int8 does not run on target wasm");
});
