/**
 * Every op's gradient rule against finite differences of its reference evaluation, and the straight-through rules
 * against the numerics contract. Evaluations round to f32, so differences are taken over steps of about 1e-2 and
 * extrapolated: f'(0) = (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h + O(h^4).
 */
import { test } from "@fast-check/vitest";
import fc from "fast-check";
import { describe, expect } from "vitest";
import { Random } from "../test/support/random.ts";
import { relativeL2 } from "../test/support/tolerance.ts";
import { GraphBuilder } from "./builder.ts";
import type { Graph, Value } from "./graph.ts";
import { interpret } from "./interpret.ts";
import { absmean, quantizeRows } from "./numerics.ts";
import { type Attributes, type OpName, ops } from "./ops/index.ts";
import { gradient, gradientName } from "./passes/gradient.ts";
import { acc, apply, arg, literal } from "./scalar.ts";
import { f32ToBf16, f32ToF16, sizeOf, type Tensor, tensor, toFloat32 } from "./tensor.ts";
import { type Dim, dense, substituteDims, type TensorType } from "./types.ts";
import { verifyGraph } from "./verify.ts";

const bound = new Map([
  ["batch", 2],
  ["seq", 3],
]);

interface Operand {
  readonly type: TensorType;
  readonly tensor: Tensor;
  /** Not differentiated, though f32. */
  readonly isConstant?: boolean;
}

/** An op applied to operands; those of f32 are differentiated. */
interface Subject<Op extends OpName = OpName> {
  readonly op: Op;
  readonly operands: readonly Operand[];
  readonly attributes: Attributes<Op>;
}

type Case = (random: Random) => Subject;

function operand(type: TensorType, values: (index: number) => number): Operand {
  const dims = substituteDims(type.dims, bound) as readonly number[];
  return {
    type,
    tensor: tensor(
      type.dtype,
      dims,
      Array.from({ length: sizeOf(dims) }, (_, i) => values(i)),
    ),
  };
}

const normal = (random: Random, ...dims: Dim[]) => operand(dense("f32", dims), () => random.normal());
const positive = (random: Random, ...dims: Dim[]) =>
  operand(dense("f32", dims), () => 0.6 + 1.5 * random.next());
/** Away from 0 and from each other, where max, min and abs have kinks. */
function separated(random: Random, ...dims: Dim[]): Operand {
  const all = random.shuffle(Array.from({ length: 64 }, (_, i) => (i - 31.5) / 10));
  return operand(dense("f32", dims), (i) => all[i % 64]!);
}
const integers = (random: Random, most: number, ...dims: Dim[]) =>
  operand(dense("i32", dims), () => random.int(0, most));

function subject<Op extends OpName>(
  op: Op,
  operands: readonly Operand[],
  attributes: Attributes<Op>,
): Subject {
  return { op, operands, attributes } as unknown as Subject;
}

type Make = (random: Random, ...dims: Dim[]) => Operand;
const unary =
  (op: OpName, make: Make): Case =>
  (random) =>
    subject(op, [make(random, "batch", 5)], {});
const binary = (op: OpName, make: Make): Case[] => [
  (random) => subject(op, [make(random, "batch", 4), make(random, 4)], {}),
  (random) => subject(op, [make(random, 1, 3), make(random, "batch", 2, 3)], {}),
];

function attend(random: Random): readonly Operand[] {
  const [q, k, v] = [4, 2, 2].map((heads) => normal(random, "batch", "seq", heads, 6));
  return [q!, k!, v!];
}

function turned(random: Random): Subject {
  const angles = Array.from({ length: 24 }, () => 3 * random.next());
  const [cos, sin] = [Math.cos, Math.sin].map((fn) => ({
    ...operand(dense("f32", [8, 3]), (i) => fn(angles[i]!)),
    isConstant: true,
  }));
  const x = normal(random, "batch", "seq", 2, 6);
  return subject("rope", [x, cos!, sin!, integers(random, 5, "batch")], {});
}

function isDifferentiated({ type, isConstant }: Operand): boolean {
  return type.dtype === "f32" && !isConstant;
}

