import { expect, test } from "vitest";
import { Random } from "../../test/support/random.ts";
import { randomTensors } from "../../test/support/random-graph.ts";
import { expectSameMeaning } from "../../test/support/same-meaning.ts";
import { GraphBuilder } from "../builder.ts";
import { type Graph, topologicalOrder } from "../graph.ts";
import { interpret } from "../interpret.ts";
import { type Tensor, tensor } from "../tensor.ts";
import { parseGraph } from "../text/parse.ts";
import { printGraph } from "../text/print.ts";
import { dense } from "../types.ts";
import { verifyGraph } from "../verify.ts";
import { isBuildTime } from "./partition-parameters.ts";
import {
  decodeGraph,
  forwardPipeline,
  prefillGraph,
  runForwardPipeline,
  type StageName,
} from "./pipelines.ts";

const quantized = `{weight_scale = "tensor", activation = {bits = 8, granularity = "row"}}`;

/** One layer of BitNet b1.58 with its head: hidden 8, 4 heads over 2 key-value heads of width 2, feed-forward 6. */
const layer = `
  graph @bitnet(batch <= 2, seq <= 4, slots <= 2) {
    %tokens: input i32[batch, seq]
    %positions: input i32[batch]
    %slots: input i32[batch]
    %embed: parameter "embed_tokens.weight" f32[11, 8]
    %g1: parameter "input_layernorm.weight" f32[8]
    %wq: parameter "q_proj.weight" f32[8, 8]
    %wk: parameter "k_proj.weight" f32[4, 8]
    %wv: parameter "v_proj.weight" f32[4, 8]
    %g2: parameter "attn_sub_norm.weight" f32[8]
    %wo: parameter "o_proj.weight" f32[8, 8]
    %g3: parameter "post_attention_layernorm.weight" f32[8]
    %wg: parameter "gate_proj.weight" f32[6, 8]
    %wu: parameter "up_proj.weight" f32[6, 8]
    %g4: parameter "ffn_sub_norm.weight" f32[6]
    %wd: parameter "down_proj.weight" f32[8, 6]
    %g5: parameter "norm.weight" f32[8]
    %k_cache: state "k" f32[slots, 16, 2, 2]
    %v_cache: state "v" f32[slots, 16, 2, 2]

    %x: f32[batch, seq, 8] = embedding(%embed, %tokens)
    %n1: f32[batch, seq, 8] = rms_norm(%x, %g1) {eps = 0.00001}
    %q: f32[batch, seq, 8] = bit_linear(%n1, %wq) ${quantized}
    %k: f32[batch, seq, 4] = bit_linear(%n1, %wk) ${quantized}
    %v: f32[batch, seq, 4] = bit_linear(%n1, %wv) ${quantized}
    %qh: f32[batch, seq, 4, 2] = reshape(%q) {dims = ["batch", "seq", 4, 2]}
    %kh: f32[batch, seq, 2, 2] = reshape(%k) {dims = ["batch", "seq", 2, 2]}
    %vh: f32[batch, seq, 2, 2] = reshape(%v) {dims = ["batch", "seq", 2, 2]}
    %cos: f32[16, 1] = rope_table() {theta = 10000, dim = 2, length = 16, fn = "cos"}
    %sin: f32[16, 1] = rope_table() {theta = 10000, dim = 2, length = 16, fn = "sin"}
    %qr: f32[batch, seq, 4, 2] = rope(%qh, %cos, %sin, %positions)
    %kr: f32[batch, seq, 2, 2] = rope(%kh, %cos, %sin, %positions)
    %k_next: f32[slots, 16, 2, 2] = cache_write(%k_cache, %kr, %slots, %positions)
    %v_next: f32[slots, 16, 2, 2] = cache_write(%v_cache, %vh, %slots, %positions)
    %a: f32[batch, seq, 4, 2] = attention(%qr, %k_next, %v_next, %slots, %positions) {scale = 0.7071067811865476}
    %merged: f32[batch, seq, 8] = reshape(%a) {dims = ["batch", "seq", 8]}
    %n2: f32[batch, seq, 8] = rms_norm(%merged, %g2) {eps = 0.00001}
    %o: f32[batch, seq, 8] = bit_linear(%n2, %wo) ${quantized}
    %h: f32[batch, seq, 8] = add(%x, %o)
    %n3: f32[batch, seq, 8] = rms_norm(%h, %g3) {eps = 0.00001}
    %gate: f32[batch, seq, 6] = bit_linear(%n3, %wg) ${quantized}
    %up: f32[batch, seq, 6] = bit_linear(%n3, %wu) ${quantized}
    %relu: f32[batch, seq, 6] = relu2(%gate)
    %gated: f32[batch, seq, 6] = mul(%relu, %up)
    %n4: f32[batch, seq, 6] = rms_norm(%gated, %g4) {eps = 0.00001}
    %down: f32[batch, seq, 8] = bit_linear(%n4, %wd) ${quantized}
    %y: f32[batch, seq, 8] = add(%h, %down)
    %n5: f32[batch, seq, 8] = rms_norm(%y, %g5) {eps = 0.00001}
    %logits: f32[batch, seq, 11] = linear(%n5, %embed)
    next %k_cache = %k_next
    next %v_cache = %v_next
    return logits = %logits
  }`;

