import fc from "fast-check";
import { mathFunctions } from "../../codegen/schedule/lanes.ts";
import { GraphBuilder } from "../../ir/builder.ts";
import { type Graph, type Node, type Origin, producer, users, type Value } from "../../ir/graph.ts";
import { type Attributes, type OpName, ops } from "../../ir/ops/index.ts";
import {
  acc,
  apply,
  arg,
  type BinaryFunction,
  binaryFunctions,
  literal,
  type ScalarExpr,
  type UnaryFunction,
  unaryFunctions,
} from "../../ir/scalar.ts";
import { type ConcreteType, type Tensor, tensor, zeros } from "../../ir/tensor.ts";
import { printGraph } from "../../ir/text/print.ts";
import {
  type Dim,
  type DType,
  dense,
  type Encoding,
  elementCount,
  encoded,
  type ScaleGranularity,
  sameDims,
  sameType,
  substituteDims,
  type TensorType,
} from "../../ir/types.ts";
import { Random } from "./random.ts";

export interface RandomGraphOptions {
  /** The ops that may appear; all by default. */
  readonly ops?: readonly OpName[];
  /** How many ops to try to add, at most. */
  readonly size?: number;
  /** The dtypes that `cast` may produce. */
  readonly castTo?: readonly DType[];
  /** Only what has one right value: no function that targets approximate, no sum of floats in any order. */
  readonly exact?: boolean;
}

/** Ops whose results every target must give bit for bit, in a graph that is `exact`. */
export const exactOps: readonly OpName[] = [
  ...(["neg", "abs", "sign", "sqrt", "rsqrt", "reciprocal", "relu", "relu2", "to_f32"] as const),
  ...(["add", "sub", "mul", "div", "max", "min", "cast", "constant", "max_reduce", "min_reduce"] as const),
  ...(["reshape", "transpose", "slice", "concat", "embedding", "cache_write", "rope", "top_k"] as const),
  ...(["broadcast", "pad", "axis_length", "after"] as const),
  ...(["elementwise", "quantize", "ternary_matmul", "absmean_quantize", "weight_scale"] as const),
];

/**
 * Random graphs with symbols batch (at most 3) and seq (at most 5), odd sizes, shared values, states and several
 * outputs. Shrinking removes ops from the end.
 */
export function graphs(options: RandomGraphOptions = {}): fc.Arbitrary<Graph> {
  return fc
    .record({ seed: fc.integer(), size: fc.integer({ min: 1, max: options.size ?? 12 }) })
    .map(({ seed, size }) => {
      const graph = randomGraph(new Random(seed), { ...options, size });
      // What fast-check shows of a counterexample.
      return Object.assign(graph, { [fc.toStringMethod]: () => `seed ${seed}\n${printGraph(graph)}` });
    });
}

/** One random graph; every op in it is reachable from an output or a next state. */
export function randomGraph(random: Random, options: RandomGraphOptions = {}): Graph {
  const draft = new Draft(random, options);
  const names = options.ops ?? (Object.keys(ops) as OpName[]);
  for (let i = 0; i < (options.size ?? 12); i++) {
    const results = recipes[random.pick(names)](draft);
    if (results) draft.add(results);
  }
  return draft.finish();
}

/** Sizes that exercise tails of vectors, blocks and groups. */
const sizes = [1, 2, 3, 4, 7, 16, 63, 64, 65] as const;
const MAX_ELEMENTS = 20_000;
const MAX_RANK = 5;

/** A graph in the making: the values made so far, and ways to find or make operands. */
class Draft {
  readonly random: Random;
  readonly castTo: readonly DType[];
  readonly exact: boolean;
  readonly builder = new GraphBuilder("random");
  readonly batch: Dim;
  readonly seq: Dim;
  readonly #allowed: ReadonlySet<OpName> | undefined;
  readonly #pool: Value[] = [];
  readonly #read = new Set<Value>();
  #count = 0;

  constructor(random: Random, options: RandomGraphOptions) {
    this.random = random;
    this.castTo = options.castTo ?? ["f32", "f16", "bf16", "i8", "u8", "i32", "u32", "bool"];
    this.exact = options.exact ?? false;
    this.#allowed = options.ops && new Set(options.ops);
    this.batch = this.builder.symbol("batch", { max: 3 });
    this.seq = this.builder.symbol("seq", { max: 5 });
  }