/** How each op is checked, or why it is not: the type refuses an op that is missing here. */
const cases: { readonly [Op in OpName]: readonly Case[] | string } = {
  bit_linear: "straight through, checked below",
  absmean_quantize: "straight through, checked below",
  quantize_int8: "straight through, checked below",
  straight_through: "the surrogate's, checked below",
  quantize: "no gradient",
  ternary_matmul: "no gradient",
  cache_write: "no gradient",
  top_k: "no gradient",
  rms_norm_gradient: "no gradient",
  attention_gradient: "no gradient",
  cross_entropy_gradient: "no gradient",
  weight_scale: "zero",
  constant: "zero",
  rope_table: "zero",
  axis_length: "zero",
  after: [(random) => subject("after", [normal(random, "batch", 3), integers(random, 5, "batch")], {})],
  linear: [
    (random) => subject("linear", [normal(random, "batch", "seq", 5), normal(random, 4, 5)], {}),
    (random) => {
      const epilogue = apply("tanh", apply("add", apply("mul", acc, arg(0)), arg(1)));
      const extras = [normal(random, 4), normal(random, "batch", 1)];
      return subject("linear", [normal(random, "batch", 5), normal(random, 4, 5), ...extras], { epilogue });
    },
  ],
  embedding: [
    (random) => subject("embedding", [normal(random, 6, 3), integers(random, 5, "batch", "seq")], {}),
  ],
  rms_norm: [
    (random) => subject("rms_norm", [normal(random, "batch", "seq", 7), normal(random, 7)], { eps: 1e-5 }),
    (random) => subject("rms_norm", [normal(random, "batch", 7), normal(random, 7)], { eps: 0.5 }),
  ],
  rope: [turned],
  attention: [(random) => subject("attention", attend(random), { scale: 0.4 })],
  batch_matmul: [
    (random) => subject("batch_matmul", [normal(random, 2, "seq", 5), normal(random, 2, 4, 5)], {}),
  ],
  softmax: [unary("softmax", normal)],
  neg: [unary("neg", normal)],
  abs: [unary("abs", separated)],
  sign: [unary("sign", separated)],
  exp: [unary("exp", normal)],
  log: [unary("log", positive)],
  sqrt: [unary("sqrt", positive)],
  rsqrt: [unary("rsqrt", positive)],
  reciprocal: [unary("reciprocal", positive)],
  tanh: [unary("tanh", normal)],
  sigmoid: [unary("sigmoid", normal)],
  erf: [unary("erf", normal)],
  relu: [unary("relu", separated)],
  relu2: [unary("relu2", separated)],
  silu: [unary("silu", normal)],
  gelu: [unary("gelu", normal)],
  gelu_tanh: [unary("gelu_tanh", normal)],
  to_f32: [unary("to_f32", normal)],
  add: binary("add", normal),
  sub: binary("sub", normal),
  mul: binary("mul", normal),
  div: binary("div", positive),
  max: binary("max", separated),
  min: binary("min", separated),
  elementwise: [
    (random) => {
      const inner = apply("mul", apply("sigmoid", arg(0)), apply("add", arg(1), apply("to_f32", arg(2))));
      const expr = apply(
        "div",
        apply("max", inner, literal(-9)),
        apply("add", literal(2), apply("tanh", arg(0))),
      );
      const operands = [normal(random, "batch", 4), normal(random, 1, 1), integers(random, 3, 4)];
      return subject("elementwise", operands, { expr });
    },
  ],
  cast: "the identity, checked below",
  sum: [
    (random) => subject("sum", [normal(random, "batch", "seq", 3)], { axis: 1, keep_dims: false }),
    (random) => subject("sum", [normal(random, "batch", 3)], { axis: -1, keep_dims: true }),
  ],
  mean: [
    (random) => subject("mean", [normal(random, "batch", "seq", 3)], { axis: 1, keep_dims: false }),
    (random) => subject("mean", [normal(random, "batch", 5)], { axis: -1, keep_dims: true }),
  ],
  max_reduce: [
    (random) => subject("max_reduce", [separated(random, "batch", 5)], { axis: 0, keep_dims: false }),
    (random) => subject("max_reduce", [separated(random, "batch", 5)], { axis: -1, keep_dims: true }),
  ],
  min_reduce: [
    (random) => subject("min_reduce", [separated(random, "batch", 5)], { axis: -1, keep_dims: false }),
  ],
  reshape: [(random) => subject("reshape", [normal(random, "batch", 6)], { dims: [3, "batch", 2] })],
  transpose: [
    (random) => subject("transpose", [normal(random, "batch", "seq", 4)], { permutation: [2, 0, 1] }),
  ],
  slice: [
    (random) => subject("slice", [normal(random, "batch", "seq", 4)], { axis: 1, start: -1, size: 1 }),
    (random) => subject("slice", [normal(random, "batch", 6)], { axis: -1, start: 1, size: 3 }),
  ],
  concat: [
    (random) => subject("concat", [normal(random, "batch", 2), normal(random, "batch", 3)], { axis: -1 }),
  ],
  broadcast: [
    (random) => subject("broadcast", [normal(random, 1, 3)], { dims: ["seq", "batch", 3] }),
    (random) => subject("broadcast", [normal(random)], { dims: [2, 2] }),
  ],
  pad: [
    (random) => subject("pad", [normal(random, "batch", 2)], { axis: 1, start: 1, length: 5 }),
    (random) => subject("pad", [normal(random, "batch", 1)], { axis: -1, start: -1, length: "seq" }),
  ],
  cross_entropy: [
    (random) => {
      const targets = operand(dense("i32", ["batch", "seq"]), (i) => (i === 1 ? -7 : random.int(0, 4)));
      return subject("cross_entropy", [normal(random, "batch", "seq", 5), targets], { ignore_index: -7 });
    },
  ],
  linear_input_gradient: [
    (random) => subject("linear_input_gradient", [normal(random, "batch", 4), normal(random, 4, 5)], {}),
  ],
  linear_weight_gradient: [
    (random) =>
      subject("linear_weight_gradient", [normal(random, "batch", 4), normal(random, "batch", 5)], {}),
  ],
  embedding_gradient: [
    (random) =>
      subject("embedding_gradient", [normal(random, "batch", 3), integers(random, 5, "batch")], {
        vocabulary: 6,
      }),
  ],
};

