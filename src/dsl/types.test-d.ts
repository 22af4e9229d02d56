import { describe, expectTypeOf, it } from "vitest";
import type { Add, AtMost, Multiply } from "./decimal-types.ts";
import {
  add,
  attention,
  bitLinear,
  block,
  cast,
  concat,
  type Dims,
  defineLanguageModel,
  defineModel,
  div,
  embedding,
  f32,
  gelu,
  i32,
  keyValueCache,
  linear,
  maximum,
  mean,
  mul,
  relu2,
  repeat,
  reshape,
  rmsNorm,
  rope,
  slice,
  softmax,
  subLN,
  sum,
  type Tensor,
  transpose,
} from "./index.ts";

declare const x: Tensor<"f32", ["batch", 784]>;
declare const h: Tensor<"f32", ["batch", "seq", 4, 64]>;
declare const kv: Tensor<"f32", ["batch", "seq", 2, 64]>;
declare const ids: Tensor<"i32", ["batch", "seq"]>;
declare const vector: Tensor<"f32", [784]>;
declare const dynamic: Tensor<"f32", ["batch", number]>;

describe("layers", () => {
  it("keep leading axes of any number and map the last", () => {
    const fc = bitLinear(784, 256);
    expectTypeOf(fc(x)).toEqualTypeOf<Tensor<"f32", ["batch", 256]>>();
    expectTypeOf(fc(vector)).toEqualTypeOf<Tensor<"f32", [256]>>();
    expectTypeOf(linear(64, 3)(h)).toEqualTypeOf<Tensor<"f32", ["batch", "seq", 4, 3]>>();
    expectTypeOf(rmsNorm(64)(h)).toEqualTypeOf<typeof h>();
    expectTypeOf(subLN(784)(x)).toEqualTypeOf<typeof x>();
    expectTypeOf(embedding(100, 16)(ids)).toEqualTypeOf<Tensor<"f32", ["batch", "seq", 16]>>();
    expectTypeOf(embedding(100, 784).head(x)).toEqualTypeOf<Tensor<"f32", ["batch", 100]>>();
  });

  it("refuse a wrong inner dimension", () => {
    // @ts-expect-error 784 features do not fit 785
    bitLinear(785, 256)(x);
    // @ts-expect-error 784 features do not fit 785
    linear(785, 256)(x);
    // @ts-expect-error 784 features do not fit 785
    rmsNorm(785)(x);
    // @ts-expect-error 784 features do not fit 16
    embedding(100, 16).head(x);
    // @ts-expect-error a length known only at build does not fit a literal one
    bitLinear(784, 256)(dynamic);
    // @ts-expect-error a named length is not a number
    bitLinear(784, 256)({} as Tensor<"f32", [784, "batch"]>);
  });

  it("refuse a wrong dtype and what is no tensor", () => {
    // @ts-expect-error token ids are not features
    bitLinear(784, 256)({} as Tensor<"i32", ["batch", 784]>);
    // @ts-expect-error features are not token ids
    embedding(100, 16)(x);
    // @ts-expect-error a declaration is not a tensor
    bitLinear(784, 256)(f32("batch", 784));
  });

  it("take lengths known only at build", () => {
    const size: number = 10;
    expectTypeOf(linear(size, size)(dynamic)).toEqualTypeOf<Tensor<"f32", ["batch", number]>>();
    expectTypeOf(linear(size, 3)(x)).toEqualTypeOf<Tensor<"f32", ["batch", 3]>>();
  });

  it("refuse options that do not exist or contradict each other", () => {
    bitLinear(8, 8, { bias: true, groupSize: 4, activation: { bits: 4, granularity: "tensor" } });
    bitLinear(8, 8, { weightScale: "row", activation: null });
    // @ts-expect-error a group size without groups
    bitLinear(8, 8, { weightScale: "row", groupSize: 4 });
    // @ts-expect-error groups without a size
    bitLinear(8, 8, { weightScale: "group" });
    // @ts-expect-error misspelt
    bitLinear(8, 8, { grupSize: 4 });
    // @ts-expect-error no such approximation
    gelu(x, { approximate: "erf" });
  });
});