  add(values: readonly Value[]): void {
    if (values.every(({ type }) => type.dims.length <= MAX_RANK && this.elements(type) <= MAX_ELEMENTS)) {
      this.#pool.push(...values);
    }
  }

  /** The elements of a type with every symbol at its largest. */
  elements(type: TensorType): number {
    const { literal: product, symbols } = elementCount(type.dims);
    return symbols.reduce(
      (total, symbol) => total * (symbol === "batch" ? 3 : symbol === "seq" ? 5 : 4),
      product,
    );
  }

  one<Name extends OpName>(op: Name, operands: readonly Value[], attributes: Attributes<Name>): Value {
    return this.apply(op, operands, attributes)[0]!;
  }

  apply<Name extends OpName>(op: Name, operands: readonly Value[], attributes: Attributes<Name>) {
    for (const operand of operands) this.#read.add(operand);
    const name = this.random.pick([undefined, op, `${op}.${this.#count++}`, "a name"]);
    return this.builder.apply(op, operands, attributes, { name });
  }

  /** A value made before, usually a recent one. */
  find(fits: (value: Value) => boolean): Value | undefined {
    const found = this.#pool.filter(fits);
    return found.length === 0 ? undefined : this.random.pick(found.slice(-4));
  }

  /** A value made before, or now and then a new input instead. */
  findOr(type: () => TensorType, fits: (value: Value) => boolean): Value {
    return (this.random.chance(0.85) ? this.find(fits) : undefined) ?? this.input(type());
  }

  input(type: TensorType, name = "input"): Value {
    return this.builder.input(`${name} ${this.#count++}`, type);
  }

  parameter(type: TensorType): Value {
    return this.builder.parameter(`layers.${this.#count++}.weight`, type);
  }

  size(): number {
    return this.random.pick(sizes);
  }

  /** Leading axes and a literal last one. */
  dims(k = this.size()): readonly Dim[] {
    const { batch, seq } = this;
    return [...this.random.pick<readonly Dim[]>([[], [batch], [batch, seq], [3], [seq, 2]]), k];
  }

  /** A dense f32 with at least one axis, the last one literal. */
  activation(k?: number): Value {
    return this.findOr(
      () => dense("f32", this.dims(k)),
      ({ type }) =>
        isFloat(type) &&
        type.dims.length > 0 &&
        (k === undefined ? typeof type.dims.at(-1) === "number" : type.dims.at(-1) === k),
    );
  }

  /** Any dense f32. */
  float(): Value {
    return this.findOr(
      () => dense("f32", this.dims()),
      ({ type }) => isFloat(type),
    );
  }

  /** Any dense value. */
  any(): Value {
    return this.findOr(
      () => dense("f32", this.dims()),
      ({ type }) => !type.encoding,
    );
  }

  /** An f32 (or i32) that broadcasts with the given shape without making it grow. */
  broadcastable(dims: readonly Dim[], dtype: DType = "f32"): Value {
    const existing = this.find(
      ({ type }) => type.dtype === dtype && !type.encoding && sameDims(type.dims, dims),
    );
    if (existing && this.random.chance(0.5)) return existing;
    const kept = dims
      .slice(this.random.int(0, dims.length))
      .map((dim) => (this.random.chance(0.2) ? 1 : dim));
    const type = dense(dtype, kept);
    return kept.every((dim) => typeof dim === "number") && this.random.chance(0.5)
      ? this.parameter(type)
      : this.input(type);
  }

  scale(k: number): ScaleGranularity {
    return this.random.pick<ScaleGranularity>(["tensor", "row", { group: this.random.int(1, k) }]);
  }

  ternary(n: number, k: number): Value {
    return (
      (this.random.chance(0.5)
        ? this.find(({ type }) => type.encoding?.kind === "ternary" && type.dims[1] === k)
        : undefined) ?? this.parameter(encoded([n, k], { kind: "ternary", scale: this.scale(k) }))
    );
  }

  /** Any matrix of weights [N, k]. */
  weight(k: number): Value {
    const made = this.find(({ type }) => type.encoding !== undefined && type.dims[1] === k);
    if (made && this.random.chance(0.5)) return made;
    const n = this.size();
    const encoding = this.random.pick<Encoding | undefined>([undefined, { kind: "int8", scale: "row" }]);
    if (encoding) return this.parameter(encoded([n, k], encoding));
    if (this.random.chance(0.5)) return this.ternary(n, k);
    return this.parameter(dense(this.random.pick(["f32", "f16", "bf16"] as const), [n, k]));
  }