/** sum over results of weights * result, with f32 operands as parameters; also gives the results themselves. */
function lossGraph({ op, operands, attributes }: Subject): Graph {
  const builder = new GraphBuilder("check");
  for (const [symbol, max] of bound) builder.symbol(symbol, { max });
  const leaves = operands.map((each, i) =>
    isDifferentiated(each) ? builder.parameter(`p${i}`, each.type) : builder.input(`x${i}`, each.type),
  );
  const results = builder.apply(op, leaves, attributes as never);
  const parts = results.map((result, i) => {
    builder.output(`y${i}`, result);
    const weights = builder.input(`r${i}`, result.type);
    let sum: Value = builder.one("mul", [result, weights], {});
    while (sum.type.dims.length > 0) sum = builder.one("sum", [sum], { axis: 0, keep_dims: false });
    return sum;
  });
  builder.output(
    "loss",
    parts.reduce((a, b) => builder.one("add", [a, b], {})),
  );
  return builder.build();
}

/** Fails unless the rule's gradient by each f32 operand agrees with finite differences along random directions. */
function expectDerivative(checked: Subject, random: Random): void {
  const graph = lossGraph(checked);
  const after = gradient(graph, { loss: "loss" });
  verifyGraph(after);
  const inputs: Record<string, Tensor> = {};
  const parameters: Record<string, Tensor> = {};
  for (const [i, each] of checked.operands.entries()) {
    if (isDifferentiated(each)) parameters[`p${i}`] = each.tensor;
    else inputs[`x${i}`] = each.tensor;
  }
  const weights = graph.inputs.flatMap(({ type, name }) =>
    name!.startsWith("r") ? [[name!, normal(random, ...type.dims).tensor] as const] : [],
  );
  Object.assign(inputs, Object.fromEntries(weights));
  const symbols = Object.fromEntries(bound);
  /** The loss summed in f64: only the op itself rounds. */
  const evaluate = (given: Record<string, Tensor>): number => {
    const { outputs } = interpret(graph, { inputs, parameters: given, symbols });
    let loss = 0;
    for (const [name, weight] of weights) {
      outputs[name.replace("r", "y")]!.data.forEach((y, i) => {
        loss += y * (weight.data[i] as number);
      });
    }
    return loss;
  };
  const { outputs } = interpret(after, { inputs, parameters, symbols });
  for (const [path, at] of Object.entries(parameters)) {
    const rule = outputs[gradientName(path)]!;
    for (let direction = 0; direction < 2; direction++) {
      const along = Array.from(at.data, () => random.normal());
      const length = Math.hypot(...along);
      const h = 8e-3 * Math.sqrt(along.length);
      const moved = (steps: number): number => {
        const data = Float32Array.from(at.data, (x, i) => x + (steps * h * along[i]!) / length);
        return evaluate({ ...parameters, [path]: { ...at, data } });
      };
      const difference = (8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * h);
      const expected = along.reduce((sum, u, i) => sum + (u / length) * rule.data[i]!, 0);
      const size = Math.hypot(...toFloat32(rule)) / Math.sqrt(along.length);
      expect(Math.abs(difference - expected), `${checked.op} by ${path}`).toBeLessThan(3e-3 * size + 2e-4);
    }
  }
}