/** The run-time part of a graph's text: what every call computes. */
function runTimeText(graph: Graph): string {
  const built = new Set(
    topologicalOrder(graph)
      .filter((node) => node.results.every(isBuildTime))
      .flatMap((node) => node.results.map((result) => `%${result.name}:`)),
  );
  const lines = printGraph(graph).split("\n");
  return lines
    .filter((line) => !/: parameter/.test(line) && !built.has(line.trim().split(" ")[0]!))
    .join("\n");
}

test("one BitNet layer becomes quantizers, matrix products and attention", () => {
  const before = parseGraph(layer);
  const after = runForwardPipeline(before, { verify: true });
  for (const seed of [1, 2, 3]) expectSameMeaning(before, after, seed);
  expect(runTimeText(after)).toMatchInlineSnapshot(`
    "graph @bitnet(batch <= 2, seq <= 4, slots <= 2) {
      %tokens: input i32[batch, seq]
      %positions: input i32[batch]
      %slots: input i32[batch]
      %k_cache: state "k" f32[slots, 16, 2, 2]
      %v_cache: state "v" f32[slots, 16, 2, 2]
      %x: f32[batch, seq, 8] = embedding(%embed, %tokens)
      %n1.codes: i8[batch, seq, 8], %n1.d: f32[batch, seq, 1], %n1.sum: i32[batch, seq, 1] = quantize(%x, %g1) {bits = 8, granularity = "row", eps = 0.00001}
      %q_k_v: f32[batch, seq, 16] = ternary_matmul(%n1.codes, %n1.sum, %q_k_v.weight, %n1.d, %q_k_v.scale) {epilogue = mul(mul(to_f32(acc), x0), x1)}
      %q: f32[batch, seq, 8] = slice(%q_k_v) {axis = 2, start = 0, size = 8}
      %qh: f32[batch, seq, 4, 2] = reshape(%q) {dims = ["batch", "seq", 4, 2]}
      %qr: f32[batch, seq, 4, 2] = rope(%qh, %cos, %sin, %positions)
      %k: f32[batch, seq, 4] = slice(%q_k_v) {axis = 2, start = 8, size = 4}
      %kh: f32[batch, seq, 2, 2] = reshape(%k) {dims = ["batch", "seq", 2, 2]}
      %kr: f32[batch, seq, 2, 2] = rope(%kh, %cos, %sin, %positions)
      %k_next: f32[slots, 16, 2, 2] = cache_write(%k_cache, %kr, %slots, %positions)
      %v: f32[batch, seq, 4] = slice(%q_k_v) {axis = 2, start = 12, size = 4}
      %vh: f32[batch, seq, 2, 2] = reshape(%v) {dims = ["batch", "seq", 2, 2]}
      %v_next: f32[slots, 16, 2, 2] = cache_write(%v_cache, %vh, %slots, %positions)
      %a: f32[batch, seq, 4, 2] = attention(%qr, %k_next, %v_next, %slots, %positions) {scale = 0.7071067811865476}
      %merged: f32[batch, seq, 8] = reshape(%a) {dims = ["batch", "seq", 8]}
      %n2.codes: i8[batch, seq, 8], %n2.d: f32[batch, seq, 1], %n2.sum: i32[batch, seq, 1] = quantize(%merged, %g2) {bits = 8, granularity = "row", eps = 0.00001}
      %h: f32[batch, seq, 8] = ternary_matmul(%n2.codes, %n2.sum, %wo.ternary, %n2.d, %wo.scale, %x) {epilogue = add(x2, mul(mul(to_f32(acc), x0), x1))}
      %n3.codes: i8[batch, seq, 8], %n3.d: f32[batch, seq, 1], %n3.sum: i32[batch, seq, 1] = quantize(%h, %g3) {bits = 8, granularity = "row", eps = 0.00001}
      %gate_up: f32[batch, seq, 12] = ternary_matmul(%n3.codes, %n3.sum, %gate_up.weight, %n3.d, %gate_up.scale) {epilogue = mul(mul(to_f32(acc), x0), x1)}
      %gate: f32[batch, seq, 6] = slice(%gate_up) {axis = 2, start = 0, size = 6}
      %up: f32[batch, seq, 6] = slice(%gate_up) {axis = 2, start = 6, size = 6}
      %n4.codes: i8[batch, seq, 6], %n4.d: f32[batch, seq, 1], %n4.sum: i32[batch, seq, 1] = quantize(%gate, %up, %g4) {bits = 8, granularity = "row", prologue = mul(relu2(x0), x1), eps = 0.00001}
      %y: f32[batch, seq, 8] = ternary_matmul(%n4.codes, %n4.sum, %wd.ternary, %n4.d, %wd.scale, %h) {epilogue = add(x2, mul(mul(to_f32(acc), x0), x1))}
      %n5: f32[batch, seq, 8] = rms_norm(%y, %g5) {eps = 0.00001}
      %logits: f32[batch, seq, 11] = linear(%n5, %embed)
      next %k_cache = %k_next
      next %v_cache = %v_next
      return logits = %logits
    }
    "
  `);
});