describe("elementwise functions", () => {
  it("broadcast", () => {
    expectTypeOf(relu2(x)).toEqualTypeOf<typeof x>();
    expectTypeOf(add(x, vector)).toEqualTypeOf<typeof x>();
    expectTypeOf(add(vector, x)).toEqualTypeOf<typeof x>();
    expectTypeOf(mul(x, 2)).toEqualTypeOf<typeof x>();
    expectTypeOf(div(1, x)).toEqualTypeOf<typeof x>();
    expectTypeOf(add(ids, ids)).toEqualTypeOf<typeof ids>();
    const column = {} as Tensor<"f32", ["batch", 1]>;
    const row = {} as Tensor<"f32", [1, "seq", 1, 64]>;
    expectTypeOf(maximum(column, vector)).toEqualTypeOf<typeof x>();
    expectTypeOf(mul(row, {} as Tensor<"f32", ["batch", 1, 4, 1]>)).toEqualTypeOf<typeof h>();
    expectTypeOf(add(x, dynamic)).toEqualTypeOf<typeof x>();
  });

  it("refuse what does not broadcast, mixed dtypes and integers where there are none", () => {
    // @ts-expect-error cannot broadcast [batch, 784] with [785]
    add(x, {} as Tensor<"f32", [785]>);
    // @ts-expect-error cannot broadcast two names
    add({} as Tensor<"f32", ["batch"]>, {} as Tensor<"f32", ["seq"]>);
    // @ts-expect-error f32 and i32
    add({} as Tensor<"f32", ["batch", "seq"]>, ids);
    // @ts-expect-error one of the two must be a tensor
    add(1, 2);
    // @ts-expect-error no integer division
    div(ids, 2);
    // @ts-expect-error no activation of integers
    relu2(ids);
  });

  it("work on shapes that a function leaves open", () => {
    const residual = <Lead extends Dims>(y: Tensor<"f32", [...Lead, 784]>) => add(y, relu2(y));
    expectTypeOf(residual(x)).toEqualTypeOf<typeof x>();
    expectTypeOf(residual(vector)).toEqualTypeOf<typeof vector>();
  });
});

describe("reductions", () => {
  it("drop or keep their axis, counted from either end", () => {
    expectTypeOf(sum(h, { axis: 1 })).toEqualTypeOf<Tensor<"f32", ["batch", 4, 64]>>();
    expectTypeOf(sum(h, { axis: -1 })).toEqualTypeOf<Tensor<"f32", ["batch", "seq", 4]>>();
    expectTypeOf(mean(h, { axis: -3, keepDims: true })).toEqualTypeOf<Tensor<"f32", ["batch", 1, 4, 64]>>();
    expectTypeOf(mean(h, { axis: 0, keepDims: true })).toEqualTypeOf<Tensor<"f32", [1, "seq", 4, 64]>>();
    expectTypeOf(softmax(x)).toEqualTypeOf<typeof x>();
  });

  it("refuse an axis that is not there", () => {
    // @ts-expect-error axes 0, 1, -1, -2
    sum(x, { axis: 2 });
    // @ts-expect-error axes 0, 1, -1, -2
    sum(x, { axis: -3 });
  });
});