const checked = Object.entries(cases).flatMap(([op, list]) =>
  typeof list === "string" ? [] : list.map((make, i) => ({ title: `${op} ${i}`, make })),
);

describe("gradient rules agree with finite differences", () => {
  test.each(checked)("$title", ({ make }) => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const random = new Random(seed);
        expectDerivative(make(random), random);
      }),
      { numRuns: 6 },
    );
  });
});

test("every op without a case has no gradient", () => {
  for (const [op, reason] of Object.entries(cases)) {
    const rule = ops[op as OpName].gradient;
    if (reason === "zero") expect(rule, op).toBe("zero");
    else if (reason === "no gradient") expect(rule, op).toHaveProperty("hint");
    else expect(rule, op).toBeTypeOf("function");
  }
});

/** The gradients of sum(weights * op(parameters)) by every parameter, in order. */
function gradients(
  op: OpName,
  attributes: Attributes<OpName>,
  parameters: readonly Tensor[],
  weights: Tensor,
): readonly Tensor[] {
  const builder = new GraphBuilder("straight");
  const leaves = parameters.map(({ type }, i) => builder.parameter(`p${i}`, type));
  const y = builder.one(op, leaves, attributes as never);
  const dot =
    y.type.encoding || y.type.dtype !== "f32"
      ? builder.one("linear", [builder.input("weights", weights.type), y], {})
      : builder.one("mul", [builder.input("weights", weights.type), y], {});
  let loss = dot;
  while (loss.type.dims.length > 0) loss = builder.one("sum", [loss], { axis: 0, keep_dims: false });
  builder.output("loss", loss);
  const given = Object.fromEntries(parameters.map((parameter, i) => [`p${i}`, parameter]));
  const graph = gradient(builder.build(), { loss: "loss" });
  const { outputs } = interpret(graph, { inputs: { weights }, parameters: given });
  return parameters.map((_, i) => outputs[gradientName(`p${i}`)]!);
}

function floats(random: Random, ...dims: number[]): Tensor {
  return normal(random, ...dims).tensor;
}

/** [rows, n] times [n, k], in f64. */
function product(a: ArrayLike<number>, b: ArrayLike<number>, rows: number, n: number, k: number): number[] {
  return Array.from({ length: rows * k }, (_, at) => {
    const [row, column] = [Math.floor(at / k), at % k];
    let sum = 0;
    for (let i = 0; i < n; i++) sum += a[row * n + i]! * b[i * k + column]!;
    return sum;
  });
}

/** a [columns, rows] -> [rows, columns]. */
function transposed(a: ArrayLike<number>, rows: number, columns: number): number[] {
  return Array.from(
    { length: rows * columns },
    (_, at) => a[(at % columns) * rows + Math.floor(at / columns)]!,
  );
}