test("prefill computes what follows the last attention for one row", () => {
  const after = runForwardPipeline(prefillGraph(parseGraph(layer)), { verify: true });
  expect(runTimeText(after)).toMatchInlineSnapshot(`
    "graph @bitnet(batch <= 2, seq <= 4, slots <= 2) {
      %tokens: input i32[batch, seq]
      %positions: input i32[batch]
      %slots: input i32[batch]
      %k_cache: state "k" f32[slots, 16, 2, 2]
      %v_cache: state "v" f32[slots, 16, 2, 2]
      %x: f32[batch, seq, 8] = embedding(%embed, %tokens)
      %n1.codes: i8[batch, seq, 8], %n1.d: f32[batch, seq, 1], %n1.sum: i32[batch, seq, 1] = quantize(%x, %g1) {bits = 8, granularity = "row", eps = 0.00001}
      %q_k_v: f32[batch, seq, 16] = ternary_matmul(%n1.codes, %n1.sum, %q_k_v.weight, %n1.d, %q_k_v.scale) {epilogue = mul(mul(to_f32(acc), x0), x1)}
      %q: f32[batch, seq, 8] = slice(%q_k_v) {axis = 2, start = 0, size = 8}
      %qh: f32[batch, seq, 4, 2] = reshape(%q) {dims = ["batch", "seq", 4, 2]}
      %qr: f32[batch, seq, 4, 2] = rope(%qh, %cos, %sin, %positions)
      %k: f32[batch, seq, 4] = slice(%q_k_v) {axis = 2, start = 8, size = 4}
      %kh: f32[batch, seq, 2, 2] = reshape(%k) {dims = ["batch", "seq", 2, 2]}
      %kr: f32[batch, seq, 2, 2] = rope(%kh, %cos, %sin, %positions)
      %k_next: f32[slots, 16, 2, 2] = cache_write(%k_cache, %kr, %slots, %positions)
      %v: f32[batch, seq, 4] = slice(%q_k_v) {axis = 2, start = 12, size = 4}
      %vh: f32[batch, seq, 2, 2] = reshape(%v) {dims = ["batch", "seq", 2, 2]}
      %v_next: f32[slots, 16, 2, 2] = cache_write(%v_cache, %vh, %slots, %positions)
      %a: f32[batch, seq, 4, 2] = attention(%qr, %k_next, %v_next, %slots, %positions) {scale = 0.7071067811865476}
      %a.last: f32[batch, 1, 4, 2] = slice(%a) {axis = 1, start = -1, size = 1}
      %merged.last: f32[batch, 1, 8] = reshape(%a.last) {dims = ["batch", 1, 8]}
      %n2.last.codes: i8[batch, 1, 8], %n2.last.d: f32[batch, 1, 1], %n2.last.sum: i32[batch, 1, 1] = quantize(%merged.last, %g2) {bits = 8, granularity = "row", eps = 0.00001}
      %x.last: f32[batch, 1, 8] = slice(%x) {axis = 1, start = -1, size = 1}
      %h.last: f32[batch, 1, 8] = ternary_matmul(%n2.last.codes, %n2.last.sum, %wo.ternary, %n2.last.d, %wo.scale, %x.last) {epilogue = add(x2, mul(mul(to_f32(acc), x0), x1))}
      %n3.last.codes: i8[batch, 1, 8], %n3.last.d: f32[batch, 1, 1], %n3.last.sum: i32[batch, 1, 1] = quantize(%h.last, %g3) {bits = 8, granularity = "row", eps = 0.00001}
      %gate.last_up.last: f32[batch, 1, 12] = ternary_matmul(%n3.last.codes, %n3.last.sum, %gate.last_up.last.weight, %n3.last.d, %gate.last_up.last.scale) {epilogue = mul(mul(to_f32(acc), x0), x1)}
      %gate.last: f32[batch, 1, 6] = slice(%gate.last_up.last) {axis = 2, start = 0, size = 6}
      %up.last: f32[batch, 1, 6] = slice(%gate.last_up.last) {axis = 2, start = 6, size = 6}
      %n4.last.codes: i8[batch, 1, 6], %n4.last.d: f32[batch, 1, 1], %n4.last.sum: i32[batch, 1, 1] = quantize(%gate.last, %up.last, %g4) {bits = 8, granularity = "row", prologue = mul(relu2(x0), x1), eps = 0.00001}
      %y.last: f32[batch, 1, 8] = ternary_matmul(%n4.last.codes, %n4.last.sum, %wd.ternary, %n4.last.d, %wd.scale, %h.last) {epilogue = add(x2, mul(mul(to_f32(acc), x0), x1))}
      %n5.last: f32[batch, 1, 8] = rms_norm(%y.last, %g5) {eps = 0.00001}
      %logits.last: f32[batch, 1, 11] = linear(%n5.last, %embed)
      %logits: f32[batch, 11] = reshape(%logits.last) {dims = ["batch", 11]}
      %bestLogit: f32[batch, 1], %bestToken: i32[batch, 1] = top_k(%logits) {k = 1}
      %topLogits: f32[batch, 11], %topTokens: i32[batch, 11] = top_k(%logits) {k = 11}
      next %k_cache = %k_next
      next %v_cache = %v_next
      return logits = %logits, bestLogit = %bestLogit, bestToken = %bestToken, topLogits = %topLogits, topTokens = %topTokens
    }
    "
  `);
});