describe("shape functions", () => {
  it("know the new dims", () => {
    expectTypeOf(reshape(x, ["batch", 28, 28])).toEqualTypeOf<Tensor<"f32", ["batch", 28, 28]>>();
    expectTypeOf(reshape(h, ["seq", "batch", 256])).toEqualTypeOf<Tensor<"f32", ["seq", "batch", 256]>>();
    expectTypeOf(transpose(h, [0, 2, 1, 3])).toEqualTypeOf<Tensor<"f32", ["batch", 4, "seq", 64]>>();
    expectTypeOf(slice(h, { axis: 1, start: -1, size: 1 })).toEqualTypeOf<
      Tensor<"f32", ["batch", 1, 4, 64]>
    >();
    expectTypeOf(slice(x, { axis: 1, start: 780, size: 4 })).toEqualTypeOf<Tensor<"f32", ["batch", 4]>>();
    expectTypeOf(slice(x, { axis: -1, start: -784, size: 784 })).toEqualTypeOf<typeof x>();
    expectTypeOf(concat([h, kv], { axis: 2 })).toEqualTypeOf<Tensor<"f32", ["batch", "seq", 6, 64]>>();
    expectTypeOf(concat([x, x, x], { axis: -1 })).toEqualTypeOf<Tensor<"f32", ["batch", 2352]>>();
    expectTypeOf(cast(ids, "f32")).toEqualTypeOf<Tensor<"f32", ["batch", "seq"]>>();
  });

  it("leave unknown lengths to the build", () => {
    const size: number = 2;
    expectTypeOf(reshape(x, ["batch", size, 28])).toEqualTypeOf<Tensor<"f32", ["batch", number, 28]>>();
    expectTypeOf(slice(x, { axis: 1, start: size, size: 999 })).toEqualTypeOf<
      Tensor<"f32", ["batch", 999]>
    >();
    expectTypeOf(slice(dynamic, { axis: 1, start: 5, size: 3 })).toEqualTypeOf<Tensor<"f32", ["batch", 3]>>();
    expectTypeOf(concat([x, dynamic], { axis: 1 })).toEqualTypeOf<Tensor<"f32", ["batch", number]>>();
  });

  it("refuse what cannot be", () => {
    // @ts-expect-error 784 elements are not 28 * 29
    reshape(x, ["batch", 28, 29]);
    // @ts-expect-error batch does not become seq
    reshape(x, ["seq", 784]);
    // @ts-expect-error axis 0 twice
    transpose(x, [0, 0]);
    // @ts-expect-error one axis is missing
    transpose(h, [0, 2, 1]);
    // @ts-expect-error the other axes differ
    concat([x, {} as Tensor<"f32", ["seq", 784]>], { axis: 1 });
    // @ts-expect-error two dtypes
    concat([{} as Tensor<"f32", ["batch", 2]>, {} as Tensor<"i32", ["batch", 2]>], { axis: 1 });
    // @ts-expect-error no such axis
    slice(x, { axis: 2, start: 0, size: 1 });
    // @ts-expect-error 780 + 5 of 784
    slice(x, { axis: 1, start: 780, size: 5 });
    // @ts-expect-error 2 from the last on
    slice(x, { axis: -1, start: -1, size: 2 });
    // @ts-expect-error there are not so many
    slice(x, { axis: 1, start: -785, size: 1 });
    // @ts-expect-error no such dtype
    cast(x, "f64");
  });

  it("add and multiply lengths exactly", () => {
    expectTypeOf<Add<999, 1>>().toEqualTypeOf<1000>();
    expectTypeOf<Add<0, 0>>().toEqualTypeOf<0>();
    expectTypeOf<Add<128256, 6912>>().toEqualTypeOf<135168>();
    expectTypeOf<Multiply<128256, 2560>>().toEqualTypeOf<328335360>();
    expectTypeOf<Multiply<50, 20>>().toEqualTypeOf<1000>();
    expectTypeOf<Multiply<7, 0>>().toEqualTypeOf<0>();
    expectTypeOf<Multiply<7, number>>().toEqualTypeOf<number>();
    expectTypeOf<AtMost<0, 0>>().toEqualTypeOf<true>();
    expectTypeOf<AtMost<9, 10>>().toEqualTypeOf<true>();
    expectTypeOf<AtMost<784, 784>>().toEqualTypeOf<true>();
    expectTypeOf<AtMost<785, 784>>().toEqualTypeOf<false>();
    expectTypeOf<AtMost<128256, 99999>>().toEqualTypeOf<false>();
    expectTypeOf<AtMost<1999, 2000>>().toEqualTypeOf<true>();
    expectTypeOf<AtMost<number, 4>>().toEqualTypeOf<boolean>();
  });
});

describe("attention and rotary embedding", () => {
  it("keep the shape of the queries", () => {
    expectTypeOf(attention(h, kv, kv)).toEqualTypeOf<typeof h>();
    expectTypeOf(attention(h, kv, kv, { cache: keyValueCache(2, 64), scale: 1 })).toEqualTypeOf<typeof h>();
    expectTypeOf(rope(kv, { theta: 10_000 })).toEqualTypeOf<typeof kv>();
  });

  it("refuse heads that do not fit", () => {
    // @ts-expect-error 64 channels a head, not 32
    attention(h, {} as Tensor<"f32", ["batch", "seq", 2, 32]>, kv);
    // @ts-expect-error v has as many heads as k
    attention(h, kv, h);
    // @ts-expect-error the cache has another shape
    attention(h, kv, kv, { cache: keyValueCache(4, 64) });
    // @ts-expect-error heads are not split yet
    rope(x, { theta: 10_000 });
  });
});