describe("straight-through gradients are the contract's", () => {
  const [rows, n, k] = [5, 7, 12];

  test.prop([
    fc.integer(),
    fc.constantFrom("tensor" as const, "row" as const, { group: 5 }),
    fc.constantFrom(
      { bits: 8, granularity: "row" as const },
      { bits: 4, granularity: "tensor" as const },
      null,
    ),
  ])("bit_linear: dx = (g @ Wq) * alpha, dw = g^T @ Xq, db = sum g", (seed, weight_scale, activation) => {
    const random = new Random(seed);
    const [x, w, bias, g] = [
      floats(random, rows, k),
      floats(random, n, k),
      floats(random, n),
      floats(random, rows, n),
    ];
    const [dx, dw, db] = gradients("bit_linear", { weight_scale, activation }, [x, w, bias], g);
    const weights = toFloat32(absmean(toFloat32(w), n, k, weight_scale));
    const quantized = activation && quantizeRows(toFloat32(x), k, activation.bits, activation.granularity);
    const inputs = quantized
      ? Float64Array.from(quantized.codes, (code, i) => code * quantized.scales[Math.floor(i / k)]!)
      : toFloat32(x);
    const columns = transposed(g.data, n, rows);
    expect(relativeL2(dx!, tensor("f32", [rows, k], product(g.data, weights, rows, n, k)))).toBeLessThan(
      1e-6,
    );
    expect(relativeL2(dw!, tensor("f32", [n, k], product(columns, inputs, n, rows, k)))).toBeLessThan(1e-6);
    expect(
      relativeL2(db!, tensor("f32", [n], product(columns, new Float32Array(rows).fill(1), n, rows, 1))),
    ).toBeLessThan(1e-6);
  });

  test.each([
    ["absmean_quantize", { scale: "tensor" }],
    ["quantize_int8", {}],
  ] as const)("%s: the identity", (op, attributes) => {
    const random = new Random(1);
    const x = floats(random, rows, k);
    const [dw] = gradients(op, attributes, [floats(random, n, k)], x);
    // The loss is the sum of x @ w^T, so that each row of its gradient by what is quantized is the sum of x's rows.
    const sums = product(new Float32Array(rows).fill(1), x.data, 1, rows, k);
    expect(relativeL2(dw!, tensor("f32", [n, k], Array.from({ length: n }, () => sums).flat()))).toBeLessThan(
      1e-6,
    );
  });

  test("straight_through: the surrogate's, and none to the value, through which there is none", () => {
    const builder = new GraphBuilder("estimated");
    const p = builder.parameter("p", dense("f32", [n, k]));
    const [codes, d] = builder.apply("quantize", [p], { bits: 4, granularity: "row" });
    const value = builder.one("mul", [builder.one("cast", [codes!], { dtype: "f32" }), d!], {});
    const surrogate = builder.one("tanh", [p], {});
    const y = builder.one("straight_through", [value, surrogate], {});
    const weights = builder.input("weights", dense("f32", [n, k]));
    const rowSums = builder.one("sum", [builder.one("mul", [y, weights], {})], { axis: 0, keep_dims: false });
    builder.output("value", y);
    builder.output("loss", builder.one("sum", [rowSums], { axis: 0, keep_dims: false }));
    const random = new Random(2);
    const [at, g] = [floats(random, n, k), floats(random, n, k)];
    const given = { inputs: { weights: g }, parameters: { p: at } };
    const graph = builder.build();
    const { codes: want, scales } = quantizeRows(toFloat32(at), k, 4, "row");
    expect([...interpret(graph, given).outputs.value!.data]).toEqual(
      Array.from(want, (code, i) => Math.fround(code * scales[Math.floor(i / k)]!)),
    );
    const own = interpret(gradient(graph, { loss: "loss" }), given).outputs[gradientName("p")]!;
    const slopes = Array.from(at.data, (x, i) => (1 - Math.tanh(x as number) ** 2) * (g.data[i] as number));
    expect(relativeL2(own, tensor("f32", [n, k], slopes))).toBeLessThan(1e-6);
  });

  test.each([
    ["f16", f32ToF16],
    ["bf16", f32ToBf16],
  ] as const)("a cast to %s and back: the identity", (dtype, round) => {
    const builder = new GraphBuilder("cast");
    const p = builder.parameter("p", dense("f32", [4]));
    const there = builder.one("cast", [p], { dtype });
    const back = builder.one("cast", [there], { dtype: "f32" });
    const square = builder.one("mul", [back, back], {});
    builder.output("loss", builder.one("sum", [square], { axis: 0, keep_dims: false }));
    const value = tensor("f32", [4], [0.1, -2, 3.3, 0]);
    const { outputs } = interpret(gradient(builder.build(), { loss: "loss" }), {
      inputs: {},
      parameters: { p: value },
    });
    const rounded = toFloat32({
      type: { dtype, dims: [4] },
      data: Uint16Array.from(toFloat32(value), round),
    });
    expect([...outputs[gradientName("p")]!.data]).toEqual(Array.from(rounded, (x) => 2 * x));
  });
});