test("decode has no slice along the sequence", () => {
  const after = runForwardPipeline(decodeGraph(parseGraph(layer)), { verify: true });
  expect([...after.symbols.keys()]).toEqual(["batch", "slots"]);
  expect(runTimeText(after)).toMatchInlineSnapshot(`
    "graph @bitnet(batch <= 2, slots <= 2) {
      %tokens: input i32[batch, 1]
      %positions: input i32[batch]
      %slots: input i32[batch]
      %k_cache: state "k" f32[slots, 16, 2, 2]
      %v_cache: state "v" f32[slots, 16, 2, 2]
      %x: f32[batch, 1, 8] = embedding(%embed, %tokens)
      %n1.codes: i8[batch, 1, 8], %n1.d: f32[batch, 1, 1], %n1.sum: i32[batch, 1, 1] = quantize(%x, %g1) {bits = 8, granularity = "row", eps = 0.00001}
      %q_k_v: f32[batch, 1, 16] = ternary_matmul(%n1.codes, %n1.sum, %q_k_v.weight, %n1.d, %q_k_v.scale) {epilogue = mul(mul(to_f32(acc), x0), x1)}
      %q: f32[batch, 1, 8] = slice(%q_k_v) {axis = 2, start = 0, size = 8}
      %qh: f32[batch, 1, 4, 2] = reshape(%q) {dims = ["batch", 1, 4, 2]}
      %qr: f32[batch, 1, 4, 2] = rope(%qh, %cos, %sin, %positions)
      %k: f32[batch, 1, 4] = slice(%q_k_v) {axis = 2, start = 8, size = 4}
      %kh: f32[batch, 1, 2, 2] = reshape(%k) {dims = ["batch", 1, 2, 2]}
      %kr: f32[batch, 1, 2, 2] = rope(%kh, %cos, %sin, %positions)
      %k_next: f32[slots, 16, 2, 2] = cache_write(%k_cache, %kr, %slots, %positions)
      %v: f32[batch, 1, 4] = slice(%q_k_v) {axis = 2, start = 12, size = 4}
      %vh: f32[batch, 1, 2, 2] = reshape(%v) {dims = ["batch", 1, 2, 2]}
      %v_next: f32[slots, 16, 2, 2] = cache_write(%v_cache, %vh, %slots, %positions)
      %a: f32[batch, 1, 4, 2] = attention(%qr, %k_next, %v_next, %slots, %positions) {scale = 0.7071067811865476}
      %merged.last: f32[batch, 1, 8] = reshape(%a) {dims = ["batch", 1, 8]}
      %n2.last.codes: i8[batch, 1, 8], %n2.last.d: f32[batch, 1, 1], %n2.last.sum: i32[batch, 1, 1] = quantize(%merged.last, %g2) {bits = 8, granularity = "row", eps = 0.00001}
      %h.last: f32[batch, 1, 8] = ternary_matmul(%n2.last.codes, %n2.last.sum, %wo.ternary, %n2.last.d, %wo.scale, %x) {epilogue = add(x2, mul(mul(to_f32(acc), x0), x1))}
      %n3.last.codes: i8[batch, 1, 8], %n3.last.d: f32[batch, 1, 1], %n3.last.sum: i32[batch, 1, 1] = quantize(%h.last, %g3) {bits = 8, granularity = "row", eps = 0.00001}
      %gate.last_up.last: f32[batch, 1, 12] = ternary_matmul(%n3.last.codes, %n3.last.sum, %gate.last_up.last.weight, %n3.last.d, %gate.last_up.last.scale) {epilogue = mul(mul(to_f32(acc), x0), x1)}
      %gate.last: f32[batch, 1, 6] = slice(%gate.last_up.last) {axis = 2, start = 0, size = 6}
      %up.last: f32[batch, 1, 6] = slice(%gate.last_up.last) {axis = 2, start = 6, size = 6}
      %n4.last.codes: i8[batch, 1, 6], %n4.last.d: f32[batch, 1, 1], %n4.last.sum: i32[batch, 1, 1] = quantize(%gate.last, %up.last, %g4) {bits = 8, granularity = "row", prologue = mul(relu2(x0), x1), eps = 0.00001}
      %y.last: f32[batch, 1, 8] = ternary_matmul(%n4.last.codes, %n4.last.sum, %wd.ternary, %n4.last.d, %wd.scale, %h.last) {epilogue = add(x2, mul(mul(to_f32(acc), x0), x1))}
      %n5.last: f32[batch, 1, 8] = rms_norm(%y.last, %g5) {eps = 0.00001}
      %logits.last: f32[batch, 1, 11] = linear(%n5.last, %embed)
      %logits: f32[batch, 11] = reshape(%logits.last) {dims = ["batch", 11]}
      %bestLogit: f32[batch, 1], %bestToken: i32[batch, 1] = top_k(%logits) {k = 1}
      %topLogits: f32[batch, 11], %topTokens: i32[batch, 11] = top_k(%logits) {k = 11}
      next %k_cache = %k_next
      next %v_cache = %v_next
      return logits = %logits, bestLogit = %bestLogit, bestToken = %bestToken, topLogits = %topLogits, topTokens = %topTokens
    }
    "
  `);
});