describe("models", () => {
  it("know their inputs, layers and outputs", () => {
    const model = defineModel({
      name: "mlp",
      inputs: { x: f32("batch", 784), seen: i32("batch", "seq") },
      symbols: { batch: { max: 8 } },
      layers: {
        fc1: bitLinear(784, 256),
        hidden: repeat(2, () => ({ norm: rmsNorm(256) })),
        fc2: linear(256, 10),
      },
      forward: ({ x, seen }, { fc1, hidden, fc2 }) => {
        expectTypeOf(x).toEqualTypeOf<Tensor<"f32", ["batch", 784]>>();
        let h = relu2(fc1(x));
        for (const { norm } of hidden) h = norm(h);
        return { logits: fc2(h), seen };
      },
    });
    expectTypeOf(model.inputs.x.dims).toEqualTypeOf<["batch", 784]>();
    expectTypeOf<NonNullable<typeof model.outputs>>().toEqualTypeOf<{
      logits: Tensor<"f32", ["batch", 10]>;
      seen: Tensor<"i32", ["batch", "seq"]>;
    }>();
  });

  it("refuse unknown layers, inputs and symbols, and what is not a layer", () => {
    const inputs = { x: f32("batch", 784) };
    const layers = { fc: bitLinear(784, 10) };
    // @ts-expect-error there is no fc2
    defineModel({ name: "m", inputs, layers, forward: ({ x }, { fc2 }) => ({ y: fc2(x) }) });
    // @ts-expect-error there is no z
    defineModel({ name: "m", inputs, layers, forward: ({ z }, { fc }) => ({ y: fc(z) }) });
    defineModel({
      name: "m",
      inputs,
      // @ts-expect-error the dim is called batch
      symbols: { bach: { max: 4 } },
      layers,
      forward: ({ x }, { fc }) => ({ y: fc(x) }),
    });
    // @ts-expect-error a number is not a layer
    defineModel({ name: "m", inputs, layers: { fc: 3 }, forward: ({ x }) => ({ y: x }) });
    // @ts-expect-error outputs have names
    defineModel({ name: "m", inputs, layers, forward: ({ x }, { fc }) => fc(x) });
    // @ts-expect-error a trace does not wait
    defineModel({ name: "m", inputs, layers, forward: async ({ x }, { fc }) => ({ y: fc(x) }) });
    // @ts-expect-error nothing is returned
    defineModel({ name: "m", inputs, layers, forward: ({ x }, { fc }) => void fc(x) });
  });

  it("hold a language model to its vocabulary", () => {
    const base = { name: "m", contextLength: 16, layers: { embed: embedding(256, 8) } };
    const model = defineLanguageModel({
      ...base,
      vocabularySize: 256,
      forward: (tokens, { embed }, { positions }) => {
        expectTypeOf(tokens).toEqualTypeOf<Tensor<"i32", ["batch", "seq"]>>();
        expectTypeOf(positions).toEqualTypeOf<Tensor<"i32", ["batch"]>>();
        return embed.head(embed(tokens));
      },
    });
    expectTypeOf(model.vocabularySize).toEqualTypeOf<256>();
    // @ts-expect-error 256 logits, not 8
    defineLanguageModel({ ...base, vocabularySize: 256, forward: (tokens, { embed }) => embed(tokens) });
  });

  it("give blocks the types of their functions", () => {
    const feedForward = block(
      { up: bitLinear(784, 1024), down: bitLinear(1024, 784) },
      ({ up, down }) =>
        <Lead extends Dims>(x: Tensor<"f32", [...Lead, 784]>) =>
          down(relu2(up(x))),
    );
    expectTypeOf(feedForward(x)).toEqualTypeOf<typeof x>();
    // @ts-expect-error 64 channels
    feedForward(h);
  });
});
