import { describe, expect, it } from "vitest";
import { printGraph } from "../../ir/text/print.ts";
import { errorOf, unchecked } from "../../test/support/errors.ts";
import {
  attention,
  block,
  defineLanguageModel,
  defineModel,
  embedding,
  f32,
  isModel,
  keyValueCache,
  linear,
  reshape,
  rope,
  type Tensor,
} from "./index.ts";

describe("a language model", () => {
  const attend = block(
    { q: linear(8, 8), k: linear(8, 4), v: linear(8, 4), o: linear(8, 8), cache: keyValueCache(1, 4) },
    ({ q, k, v, o, cache }) =>
      (x: Tensor<"f32", ["batch", "seq", 8]>) => {
        const turn = { theta: 10_000 };
        const queries = rope(reshape(q(x), ["batch", "seq", 2, 4]), turn);
        const keys = rope(reshape(k(x), ["batch", "seq", 1, 4]), turn);
        const values = reshape(v(x), ["batch", "seq", 1, 4]);
        return o(reshape(attention(queries, keys, values, { cache }), ["batch", "seq", 8]));
      },
  );
  const model = defineLanguageModel({
    name: "tiny",
    vocabularySize: 12,
    contextLength: 32,
    bosToken: 0,
    eosTokens: [1],
    layers: { embed: embedding(12, 8), attend },
    forward: (tokens, { embed, attend }) => embed.head(attend(embed(tokens))),
  });

  it("has tokens, positions and slots, one cache a layer, and one table a kind of rotation", () => {
    expect(printGraph(model.trace())).toBe(`graph @tiny(batch <= 1, seq <= 32, slots <= 1) {
  %tokens: input i32[batch, seq]
  %positions: input i32[batch]
  %slots: input i32[batch]
  %embed.weight: parameter "embed.weight" f32[12, 8]
  %attend.q.weight: parameter "attend.q.weight" f32[8, 8]
  %attend.k.weight: parameter "attend.k.weight" f32[4, 8]
  %attend.v.weight: parameter "attend.v.weight" f32[4, 8]
  %attend.o.weight: parameter "attend.o.weight" f32[8, 8]
  %attend.cache.k: state "attend.cache.k" f32[slots, 32, 1, 4]
  %attend.cache.v: state "attend.cache.v" f32[slots, 32, 1, 4]
  %embed: f32[batch, seq, 8] = embedding(%embed.weight, %tokens)
  %attend.q: f32[batch, seq, 8] = linear(%embed, %attend.q.weight)
  %0: f32[batch, seq, 2, 4] = reshape(%attend.q) {dims = ["batch", "seq", 2, 4]}
  %cos: f32[32, 2] = rope_table() {theta = 10000, dim = 4, length = 32, fn = "cos"}
  %sin: f32[32, 2] = rope_table() {theta = 10000, dim = 4, length = 32, fn = "sin"}
  %1: f32[batch, seq, 2, 4] = rope(%0, %cos, %sin, %positions)
  %attend.k: f32[batch, seq, 4] = linear(%embed, %attend.k.weight)
  %2: f32[batch, seq, 1, 4] = reshape(%attend.k) {dims = ["batch", "seq", 1, 4]}
  %3: f32[batch, seq, 1, 4] = rope(%2, %cos, %sin, %positions)
  %attend.cache.k_1: f32[slots, 32, 1, 4] = cache_write(%attend.cache.k, %3, %slots, %positions)
  %attend.v: f32[batch, seq, 4] = linear(%embed, %attend.v.weight)
  %4: f32[batch, seq, 1, 4] = reshape(%attend.v) {dims = ["batch", "seq", 1, 4]}
  %attend.cache.v_1: f32[slots, 32, 1, 4] = cache_write(%attend.cache.v, %4, %slots, %positions)
  %5: f32[batch, seq, 2, 4] = attention(%1, %attend.cache.k_1, %attend.cache.v_1, %slots, %positions) {scale = 0.5}
  %6: f32[batch, seq, 8] = reshape(%5) {dims = ["batch", "seq", 8]}
  %attend.o: f32[batch, seq, 8] = linear(%6, %attend.o.weight)
  %embed.head: f32[batch, seq, 12] = linear(%attend.o, %embed.weight)
  next %attend.cache.k = %attend.cache.k_1
  next %attend.cache.v = %attend.cache.v_1
  return logits = %embed.head
}
`);
  });

  it("carries what a runtime needs to know", () => {
    const { kind, vocabularySize, contextLength, bosToken, eosTokens } = model;
    expect({ kind, vocabularySize, contextLength, bosToken, eosTokens }).toEqual({
      kind: "language-model",
      vocabularySize: 12,
      contextLength: 32,
      bosToken: 0,
      eosTokens: [1],
    });
    expect(isModel(model)).toBe(true);
  });

  it("can be built for another context and another number of sequences", () => {
    const graph = model.trace({ contextLength: 8, symbols: { batch: { max: 4 } } });
    expect(graph.states.map(({ value }) => value.type.dims)).toEqual([
      ["slots", 8, 1, 4],
      ["slots", 8, 1, 4],
    ]);
    expect(Object.fromEntries(graph.symbols)).toEqual({
      batch: { max: 4 },
      seq: { max: 8 },
      slots: { max: 4 },
    });
    const tooLong = () => model.trace({ contextLength: 8, symbols: { seq: { max: 9 } } });
    expect(errorOf(tooLong).code).toBe("INVALID_OPTION");
  });

  it.each([
    ["no vocabulary", { vocabularySize: 0 }],
    ["no context", { contextLength: 0 }],
    ["an end beyond the vocabulary", { eosTokens: [12] }],
    ["a misspelt option", { context: 3 }],
  ])("refuses %s", (_, change) => {
    const definition = { name: "m", vocabularySize: 12, contextLength: 4, layers: {}, forward: () => 0 };
    expect(errorOf(() => defineLanguageModel(unchecked({ ...definition, ...change }))).code).toBe(
      "INVALID_OPTION",
    );
  });

  it("refuses logits of another shape, a cache that is written twice, and one outside of a language model", () => {
    const embed = embedding(12, 8);
    const wrong = defineLanguageModel({
      name: "m",
      vocabularySize: 12,
      contextLength: 4,
      layers: { embed },
      forward: unchecked((tokens: Tensor<"i32", ["batch", "seq"]>) => embed(tokens)),
    });
    expect(errorOf(() => wrong.trace())).toMatchObject({
      code: "SHAPE_MISMATCH",
      expected: "f32[batch, seq, 12]",
      received: "f32[batch, seq, 8]",
    });
    for (const [result, message] of [
      [undefined, /must return logits[\s\S]*received: undefined/],
      [Promise.resolve(), /must not be async/],
    ] as const) {
      const nothing = defineLanguageModel({
        name: "m",
        vocabularySize: 12,
        contextLength: 4,
        layers: {},
        forward: () => unchecked(result),
      });
      expect(errorOf(() => nothing.trace())).toMatchObject({
        code: "INVALID_MODEL",
        message: expect.stringMatching(message),
        location: expect.stringMatching(/language-model\.test\.ts:\d+:\d+$/),
      });
    }
    const twice = defineLanguageModel({
      name: "m",
      vocabularySize: 12,
      contextLength: 4,
      layers: { embed, attend },
      forward: (tokens, { embed, attend }) => embed.head(attend(attend(embed(tokens)))),
    });
    expect(errorOf(() => twice.trace()).message).toContain("attend.cache.k is written twice");
    const plain = defineModel({
      name: "m",
      inputs: { x: f32("batch", "seq", 1, 4) },
      layers: { cache: keyValueCache(1, 4) },
      forward: ({ x }, { cache }) => ({ y: attention(x, x, x, { cache }) }),
    });
    expect(errorOf(() => plain.trace()).code).toBe("INVALID_MODEL");
  });
});