test("prefill gives the last row of the whole graph, and decode the same one token at a time", () => {
  const graph = parseGraph(layer);
  const { inputs, parameters } = randomTensors(graph, new Random(7), { batch: 2, seq: 2 });
  const { tokens, positions, slots } = inputs as Record<"tokens" | "positions" | "slots", Tensor>;
  const prefill = runForwardPipeline(prefillGraph(graph));
  const decode = runForwardPipeline(decodeGraph(graph));
  const whole = interpret(graph, { inputs, parameters, symbols: { slots: 2 } });
  const last = interpret(prefill, { inputs, parameters, symbols: { slots: 2 } });
  expect(whole.outputs.logits!.type.dims).toEqual([2, 2, 11]);
  const rows = [...whole.outputs.logits!.data];
  expect([...last.outputs.logits!.data]).toEqual([...rows.slice(11, 22), ...rows.slice(33, 44)]);
  expect(last.states).toEqual(whole.states);

  let states = {};
  let logits: ArrayLike<number> = [];
  for (const step of [0, 1]) {
    const token = [0, 1].map((b) => tokens.data[b * 2 + step]!);
    const position = [0, 1].map((b) => positions.data[b]! + step);
    const result = interpret(decode, {
      inputs: { tokens: tensor("i32", [2, 1], token), positions: tensor("i32", [2], position), slots },
      parameters,
      states,
      symbols: { slots: 2 },
    });
    states = result.states;
    logits = result.outputs.logits!.data;
  }
  expect([...(logits as Float32Array)]).toEqual([...last.outputs.logits!.data]);
});