  /** A scalar expression over arguments of these dtypes, and `acc` where there is one. */
  expression(args: readonly DType[], accumulator?: DType, depth = 3): ScalarExpr {
    const leaf = this.random.int(accumulator ? -1 : 0, args.length);
    if (depth === 0 || this.random.chance(0.2)) {
      if (leaf === args.length) return literal(this.random.pick([0.5, -2, 3, 1e-3]));
      const dtype = leaf === -1 ? accumulator : args[leaf];
      const value = leaf === -1 ? acc : arg(leaf);
      return dtype === "i32" ? apply("to_f32", value) : value;
    }
    if (this.random.chance(0.4)) {
      return apply(
        this.random.pick(this.exact ? exactUnaryNames : unaryNames),
        this.expression(args, accumulator, depth - 1),
      );
    }
    const a = this.expression(args, accumulator, depth - 1);
    return apply(this.random.pick(binaryNames), a, this.expression(args, accumulator, depth - 1));
  }

  /** An epilogue and its extra operands, or none. */
  epilogue(dims: readonly Dim[], accumulator: DType): { extras: Value[]; epilogue?: ScalarExpr } {
    if (this.random.chance(0.4)) return { extras: [] };
    const extras = Array.from({ length: this.random.int(0, 3) }, () =>
      this.broadcastable(dims, this.random.chance(0.15) ? "i32" : "f32"),
    );
    const dtypes = extras.map((extra) => extra.type.dtype);
    // The accumulator is always read: an epilogue that ignores it would test nothing.
    const start = accumulator === "i32" ? apply("to_f32", acc) : acc;
    return { extras, epilogue: apply("add", start, this.expression(dtypes, accumulator)) };
  }

  positions(): Value {
    return this.input(dense("i32", [this.batch]), "positions");
  }

  /** i32 targets for rows of logits. */
  targets(logits: Value): Value {
    return this.input(dense("i32", logits.type.dims.slice(0, -1)), "targets");
  }

  slots(): Value {
    return this.input(dense("i32", [this.batch]), "slots");
  }

  /** A cache f32 [slots, T, KV, D]. */
  cache(heads: number, width: number): Value {
    const slots = this.builder.symbol("slots", { max: 4 });
    return this.builder.state(`cache ${this.#count++}`, dense("f32", [slots, 8, heads, width]));
  }

  /** f32 [batch, seq, heads, width]. */
  heads(heads: number, width: number): Value {
    const dims = [this.batch, this.seq, heads, width];
    const flat = this.find(
      ({ type }) => isFloat(type) && sameDims(type.dims, [this.batch, this.seq, heads * width]),
    );
    if (flat && this.allows("reshape")) return this.one("reshape", [flat], { dims });
    return this.findOr(
      () => dense("f32", dims),
      ({ type }) => isFloat(type) && sameDims(type.dims, dims),
    );
  }

  allows(op: OpName): boolean {
    return this.#allowed?.has(op) ?? true;
  }

  setNext(state: Value, next: Value): void {
    this.#read.add(next);
    this.builder.setNext(state, next);
  }

  /** The graph whose outputs are all values nobody reads, so that nothing is dead. */
  finish(): Graph {
    for (const value of this.#pool.filter(({ type }) => type.encoding)) {
      // An encoded weight is no output: something must read it.
      if (this.#read.has(value) || !this.allows("linear")) continue;
      const x = this.input(dense("f32", [this.batch, lastDim(value)]));
      this.#pool.push(this.one("linear", [x, value], {}));
    }
    const loose = this.#pool.filter((value) => !this.#read.has(value) && !value.type.encoding);
    if (loose.length === 0) loose.push(this.input(dense("f32", [1])));
    for (const [index, value] of loose.entries()) this.builder.output(`out ${index}`, value);
    return this.builder.build();
  }
}

const unaryNames = Object.keys(unaryFunctions) as UnaryFunction[];
const exactUnaryNames = unaryNames.filter((name) => !(mathFunctions as readonly string[]).includes(name));
const binaryNames = Object.keys(binaryFunctions) as BinaryFunction[];

function isFloat(type: TensorType): boolean {
  return type.dtype === "f32" && !type.encoding;
}

function lastDim(value: Value): number {
  return value.type.dims.at(-1) as number;
}

type Recipe = (draft: Draft) => readonly Value[] | undefined;

const unary =
  (op: UnaryFunction): Recipe =>
  (draft) => {
    const integer = op === "to_f32" ? draft.find(({ type }) => type.dtype === "i32") : undefined;
    return [draft.one(op, [integer ?? draft.float()], {})];
  };

const binary =
  (op: BinaryFunction): Recipe =>
  (draft) => {
    const integer =
      binaryFunctions[op].integer && draft.random.chance(0.2)
        ? draft.find(({ type }) => type.dtype === "i32")
        : undefined;
    const a = integer ?? draft.float();
    const operands = [a, draft.broadcastable(a.type.dims, a.type.dtype)];
    return [draft.one(op, draft.random.shuffle(operands), {})];
  };

const reduce =
  (op: "sum" | "mean" | "max_reduce" | "min_reduce"): Recipe =>
  (draft) => {
    const x = draft.activation();
    const rank = x.type.dims.length;
    return [
      draft.one(op, [x], { axis: draft.random.int(-rank, rank - 1), keep_dims: draft.random.chance(0.5) }),
    ];
  };

const { bits, granularity } = {
  bits: (draft: Draft) => (draft.random.chance(0.6) ? 8 : draft.random.int(2, 8)),
  granularity: (draft: Draft) => draft.random.pick(["row", "row", "tensor"] as const),
};

/** How to add one op of each kind; undefined when the draft has nothing for it. */
const recipes: { readonly [Name in OpName]: Recipe } = {
  bit_linear(draft) {
    const x = draft.activation();
    const k = lastDim(x);
    const n = draft.size();
    const weight_scale = draft.scale(k);
    const w = draft.random.chance(0.6)
      ? draft.parameter(dense("f32", [n, k]))
      : draft.parameter(encoded([n, k], { kind: "ternary", scale: weight_scale }));
    const bias = draft.random.chance(0.3) ? [draft.parameter(dense("f32", [n]))] : [];
    const activation =
      draft.exact || draft.random.chance(0.85)
        ? { bits: bits(draft), granularity: granularity(draft) }
        : null;
    return [draft.one("bit_linear", [x, w, ...bias], { weight_scale, activation })];
  },
  linear(draft) {
    const x = draft.activation();
    const w = draft.weight(lastDim(x));
    const { extras, ...attributes } = draft.epilogue([...x.type.dims.slice(0, -1), w.type.dims[0]!], "f32");
    return [draft.one("linear", [x, w, ...extras], attributes)];
  },
  batch_matmul(draft) {
    const { batch, seq } = draft;
    const outer = draft.random.pick<readonly Dim[]>([[], [batch], [batch, 3], [2]]);
    const rows = () => draft.random.pick<Dim>([seq, 1, 4, 7]);
    const matrices = (k: Dim) => {
      const dims = [...outer, rows(), k];
      // Columns far from each other, as gradients and heads have them.
      if (draft.random.chance(0.5) || !draft.allows("transpose")) return draft.input(dense("f32", dims));
      const axes = dims.map((_, axis) => axis);
      const permutation = [...axes.slice(0, -2), axes.at(-1)!, axes.at(-2)!];
      const swapped = draft.input(dense("f32", [...outer, k, dims.at(-2)!]));
      return draft.one("transpose", [swapped], { permutation });
    };
    const k = draft.random.pick<Dim>([seq, draft.size()]);
    const a = matrices(k);
    return [draft.one("batch_matmul", draft.random.chance(0.3) ? [a, a] : [a, matrices(k)], {})];
  },
  embedding(draft) {
    const ids = draft.input(dense("i32", draft.dims(3)), "ids");
    return [draft.one("embedding", [draft.weight(draft.size()), ids], {})];
  },
  rms_norm(draft) {
    const x = draft.activation();
    return [draft.one("rms_norm", [x, draft.parameter(dense("f32", [lastDim(x)]))], { eps: 1e-5 })];
  },
  rope_table(draft) {
    const attributes = {
      theta: 10_000,
      dim: draft.random.pick([2, 6, 8]),
      length: draft.random.pick([1, 9]),
    };
    return [draft.one("rope_table", [], { ...attributes, fn: draft.random.pick(["cos", "sin"] as const) })];
  },
  rope(draft) {
    const width = draft.random.pick([2, 6, 8, 16]);
    const x = draft.heads(draft.random.int(1, 3), width);
    const table = (fn: "cos" | "sin") =>
      draft.allows("rope_table")
        ? draft.one("rope_table", [], { theta: 10_000, dim: width, length: 9, fn })
        : draft.parameter(dense("f32", [9, width / 2]));
    return [draft.one("rope", [x, table("cos"), table("sin"), draft.positions()], {})];
  },
  cache_write(draft) {
    const [heads, width] = [draft.random.int(1, 2), draft.random.pick([1, 3, 8])];
    const cache = draft.cache(heads, width);
    const next = draft.one(
      "cache_write",
      [cache, draft.heads(heads, width), draft.slots(), draft.positions()],
      {},
    );
    draft.setNext(cache, next);
    return undefined;
  },
  attention(draft) {
    const [group, heads, width] = [
      draft.random.int(1, 3),
      draft.random.int(1, 2),
      draft.random.pick([1, 3, 8, 16]),
    ];
    const q = draft.heads(group * heads, width);
    const [k, v] = [draft.heads(heads, width), draft.heads(heads, width)];
    const scale = 1 / Math.sqrt(width);
    if (!draft.allows("cache_write") || draft.random.chance(0.4))
      return [draft.one("attention", [q, k, v], { scale })];
    const [slots, positions] = [draft.slots(), draft.positions()];
    const caches = [k, v].map((value) => {
      const cache = draft.cache(heads, width);
      const next = draft.one("cache_write", [cache, value, slots, positions], {});
      draft.setNext(cache, next);
      return next;
    });
    return [draft.one("attention", [q, ...caches, slots, positions], { scale })];
  },
  softmax: (draft) => [draft.one("softmax", [draft.activation()], {})],
  top_k(draft) {
    const x = draft.activation();
    return draft.apply("top_k", [x], { k: draft.random.int(1, lastDim(x)) });
  },
  neg: unary("neg"),
  abs: unary("abs"),
  sign: unary("sign"),
  exp: unary("exp"),
  log: unary("log"),
  sqrt: unary("sqrt"),
  rsqrt: unary("rsqrt"),
  reciprocal: unary("reciprocal"),
  tanh: unary("tanh"),
  sigmoid: unary("sigmoid"),
  erf: unary("erf"),
  relu: unary("relu"),
  relu2: unary("relu2"),
  silu: unary("silu"),
  gelu: unary("gelu"),
  gelu_tanh: unary("gelu_tanh"),
  to_f32: unary("to_f32"),
  add: binary("add"),
  sub: binary("sub"),
  mul: binary("mul"),
  div: binary("div"),
  max: binary("max"),
  min: binary("min"),
  cast: (draft) => [draft.one("cast", [draft.any()], { dtype: draft.random.pick(draft.castTo) })],
  constant(draft) {
    const dtype = draft.random.pick(["f32", "i32"] as const);
    const value =
      dtype === "i32"
        ? draft.random.int(-9, 9)
        : draft.random.pick([0.1, -0, 1e30, Number.NaN, Infinity, -3]);
    return [draft.one("constant", [], { value, dtype })];
  },
  sum: reduce("sum"),
  mean: reduce("mean"),
  max_reduce: reduce("max_reduce"),
  min_reduce: reduce("min_reduce"),
  reshape(draft) {
    const x = draft.any();
    const { dims } = x.type;
    const axis = draft.random.int(0, dims.length);
    const [first, second] = [dims[axis], dims[axis + 1]];
    const options: (readonly Dim[])[] = [dims.toSpliced(axis, 0, 1)];
    if (typeof first === "number" && typeof second === "number")
      options.push(dims.toSpliced(axis, 2, first * second));
    if (typeof first === "number" && first % 3 === 0) options.push(dims.toSpliced(axis, 1, 3, first / 3));
    if (first === 1) options.push(dims.toSpliced(axis, 1));
    return [draft.one("reshape", [x], { dims: draft.random.pick(options) })];
  },
  transpose(draft) {
    const x = draft.any();
    return [draft.one("transpose", [x], { permutation: draft.random.shuffle([...x.type.dims.keys()]) })];
  },
  slice(draft) {
    const x = draft.any();
    const rank = x.type.dims.length;
    if (rank === 0) return undefined;
    const axis = draft.random.int(-rank, rank - 1);
    const length = x.type.dims.at(axis)!;
    if (typeof length === "string")
      return [draft.one("slice", [x], { axis, start: draft.random.pick([0, -1]), size: 1 })];
    const size = draft.random.int(1, length);
    const start = draft.random.int(0, length - size) - (draft.random.chance(0.3) ? length : 0);
    return [draft.one("slice", [x], { axis, start, size })];
  },
  broadcast(draft) {
    const x = draft.any();
    const repeated = x.type.dims.map((dim) => (dim === 1 ? draft.random.pick([1, 2, draft.batch]) : dim));
    const dims = draft.random.chance(0.5) ? [draft.random.pick([3, draft.seq]), ...repeated] : repeated;
    return [draft.one("broadcast", [x], { dims })];
  },
  pad(draft) {
    const x = draft.activation();
    const size = lastDim(x);
    const length = size + draft.random.int(0, 3);
    const start = draft.random.int(0, length - size) - (draft.random.chance(0.3) ? length : 0);
    const axis = draft.random.pick([-1, x.type.dims.length - 1]);
    return [draft.one("pad", [x], { axis, start, length })];
  },
  axis_length(draft) {
    const x = draft.activation();
    return [
      draft.one("axis_length", [x], { axis: draft.random.int(-x.type.dims.length, x.type.dims.length - 1) }),
    ];
  },
  after(draft) {
    const x = draft.any();
    return [draft.one("after", [x, draft.any()], {})];
  },
  cross_entropy(draft) {
    const logits = draft.activation();
    return draft.apply("cross_entropy", [logits, draft.targets(logits)], { ignore_index: -1 });
  },
  cross_entropy_gradient(draft) {
    const logits = draft.activation();
    const rows = logits.type.dims.slice(0, -1);
    const [logSum, g] = [[...rows, 1], rows].map((dims) => draft.input(dense("f32", dims)));
    const operands = [logits, draft.targets(logits), logSum!, g!];
    return [draft.one("cross_entropy_gradient", operands, { ignore_index: -1 })];
  },
  linear_input_gradient(draft) {
    const w = draft.weight(draft.size());
    return [draft.one("linear_input_gradient", [draft.activation(w.type.dims[0] as number), w], {})];
  },
  linear_weight_gradient(draft) {
    const x = draft.activation();
    const g = draft.input(dense("f32", [...x.type.dims.slice(0, -1), draft.size()]));
    if (draft.random.chance(0.5)) return [draft.one("linear_weight_gradient", [g, x], {})];
    const [codes, d] = draft.allows("quantize")
      ? quantized(draft, x)
      : [draft.input(dense("i8", x.type.dims)), draft.input(dense("f32", [...x.type.dims.slice(0, -1), 1]))];
    return [draft.one("linear_weight_gradient", [g, codes!, d!], {})];
  },
  embedding_gradient(draft) {
    const g = draft.activation();
    const ids = draft.input(dense("i32", g.type.dims.slice(0, -1)), "ids");
    return [draft.one("embedding_gradient", [g, ids], { vocabulary: draft.random.int(1, 20) })];
  },
  rms_norm_gradient(draft) {
    const x = draft.activation();
    const operands = [x, draft.parameter(dense("f32", [lastDim(x)])), draft.broadcastable(x.type.dims)];
    if (!sameDims(operands[2]!.type.dims, x.type.dims)) operands[2] = draft.input(x.type);
    return draft.apply("rms_norm_gradient", operands, { eps: 1e-5 });
  },
  attention_gradient(draft) {
    const [group, heads, width] = [
      draft.random.int(1, 3),
      draft.random.int(1, 2),
      draft.random.pick([1, 3, 8, 16]),
    ];
    const [q, g] = [draft.heads(group * heads, width), draft.heads(group * heads, width)];
    const [k, v] = [draft.heads(heads, width), draft.heads(heads, width)];
    return draft.apply("attention_gradient", [q, k, v, g], { scale: 1 / Math.sqrt(width) });
  },
  concat(draft) {
    const encodedFirst = draft.find(({ type }) => type.encoding !== undefined);
    if (encodedFirst && draft.random.chance(0.5)) {
      const { encoding, dims } = encodedFirst.type;
      const other = draft.parameter(encoded([draft.size(), dims[1]!], encoding!));
      return [draft.one("concat", [encodedFirst, other], { axis: 0 })];
    }
    const x = draft.any();
    const axes = [...x.type.dims.keys()].filter((axis) => typeof x.type.dims[axis] === "number");
    if (axes.length === 0) return undefined;
    const axis = draft.random.pick(axes);
    const { dtype, dims } = x.type;
    const other = draft.findOr(
      () => dense(dtype, dims.with(axis, draft.random.int(1, 4))),
      ({ type }) =>
        type.dtype === dtype &&
        !type.encoding &&
        typeof type.dims[axis] === "number" &&
        sameDims(type.dims.toSpliced(axis, 1), dims.toSpliced(axis, 1)),
    );
    const operands = draft.random.pick([[x], [x, other], [other, x, x]]);
    return [draft.one("concat", operands, { axis: draft.random.chance(0.5) ? axis : axis - dims.length })];
  },
  absmean_quantize(draft) {
    const [n, k] = [draft.size(), draft.size()];
    return [
      draft.one("absmean_quantize", [draft.parameter(dense("f32", [n, k]))], { scale: draft.scale(k) }),
    ];
  },
  quantize_int8(draft) {
    const dtype = draft.random.pick(["f32", "f16", "bf16"] as const);
    return [draft.one("quantize_int8", [draft.parameter(dense(dtype, [draft.size(), draft.size()]))], {})];
  },
  straight_through(draft) {
    const value = draft.find(({ type }) => type.encoding !== undefined) ?? draft.float();
    const { dims } = value.type;
    const surrogate = draft.findOr(
      () => dense("f32", dims),
      ({ type }) => sameType(type, dense("f32", dims)),
    );
    return [draft.one("straight_through", [value, surrogate], {})];
  },
  weight_scale(draft) {
    const scale = draft.random.pick(["tensor", "row"] as const);
    const w =
      draft.find(
        ({ type }) => type.encoding?.kind === "ternary" && typeof type.encoding.scale === "string",
      ) ?? draft.parameter(encoded([draft.size(), draft.size()], { kind: "ternary", scale }));
    return [draft.one("weight_scale", [w], {})];
  },
  quantize: (draft) => quantized(draft, draft.activation()),
  ternary_matmul(draft) {
    const known = draft.find((value) => producer(value)?.op === "quantize" && value.type.dtype === "i8");
    const [codes, , sum] = known
      ? (producer(known) as Node<"quantize">).results
      : draft.allows("quantize")
        ? quantized(draft, draft.activation())
        : [];
    if (!codes || !sum) return undefined;
    const w = draft.ternary(draft.size(), lastDim(codes));
    const accumulator = typeof w.type.encoding!.scale === "object" ? "f32" : "i32";
    const dims = [...codes.type.dims.slice(0, -1), w.type.dims[0]!];
    const { extras, ...attributes } = draft.epilogue(dims, accumulator);
    return [draft.one("ternary_matmul", [codes, sum, w, ...extras], attributes)];
  },
  elementwise(draft) {
    const first = draft.float();
    const operands = [first];
    while (draft.random.chance(0.6)) {
      operands.push(draft.broadcastable(first.type.dims, draft.random.chance(0.15) ? "i32" : "f32"));
    }
    const expr = draft.expression(operands.map((operand) => operand.type.dtype));
    return [draft.one("elementwise", operands, { expr })];
  },
};

function quantized(draft: Draft, x: Value): readonly Value[] {
  const k = lastDim(x);
  const args = [x];
  const common = { bits: bits(draft), granularity: granularity(draft) };
  const prologue = draft.random.chance(0.5);
  if (prologue) while (draft.random.chance(0.4)) args.push(draft.broadcastable(x.type.dims));
  const attributes = {
    ...common,
    ...(prologue && {
      prologue: apply("add", arg(0), draft.expression(args.map((value) => value.type.dtype))),
    }),
  };
  if (draft.exact || draft.random.chance(0.6)) return draft.apply("quantize", args, attributes);
  return draft.apply("quantize", [...args, draft.parameter(dense("f32", [k]))], { ...attributes, eps: 1e-6 });
}

/** Tensors for every leaf of a graph. */
export interface RandomTensors {
  readonly symbols: ReadonlyMap<string, number>;
  readonly inputs: Record<string, Tensor>;
  readonly parameters: Record<string, Tensor>;
  readonly states: Record<string, Tensor>;
}

/**
 * Random symbols and tensors that a graph accepts. Integer inputs that index (token ids, slots, positions) stay in
 * range, and slots are distinct. f32 activations are normal with now and then a large, tiny or zero value.
 */
export function randomTensors(
  graph: Graph,
  random: Random,
  given: Readonly<Record<string, number>> = {},
): RandomTensors {
  const stateSymbols = new Set(graph.states.flatMap(({ value }) => value.type.dims));
  const symbols = new Map<string, number>();
  for (const [name, { max }] of graph.symbols) {
    // As many slots as there can be, so that sequences find distinct ones.
    const free = stateSymbols.has(name) ? max : random.pick([1, max, random.int(1, max)]);
    symbols.set(name, given[name] ?? free);
  }
  const readers = users(graph);
  const make = (value: Value): Tensor => {
    const type = { ...value.type, dims: substituteDims(value.type.dims, symbols) } as ConcreteType;
    return indexTensor(value, readers.get(value) ?? [], type, symbols, random) ?? randomTensor(type, random);
  };
  const named = (values: readonly Value[]) =>
    Object.fromEntries(values.map((value) => [leafName(value.origin), make(value)]));
  return {
    symbols,
    inputs: named(graph.inputs),
    parameters: named(graph.parameters),
    states: named(graph.states.map((state) => state.value)),
  };
}

/** A tensor of random values of any type. */
export function randomTensor(type: ConcreteType, random: Random): Tensor {
  const result = zeros(type);
  if (type.encoding) {
    const ternary = type.encoding.kind === "ternary";
    for (let i = 0; i < result.data.length; i++)
      result.data[i] = ternary ? random.int(-1, 1) : random.int(-127, 127);
    for (let i = 0; i < result.scales!.length; i++) result.scales![i] = 0.01 + random.next();
    return result;
  }
  const values = Array.from({ length: result.data.length }, () => randomElement(type.dtype, random));
  return tensor(type.dtype, type.dims, values);
}

function randomElement(dtype: DType, random: Random): number {
  if (dtype === "bool") return random.int(0, 1);
  if (dtype === "u8" || dtype === "u32") return random.int(0, 255);
  if (dtype === "i8" || dtype === "i32") return random.int(-128, 127);
  if (random.chance(0.03)) return random.pick([0, -0, 1e-6, 60, -60, 0.5]);
  return random.normal();
}

/** Indices in range, if a value is read as indices. */
function indexTensor(
  value: Value,
  readers: readonly Node[],
  type: ConcreteType,
  symbols: ReadonlyMap<string, number>,
  random: Random,
): Tensor | undefined {
  if (value.type.dtype !== "i32") return undefined;
  let bound: number | undefined;
  let distinct = false;
  const size = (dim: Dim) => (typeof dim === "number" ? dim : symbols.get(dim)!);
  for (const node of readers) {
    const role = ops[node.op].operands[node.operands.indexOf(value)]?.replace("?", "");
    const [first, second] = node.operands.map((operand) => operand.type.dims.map(size));
    let limit: number | undefined;
    if (node.op === "embedding") limit = first![0]!;
    if (node.op === "embedding_gradient") limit = node.attributes.vocabulary;
    if (role === "targets") limit = first!.at(-1)!;
    if (role === "slots") limit = node.op === "cache_write" ? first![0]! : second![0]!;
    if (role === "positions") {
      const [length, seq] =
        node.op === "cache_write"
          ? [first![1]!, second![1]!]
          : [node.op === "rope" ? second![0]! : second![1]!, first![1]!];
      limit = length - seq + 1;
    }
    if (role === "slots") distinct = true;
    if (limit !== undefined) bound = Math.min(bound ?? limit, limit);
  }
  if (bound === undefined) return undefined;
  const count = zeros(type).data.length;
  const all = Array.from({ length: bound }, (_, i) => i);
  const values =
    distinct && count <= bound
      ? random.shuffle(all).slice(0, count)
      : Array.from({ length: count }, () => random.int(0, bound - 1));
  return tensor("i32", type.dims, values);
}

function leafName(origin: Origin): string {
  if (origin.kind === "node") throw new Error("a node's result is no leaf");
  return origin.kind === "parameter" ? origin.path : origin.name;
}