test("stages are cumulative, each verified, and every one means the same", () => {
  const before = parseGraph(layer);
  const has = (graph: Graph, op: string) => topologicalOrder(graph).some((node) => node.op === op);
  const counts: Record<string, number> = {};
  for (const { name } of forwardPipeline) {
    const after = runForwardPipeline(before, { after: name, verify: true });
    expectSameMeaning(before, after, 5);
    counts[name] = topologicalOrder(after).filter((node) => !node.results.every(isBuildTime)).length;
    expect(has(after, "bit_linear")).toBe(name === "canonical");
  }
  expect(counts).toMatchInlineSnapshot(`
    {
      "canonical": 27,
      "fuse": 25,
      "lower": 55,
      "merge": 33,
      "share": 52,
    }
  `);
  expect(() => runForwardPipeline(before, { after: "fused" as StageName })).toThrow(
    /canonical, lower, share/,
  );
});

test("a model of 30 layers takes a fraction of a second", () => {
  const graph = deepModel(30);
  expect(topologicalOrder(graph).length).toBeGreaterThan(700);
  // The quickest of several runs, because other work may hold the processor.
  let after = graph;
  let quickest = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 3; run++) {
    const start = performance.now();
    after = runForwardPipeline(graph);
    quickest = Math.min(quickest, performance.now() - start);
  }
  expect(quickest).toBeLessThan(2000);
  verifyGraph(after);
  expect(topologicalOrder(after).filter((node) => node.op === "ternary_matmul")).toHaveLength(30 * 4);
});

function deepModel(layers: number): Graph {
  const b = new GraphBuilder("deep");
  b.symbol("batch", { max: 8 });
  const positions = b.input("positions", dense("i32", ["batch"]));
  let x = b.input("x", dense("f32", ["batch", 4, 8]));
  const attributes = { weight_scale: "tensor", activation: { bits: 8, granularity: "row" } } as const;
  for (let i = 0; i < layers; i++) {
    const weight = (name: string, ...dims: number[]) => b.parameter(`${i}.${name}`, dense("f32", dims));
    const norm = (name: string, value: typeof x) =>
      b.one("rms_norm", [value, weight(name, value.type.dims.at(-1) as number)], { eps: 1e-5 });
    const project = (name: string, value: typeof x, n: number) =>
      b.one("bit_linear", [value, weight(name, n, value.type.dims.at(-1) as number)], attributes);
    const n1 = norm("n1", x);
    const heads = (name: string, rotate: boolean) => {
      const split = b.one("reshape", [project(name, n1, 8)], { dims: ["batch", 4, 2, 4] });
      if (!rotate) return split;
      const table = (fn: "cos" | "sin") => b.one("rope_table", [], { theta: 1e4, dim: 4, length: 8, fn });
      return b.one("rope", [split, table("cos"), table("sin"), positions], {});
    };
    const mixed = b.one("attention", [heads("q", true), heads("k", true), heads("v", false)], { scale: 0.5 });
    const merged = b.one("reshape", [mixed], { dims: ["batch", 4, 8] });
    const h = b.one("add", [x, project("o", norm("n2", merged), 8)], {});
    const n3 = norm("n3", h);
    const gated = b.one("mul", [b.one("relu2", [project("gate", n3, 12)], {}), project("up", n3, 12)], {});
    x = b.one("add", [h, project("down", norm("n4", gated), 8)], {});
  }
  b.output("y", x);
  return b.build();
}
