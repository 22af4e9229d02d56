import { describe, expect, test } from "vitest";
import { BitloomError } from "../../errors/index.ts";
import { inferTypes } from "../builder.ts";
import { interpret } from "../interpret.ts";
import { encodedTensor, f32ToBf16, f32ToF16, type Tensor, tensor } from "../tensor.ts";
import { parseGraph, parseScalar } from "../text/parse.ts";
import { type Dim, dense, type Encoding, encoded, formatType, type TensorType } from "../types.ts";
import { type Attributes, type OpName, ops } from "./index.ts";

const f = Math.fround;
const f32 = (dims: number[], values: number[]) => tensor("f32", dims, values);
const i32 = (dims: number[], values: number[]) => tensor("i32", dims, values);

/** Evaluates one op on tensors, through its type rule. */
function evaluate<Name extends OpName>(
  op: Name,
  operands: Tensor[],
  attributes: Attributes<Name>,
): readonly Tensor[] {
  const results = inferTypes(
    op,
    operands.map((operand) => operand.type),
    attributes,
  );
  const definition = ops[op] as unknown as { evaluate: (...all: unknown[]) => readonly Tensor[] };
  return definition.evaluate(operands, attributes, results);
}

function values<Name extends OpName>(op: Name, operands: Tensor[], attributes: Attributes<Name>): number[] {
  return [...evaluate(op, operands, attributes)[0]!.data];
}

/** The type an op infers, printed. */
function inferred<Name extends OpName>(
  op: Name,
  operands: TensorType[],
  attributes: Attributes<Name>,
): string {
  return inferTypes(op, operands, attributes).map(formatType).join(", ");
}

function ternary(
  dims: [number, number],
  codes: number[],
  scales: number[],
  scale: Encoding["scale"],
): Tensor {
  const encoding = { kind: "ternary", scale } as Encoding;
  return encodedTensor({ dtype: "f32", dims, encoding }, Int8Array.from(codes), Float32Array.from(scales));
}

const t = (dims: Dim[], dtype: TensorType["dtype"] = "f32") => dense(dtype, dims);
const ternaryType = (dims: Dim[], scale: Encoding["scale"] = "row") =>
  encoded(dims, { kind: "ternary", scale } as Encoding);
const int8Type = (dims: Dim[]) => encoded(dims, { kind: "int8", scale: "row" });

describe("every op", () => {
  test.each(Object.entries(ops))("%s says what it does", (_name, { summary, operands, gradient }) => {
    expect(summary).toMatch(/^[A-Z].*\.$/s);
    expect(new Set(operands).size).toBe(operands.length);
    if (typeof gradient === "object") expect(gradient.hint).toMatch(/^[A-Z].*\.$/s);
  });
});

describe("type rules accept", () => {
  const bits8 = { bits: 8, granularity: "row" } as const;
  test.each<[OpName, TensorType[], unknown, string]>([
    [
      "bit_linear",
      [t(["batch", "seq", 8]), t([3, 8]), t([3])],
      { weight_scale: "row", activation: bits8 },
      "f32[batch, seq, 3]",
    ],
    [
      "bit_linear",
      [t([8]), ternaryType([3, 8], "tensor")],
      { weight_scale: "tensor", activation: null },
      "f32[3]",
    ],
    ["linear", [t(["n", 8]), t([3, 8], "bf16")], {}, "f32[n, 3]"],
    [
      "linear",
      [t(["n", 8]), int8Type([3, 8]), t([3]), t(["n", 1])],
      { epilogue: parseScalar("add(mul(acc, x1), x0)") },
      "f32[n, 3]",
    ],
    ["batch_matmul", [t(["n", 4, "m", 8]), t(["n", 4, 3, 8])], {}, "f32[n, 4, m, 3]"],
    ["embedding", [int8Type([50, 8]), t(["batch", "seq"], "i32")], {}, "f32[batch, seq, 8]"],
    ["cast", [t(["n"], "bool")], { dtype: "bf16" }, "bf16[n]"],
    ["add", [t(["n", 1]), t([3])], {}, "f32[n, 3]"],
    ["mul", [t([], "i32"), t(["n"], "i32")], {}, "i32[n]"],
    ["to_f32", [t(["n"], "i32")], {}, "f32[n]"],
    ["sum", [t(["n", 3, 4])], { axis: -2, keep_dims: true }, "f32[n, 1, 4]"],
    ["mean", [t(["n", 3])], { axis: 0, keep_dims: false }, "f32[3]"],
    ["reshape", [t(["n", 6, "m"])], { dims: ["m", 2, "n", 3] }, "f32[m, 2, n, 3]"],
    ["transpose", [t(["n", 6], "u8")], { permutation: [1, 0] }, "u8[6, n]"],
    ["slice", [t(["n", 6])], { axis: 0, start: -1, size: 1 }, "f32[1, 6]"],
    ["slice", [t(["n", 6])], { axis: -1, start: 2, size: 4 }, "f32[n, 4]"],
    ["concat", [t(["n", 6]), t(["n", 1])], { axis: 1 }, "f32[n, 7]"],
    ["after", [t(["n", 6]), ternaryType([2, 4])], {}, "f32[n, 6]"],
    [
      "concat",
      [ternaryType([2, 8], "tensor"), ternaryType([3, 8], "row")],
      { axis: 0 },
      "f32[5, 8] ternary(row)",
    ],
    [
      "concat",
      [ternaryType([2, 8], { group: 4 }), ternaryType([3, 8], { group: 4 })],
      { axis: 0 },
      "f32[5, 8] ternary(group 4)",
    ],
    ["concat", [int8Type([2, 8]), int8Type([3, 8])], { axis: -2 }, "f32[5, 8] int8(row)"],
    ["absmean_quantize", [t([2, 8])], { scale: { group: 3 } }, "f32[2, 8] ternary(group 3)"],
    ["quantize_int8", [t([2, 8], "f16")], {}, "f32[2, 8] int8(row)"],
    ["weight_scale", [ternaryType([2, 8], "tensor")], {}, "f32[2]"],
    ["straight_through", [ternaryType([2, 8], "row"), t([2, 8])], {}, "f32[2, 8] ternary(row)"],
    ["quantize", [t(["n", 8])], { bits: 4, granularity: "tensor" }, "i8[n, 8], f32[n, 1], i32[n, 1]"],
    [
      "quantize",
      [t(["n", 8]), t(["n", 1]), t([8])],
      { ...bits8, eps: 1e-5, prologue: parseScalar("mul(x0, x1)") },
      "i8[n, 8], f32[n, 1], i32[n, 1]",
    ],
    ["ternary_matmul", [t(["n", 8], "i8"), t(["n", 1], "i32"), ternaryType([3, 8])], {}, "i32[n, 3]"],
    [
      "ternary_matmul",
      [t(["n", 8], "i8"), t(["n", 1], "i32"), ternaryType([3, 8], { group: 2 })],
      {},
      "f32[n, 3]",
    ],
    [
      "ternary_matmul",
      [t(["n", 8], "i8"), t(["n", 1], "i32"), ternaryType([3, 8])],
      { epilogue: parseScalar("to_f32(acc)") },
      "f32[n, 3]",
    ],
    [
      "elementwise",
      [t(["n", 1]), t([3]), t([3], "i32")],
      { expr: parseScalar("add(add(x0, x1), to_f32(x2))") },
      "f32[n, 3]",
    ],
    [
      "attention",
      [t(["b", "s", 6, 8]), t(["b", "s", 2, 8]), t(["b", "s", 2, 8])],
      { scale: 1 },
      "f32[b, s, 6, 8]",
    ],
    ["rope", [t(["b", "s", 2, 8]), t([99, 4]), t([99, 4]), t(["b"], "i32")], {}, "f32[b, s, 2, 8]"],
    ["rope_table", [], { theta: 1e4, dim: 8, length: 99, fn: "sin" }, "f32[99, 4]"],
    ["top_k", [t(["n", 8])], { k: 3 }, "f32[n, 3], i32[n, 3]"],
    ["constant", [], { value: Number.NaN, dtype: "f32" }, "f32[]"],
  ])("%s of %j with %j", (op, operands, attributes, result) => {
    expect(inferred(op, operands, attributes as never)).toBe(result);
  });
});

describe("type rules refuse", () => {
  const bits8 = { bits: 8, granularity: "row" } as const;
  const activation = bits8;
  test.each<[OpName, TensorType[], unknown, string, string]>([
    [
      "bit_linear",
      [t([2, 7]), t([3, 8])],
      { weight_scale: "row", activation },
      "SHAPE_MISMATCH",
      "x f32[2, 7], w f32[3, 8]",
    ],
    [
      "bit_linear",
      [t([2, 8]), t([3, 8]), t([4])],
      { weight_scale: "row", activation },
      "SHAPE_MISMATCH",
      "bias [N]",
    ],
    [
      "bit_linear",
      [t([2, 8]), t([3, "n"])],
      { weight_scale: "row", activation },
      "SHAPE_MISMATCH",
      "literal dims",
    ],
    [
      "bit_linear",
      [t([2, 8], "f16"), t([3, 8])],
      { weight_scale: "row", activation },
      "DTYPE_MISMATCH",
      "x of dense f32",
    ],
    [
      "bit_linear",
      [t([2, 8]), int8Type([3, 8])],
      { weight_scale: "row", activation },
      "DTYPE_MISMATCH",
      "int8(row)",
    ],
    [
      "bit_linear",
      [t([2, 8]), ternaryType([3, 8], "row")],
      { weight_scale: "tensor", activation },
      "INVALID_ATTRIBUTE",
      "ternary(row)",
    ],
    [
      "bit_linear",
      [t([2, 8]), t([3, 8])],
      { weight_scale: "row", activation: { bits: 9, granularity: "row" } },
      "INVALID_ATTRIBUTE",
      "activation.bits",
    ],
    ["bit_linear", [t([2, 8]), t([3, 8])], { weight_scale: "row" }, "INVALID_ATTRIBUTE", "activation"],
    ["bit_linear", [t([2, 8])], { weight_scale: "row", activation }, "INVALID_GRAPH", "1 operands"],
    ["linear", [t([2, 8]), t([3, 8], "i8")], {}, "DTYPE_MISMATCH", "w i8[3, 8]"],
    ["linear", [t([2, 8]), t([3, 8]), t([3])], {}, "SHAPE_MISMATCH", "without an epilogue"],
    [
      "linear",
      [t([2, 8]), t([3, 8]), t([4])],
      { epilogue: parseScalar("add(acc, x0)") },
      "SHAPE_MISMATCH",
      "[2, 3]",
    ],
    [
      "linear",
      [t([2, 8]), t([3, 8])],
      { epilogue: parseScalar("add(acc, x0)") },
      "INVALID_ATTRIBUTE",
      "x0, but there are 0",
    ],
    [
      "linear",
      [t([2, 8]), t([3, 8])],
      { epilogue: { kind: "apply", fn: "add", args: [] } },
      "INVALID_ATTRIBUTE",
      "scalar expression",
    ],
    ["linear", [t([2, 8]), t([3, 8])], { epilog: 1 }, "INVALID_ATTRIBUTE", "epilog"],
    ["embedding", [t([3, 8]), t([2], "f32")], {}, "DTYPE_MISMATCH", "ids of dense i32"],
    ["rms_norm", [t([2, 8]), t([7])], { eps: 1e-5 }, "SHAPE_MISMATCH", "w f32[7]"],
    ["rope", [t([1, 2, 3, 7]), t([9, 3]), t([9, 3]), t([1], "i32")], {}, "SHAPE_MISMATCH", "even"],
    ["rope", [t([1, 2, 3, 8]), t([9, 4]), t([8, 4]), t([1], "i32")], {}, "SHAPE_MISMATCH", "cos and sin"],
    ["rope", [t(["b", 2, 3, 8]), t([9, 4]), t([9, 4]), t([1], "i32")], {}, "SHAPE_MISMATCH", "positions"],
    [
      "cache_write",
      [t([4, 9, 2, 8]), t(["b", "s", 2, 7]), t(["b"], "i32"), t(["b"], "i32")],
      {},
      "SHAPE_MISMATCH",
      "KV and D",
    ],
    [
      "attention",
      [t(["b", "s", 5, 8]), t(["b", "s", 2, 8]), t(["b", "s", 2, 8])],
      { scale: 1 },
      "SHAPE_MISMATCH",
      "multiple",
    ],
    [
      "attention",
      [t(["b", "s", 2, 8]), t(["b", 3, 2, 8]), t(["b", 3, 2, 8])],
      { scale: 1 },
      "SHAPE_MISMATCH",
      "batch and seq",
    ],
    [
      "attention",
      [t(["b", "s", 2, 8]), t([4, 3, 2, 8]), t([4, 3, 2, 8]), t(["b"], "i32")],
      { scale: 1 },
      "SHAPE_MISMATCH",
      "together",
    ],
    ["add", [t(["n"]), t(["m"])], {}, "SHAPE_MISMATCH", "a f32[n], b f32[m]"],
    ["add", [t(["n"]), t(["n"], "i32")], {}, "DTYPE_MISMATCH", "a and b of one dtype"],
    ["div", [t([2], "i32"), t([2], "i32")], {}, "DTYPE_MISMATCH", "a of dense f32"],
    ["neg", [ternaryType([2, 8])], {}, "DTYPE_MISMATCH", "ternary(row)"],
    ["cast", [ternaryType([2, 8])], { dtype: "f32" }, "DTYPE_MISMATCH", "dense"],
    ["cast", [t([2])], { dtype: "f64" }, "INVALID_ATTRIBUTE", "dtype"],
    ["constant", [], { value: 1.5, dtype: "i32" }, "INVALID_ATTRIBUTE", "32-bit integer"],
    ["constant", [], { value: 2 ** 31, dtype: "i32" }, "INVALID_ATTRIBUTE", "2147483648"],
    ["sum", [t([2])], { axis: 1, keep_dims: true }, "INVALID_ATTRIBUTE", "axis 1"],
    ["batch_matmul", [t([2, 8]), t([3, 7])], {}, "SHAPE_MISMATCH", "same leading axes and K"],
    ["batch_matmul", [t(["n", 2, 8]), t([2, 8])], {}, "SHAPE_MISMATCH", "same leading axes and K"],
    ["batch_matmul", [t([8]), t([8])], {}, "SHAPE_MISMATCH", "a [..., M, K]"],
    ["softmax", [t([])], {}, "SHAPE_MISMATCH", "x f32[]"],
    ["top_k", [t(["n"])], { k: 1 }, "SHAPE_MISMATCH", "literal last axis"],
    ["top_k", [t(["n", 4])], { k: 5 }, "INVALID_ATTRIBUTE", "k = 5"],
    ["top_k", [t(["n", 4], "i32")], { k: 1 }, "DTYPE_MISMATCH", "x of dense f32"],
    ["reshape", [t(["n", 6])], { dims: ["n", 5] }, "SHAPE_MISMATCH", "[n, 5]"],
    ["reshape", [t(["n", 6])], { dims: ["n", "n", 6] }, "SHAPE_MISMATCH", "[n, n, 6]"],
    ["transpose", [t([2, 3])], { permutation: [0, 0] }, "INVALID_ATTRIBUTE", "[0, 0]"],
    ["slice", [t([2, 3])], { axis: 1, start: 2, size: 2 }, "INVALID_ATTRIBUTE", "start 2, size 2"],
    ["slice", [t([2, 3])], { axis: 1, start: -4, size: 1 }, "INVALID_ATTRIBUTE", "start -4"],
    ["slice", [t(["n", 3])], { axis: 0, start: -1, size: 2 }, "INVALID_ATTRIBUTE", "n elements"],
    ["after", [ternaryType([2, 4]), t([4])], {}, "DTYPE_MISMATCH", "x of dense"],
    ["concat", [t(["n", 3]), t(["n", 3])], { axis: 0 }, "SHAPE_MISMATCH", "literal axis 0"],
    ["concat", [t([2, 3]), t([2, 4])], { axis: 0 }, "SHAPE_MISMATCH", "axis 0 only"],
    ["concat", [ternaryType([2, 8]), t([2, 8])], { axis: 0 }, "DTYPE_MISMATCH", "one encoding"],
    [
      "concat",
      [ternaryType([2, 8]), ternaryType([2, 8], { group: 2 })],
      { axis: 0 },
      "DTYPE_MISMATCH",
      "one group size",
    ],
    [
      "concat",
      [ternaryType([2, 8]), ternaryType([2, 8])],
      { axis: 1 },
      "INVALID_ATTRIBUTE",
      "axis 0 for encoded",
    ],
    ["weight_scale", [ternaryType([2, 8], { group: 2 })], {}, "DTYPE_MISMATCH", "per tensor or row"],
    ["weight_scale", [t([2, 8])], {}, "DTYPE_MISMATCH", "ternary encoding"],
    ["straight_through", [t([2, 8]), t([8])], {}, "SHAPE_MISMATCH", "surrogate f32[8]"],
    ["quantize", [t([2, 8]), t([2, 8])], bits8, "SHAPE_MISMATCH", "without a prologue"],
    ["quantize", [t([8])], { ...bits8, eps: 1 }, "SHAPE_MISMATCH", "besides the norm weight"],
    ["quantize", [t([2, 8]), t([7])], { ...bits8, eps: 1 }, "SHAPE_MISMATCH", "norm weight [K]"],
    ["quantize", [t([2, "n"])], bits8, "SHAPE_MISMATCH", "literal last axis"],
    [
      "quantize",
      [t([2, 8])],
      { ...bits8, prologue: parseScalar("acc") },
      "INVALID_ATTRIBUTE",
      "no accumulator",
    ],
    [
      "ternary_matmul",
      [t([2, 8], "i8"), t([2], "i32"), ternaryType([3, 8])],
      {},
      "SHAPE_MISMATCH",
      "sum [..., 1]",
    ],
    [
      "ternary_matmul",
      [t([2, 8], "i8"), t([2, 1], "i32"), t([3, 8])],
      {},
      "DTYPE_MISMATCH",
      "w with ternary encoding",
    ],
    [
      "ternary_matmul",
      [t([2, 8], "i8"), t([2, 1], "i32"), ternaryType([3, 8])],
      { epilogue: parseScalar("neg(acc)") },
      "INVALID_ATTRIBUTE",
      "without to_f32",
    ],
    [
      "ternary_matmul",
      [t([2, 8], "i8"), t([2, 1], "i32"), ternaryType([3, 8])],
      { epilogue: parseScalar("acc") },
      "INVALID_ATTRIBUTE",
      "use to_f32",
    ],
    [
      "elementwise",
      [t([2]), t([2], "f16")],
      { expr: parseScalar("add(x0, x1)") },
      "DTYPE_MISMATCH",
      "f32 or i32",
    ],
    ["elementwise", [], { expr: parseScalar("1") }, "INVALID_GRAPH", "0 operands"],
  ])("%s of %j with %j: %s", (op, operands, attributes, code, message) => {
    const location = { file: "model.ts", line: 12, column: 5 };
    let error: unknown;
    try {
      inferTypes(op, operands, attributes as never, location);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(BitloomError);
    expect((error as BitloomError).code).toBe(code);
    expect((error as BitloomError).message).toContain(message);
    expect((error as BitloomError).message).toContain(op);
    expect((error as BitloomError).location).toBe("model.ts:12:5");
  });
});

describe("evaluation", () => {
  test("linear sums every weight dtype, and the epilogue sees its row and column", () => {
    const x = f32([2, 2], [1, 2, 3, 4]);
    expect(values("linear", [x, f32([1, 2], [10, 0.5])], {})).toEqual([11, 32]);
    const half = { ...tensor("f16", [1, 2], [10, 0.5]) };
    expect([...half.data]).toEqual([f32ToF16(10), f32ToF16(0.5)]);
    expect(values("linear", [x, half], {})).toEqual([11, 32]);
    expect(values("linear", [x, tensor("bf16", [1, 2], [10, 0.5])], {})).toEqual([11, 32]);
    const w = ternary([2, 2], [1, 0, -1, 1], [2, 4], "row");
    expect(values("linear", [x, w], {})).toEqual([2, 4, 6, 4]);
    const extras = [f32([2], [100, 200]), f32([2, 1], [1, -1])];
    const epilogue = parseScalar("mul(add(acc, x0), x1)");
    expect(values("linear", [x, w, ...extras], { epilogue })).toEqual([102, 204, -106, -204]);
  });

  test("bit_linear without activation quantization is a product with the scaled codes", () => {
    const x = f32([1, 2], [0.3, 0.7]);
    const w = f32([1, 2], [0.5, -1.5]);
    const y = values("bit_linear", [x, w, f32([1], [10])], { weight_scale: "tensor", activation: null });
    expect(y).toEqual([f(10 + f(0 * f(0.3) - 1 * f(0.7)))]);
  });

  test("a lowered bit_linear has the same bits for every scale granularity and bits", () => {
    const w = f32(
      [3, 5],
      Array.from({ length: 15 }, (_, i) => Math.sin(i * 7)),
    );
    const x = f32(
      [2, 5],
      Array.from({ length: 10 }, (_, i) => Math.cos(i * 3)),
    );
    const bias = f32([3], [0.1, -0.2, 0.3]);
    for (const scale of ["tensor", "row", { group: 2 }] as const) {
      for (const [bits, granularity] of [
        [8, "row"],
        [4, "tensor"],
      ] as const) {
        const whole = values("bit_linear", [x, w, bias], {
          weight_scale: scale,
          activation: { bits, granularity },
        });
        const [packed] = evaluate("absmean_quantize", [w], { scale });
        const [codes, d, sum] = evaluate("quantize", [x], { bits, granularity });
        const grouped = typeof scale === "object";
        const epilogue = parseScalar(
          grouped ? "add(mul(acc, x0), x1)" : "add(mul(mul(to_f32(acc), x0), x2), x1)",
        );
        const extras = grouped ? [] : evaluate("weight_scale", [packed!], {});
        const fused = values("ternary_matmul", [codes!, sum!, packed!, d!, bias, ...extras], { epilogue });
        expect(fused).toEqual(whole);
      }
    }
  });

  test("ternary_matmul without an epilogue is the exact accumulator", () => {
    const codes = tensor("i8", [1, 3], [-128, 127, 5]);
    const sum = i32([1, 1], [4]);
    const w = ternary([2, 3], [1, -1, 0, -1, 1, 1], [7], "tensor");
    const [acc] = evaluate("ternary_matmul", [codes, sum, w], {});
    expect(acc!.data).toEqual(Int32Array.of(-255, 260));
  });

  test("embedding widens the row it reads", () => {
    const ids = i32([2, 1], [1, 0]);
    expect(values("embedding", [tensor("bf16", [2, 2], [1, 2, 3, 4]), ids], {})).toEqual([3, 4, 1, 2]);
    expect(values("embedding", [tensor("f16", [2, 2], [1, 2, 3, 4]), ids], {})).toEqual([3, 4, 1, 2]);
    const int8 = encodedTensor(int8Type([2, 2]) as never, Int8Array.of(1, 2, 3, 4), Float32Array.of(0.5, 2));
    expect(values("embedding", [int8, ids], {})).toEqual([6, 8, 0.5, 1]);
    expect(() => evaluate("embedding", [int8, i32([1], [2])], {})).toThrow("TOKEN_OUT_OF_RANGE");
    expect(() => evaluate("embedding", [int8, i32([1], [-1])], {})).toThrow("-1 at position 0");
  });

  test("rms_norm", () => {
    // mean(x^2) = 12.5 and eps 3.5 make the root exactly 4.
    expect(values("rms_norm", [f32([2, 2], [3, 4, -3, -4]), f32([2], [2, 10])], { eps: 3.5 })).toEqual([
      1.5, 10, -1.5, -10,
    ]);
  });

  test("rope rotates halves by the angle of its position", () => {
    const table = (fn: "cos" | "sin") =>
      evaluate("rope_table", [], { theta: 100, dim: 4, length: 8, fn })[0]!;
    const [cos, sin] = [table("cos"), table("sin")];
    expect(cos.data[3 * 2 + 1]).toBe(f(Math.cos(f(3 * f(0.1)))));
    expect(sin.data[7 * 2]).toBe(f(Math.sin(7)));
    const x = f32([1, 2, 1, 4], [1, 2, 3, 4, 5, 6, 7, 8]);
    const y = values("rope", [x, cos, sin, i32([1], [3])], {});
    const [c, s] = [f(Math.cos(4)), f(Math.sin(4))];
    // Row 1 at position 4: lanes 0 and 2 rotate together.
    expect(y[4]).toBe(f(f(5 * c) - f(7 * s)));
    expect(y[6]).toBe(f(f(7 * c) + f(5 * s)));
    expect(() => evaluate("rope", [x, cos, sin, i32([1], [7])], {})).toThrow("CONTEXT_OVERFLOW");
    expect(() => evaluate("rope", [x, cos, sin, i32([1], [-1])], {})).toThrow("rows -1..0");
  });

  test("cache_write puts rows in their slot and leaves the old cache alone", () => {
    const cache = f32([2, 3, 1, 1], [1, 2, 3, 4, 5, 6]);
    const x = f32([1, 2, 1, 1], [10, 20]);
    expect(values("cache_write", [cache, x, i32([1], [1]), i32([1], [1])], {})).toEqual([1, 2, 3, 4, 10, 20]);
    expect([...cache.data]).toEqual([1, 2, 3, 4, 5, 6]);
    expect(() => evaluate("cache_write", [cache, x, i32([1], [2]), i32([1], [0])], {})).toThrow("slot 2");
    expect(() => evaluate("cache_write", [cache, x, i32([1], [0]), i32([1], [2])], {})).toThrow(
      "CONTEXT_OVERFLOW",
    );
  });

  test("attention is causal and maps query heads to their key head", () => {
    // Scores are 0, so weights are uniform over what a query sees.
    const q = f32([1, 2, 4, 1], new Array(8).fill(0));
    const k = f32([1, 2, 2, 1], new Array(4).fill(1));
    const v = f32([1, 2, 2, 1], [1, 10, 3, 30]);
    expect(values("attention", [q, k, v], { scale: 1 })).toEqual([1, 1, 10, 10, 2, 2, 20, 20]);
  });

  test("attention through a cache equals attention over the whole sequence", () => {
    const wave = (length: number, step: number) => Array.from({ length }, (_, i) => Math.sin(i * step));
    const [q, k, v] = [
      f32([1, 3, 2, 4], wave(24, 1.3)),
      f32([1, 3, 1, 4], wave(12, 0.7)),
      f32([1, 3, 1, 4], wave(12, 2.1)),
    ];
    const whole = values("attention", [q, k, v], { scale: 0.5 });
    const zero = f32([2, 5, 1, 4], new Array(40).fill(0));
    const slots = i32([1], [1]);
    const keys = evaluate("cache_write", [zero, k, slots, i32([1], [0])], {})[0]!;
    const cached = evaluate("cache_write", [zero, v, slots, i32([1], [0])], {})[0]!;
    expect(values("attention", [q, keys, cached, slots, i32([1], [0])], { scale: 0.5 })).toEqual(whole);
    const last = f32([1, 1, 2, 4], wave(24, 1.3).slice(16));
    expect(values("attention", [last, keys, cached, slots, i32([1], [2])], { scale: 0.5 })).toEqual(
      whole.slice(16),
    );
  });

  test("batch_matmul multiplies rows with rows, matrix by matrix", () => {
    const a = f32([2, 1, 3], [1, 2, 3, 4, 5, 6]);
    const b = f32([2, 2, 3], [1, 0, 0, 1, 1, 1, 0, 1, 0, -1, 0, 2]);
    expect(values("batch_matmul", [a, b], {})).toEqual([1, 6, 5, 8]);
  });

  test("softmax", () => {
    expect(values("softmax", [f32([2, 2], [0, 0, 1000, 0])], {})).toEqual([0.5, 0.5, 1, 0]);
    const e = f(Math.E);
    expect(values("softmax", [f32([2], [1, 2])], {})[1]).toBeCloseTo(e / (1 + e), 6);
  });

  test("top_k: NaN first, then by value, the lower index first of equals", () => {
    const [values, indices] = evaluate("top_k", [f32([2, 4], [1, 3, -0, 3, 0, Number.NaN, -1, -0])], {
      k: 3,
    });
    expect([...values!.data]).toEqual([3, 3, 1, Number.NaN, 0, 0]);
    expect([...indices!.data]).toEqual([1, 3, 0, 1, 0, 3]);
  });

  test("i32 arithmetic wraps", () => {
    const [a, b] = [i32([2], [2 ** 31 - 1, 65537]), i32([2], [1, 65537])];
    expect(values("add", [a, b], {})).toEqual([-(2 ** 31), 131074]);
    expect(values("mul", [a, b], {})).toEqual([2 ** 31 - 1, 131073]);
    expect(values("max", [a, b], {})).toEqual([2 ** 31 - 1, 65537]);
  });

  test("broadcasting reads each axis where it is", () => {
    expect(values("sub", [f32([2, 1], [10, 20]), f32([3], [1, 2, 3])], {})).toEqual([9, 8, 7, 19, 18, 17]);
    const b = f32([2, 1, 2], [1, 2, 3, 4]);
    expect(values("add", [f32([], [10]), b], {})).toEqual([11, 12, 13, 14]);
    expect(values("add", [f32([2, 2, 2], [0, 0, 0, 0, 0, 0, 0, 0]), b], {})).toEqual([
      1, 2, 1, 2, 3, 4, 3, 4,
    ]);
  });

  test("casts saturate and round to nearest even", () => {
    const x = f32([5], [1.9, -1.9, 1e20, -300, Number.NaN]);
    expect(values("cast", [x], { dtype: "i8" })).toEqual([1, -1, 127, -128, 0]);
    expect(values("cast", [x], { dtype: "u8" })).toEqual([1, 0, 255, 0, 0]);
    expect(values("cast", [x], { dtype: "i32" })).toEqual([1, -1, 2 ** 31 - 1, -300, 0]);
    expect(values("cast", [x], { dtype: "bool" })).toEqual([1, 1, 1, 1, 1]);
    expect(values("cast", [x], { dtype: "bf16" })[0]).toBe(f32ToBf16(1.9));
    expect(values("cast", [i32([1], [16_777_217])], { dtype: "f32" })).toEqual([16_777_216]);
    expect(values("cast", [tensor("u32", [1], [2 ** 32 - 1])], { dtype: "i32" })).toEqual([2 ** 31 - 1]);
    expect(values("cast", [tensor("f16", [1], [1.5])], { dtype: "f32" })).toEqual([1.5]);
  });

  test("constants", () => {
    expect(values("constant", [], { value: 0.1, dtype: "f32" })).toEqual([f(0.1)]);
    expect(values("constant", [], { value: -7, dtype: "i32" })).toEqual([-7]);
  });

  test("reductions along any axis", () => {
    const x = f32([2, 3], [1, 2, 3, 4, 5, 60]);
    expect(values("sum", [x], { axis: 0, keep_dims: false })).toEqual([5, 7, 63]);
    expect(values("sum", [x], { axis: -1, keep_dims: true })).toEqual([6, 69]);
    expect(values("mean", [x], { axis: 1, keep_dims: false })).toEqual([2, 23]);
    expect(values("max_reduce", [x], { axis: 0, keep_dims: false })).toEqual([4, 5, 60]);
    expect(values("min_reduce", [x], { axis: 1, keep_dims: false })).toEqual([1, 4]);
    expect(values("max_reduce", [f32([2], [Number.NaN, 1])], { axis: 0, keep_dims: false })).toEqual([
      Number.NaN,
    ]);
  });

  test("movement", () => {
    const x = f32([2, 3], [1, 2, 3, 4, 5, 6]);
    expect(values("transpose", [x], { permutation: [1, 0] })).toEqual([1, 4, 2, 5, 3, 6]);
    const cube = f32(
      [2, 3, 2],
      Array.from({ length: 12 }, (_, i) => i),
    );
    expect(values("transpose", [cube], { permutation: [1, 2, 0] })).toEqual([
      0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11,
    ]);
    expect(values("slice", [x], { axis: 1, start: -2, size: 2 })).toEqual([2, 3, 5, 6]);
    expect(values("slice", [x], { axis: 0, start: 1, size: 1 })).toEqual([4, 5, 6]);
    expect(values("concat", [x, f32([2, 1], [7, 8])], { axis: -1 })).toEqual([1, 2, 3, 7, 4, 5, 6, 8]);
    expect(values("concat", [x, x], { axis: 0 })).toEqual([1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]);
    expect(values("reshape", [x], { dims: [3, 2] })).toEqual([1, 2, 3, 4, 5, 6]);
    expect(values("after", [x, f32([], [7])], {})).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test("stacked weights keep each row's scale", () => {
    const one = ternary([2, 2], [1, 0, -1, 1], [3], "tensor");
    const two = ternary([1, 2], [1, 1], [5], "row");
    const [stacked] = evaluate("concat", [one, two], { axis: 0 });
    expect([...stacked!.data]).toEqual([1, 0, -1, 1, 1, 1]);
    expect([...stacked!.scales!]).toEqual([3, 3, 5]);
    expect(values("weight_scale", [one], {})).toEqual([3, 3]);
    expect(values("weight_scale", [two], {})).toEqual([5]);
    const grouped = [
      ternary([1, 3], [1, 0, 1], [1, 2], { group: 2 }),
      ternary([1, 3], [1, 1, 1], [3, 4], { group: 2 }),
    ];
    expect([...evaluate("concat", grouped, { axis: 0 })[0]!.scales!]).toEqual([1, 2, 3, 4]);
  });

  test("quantize runs its prologue, then its norm, then quantizes", () => {
    const [x, y, w] = [f32([1, 2], [3, -4]), f32([1], [2]), f32([2], [1, 0.5])];
    const prologue = parseScalar("mul(x0, x1)");
    const plain = evaluate("quantize", [f32([1, 2], [6, -8])], { bits: 8, granularity: "row" });
    expect(evaluate("quantize", [x, y], { bits: 8, granularity: "row", prologue })).toEqual(plain);
    expect([...plain[2]!.data]).toEqual([plain[0]!.data[0]! + plain[0]!.data[1]!]);
    const normed = evaluate("rms_norm", [f32([1, 2], [6, -8]), w], { eps: 1e-5 });
    expect(evaluate("quantize", [x, y, w], { bits: 8, granularity: "row", prologue, eps: 1e-5 })).toEqual(
      evaluate("quantize", [...normed], { bits: 8, granularity: "row" }),
    );
  });

  test("a fused elementwise has the bits of its parts", () => {
    const text = `graph @g() {
      %x: input f32[2, 3]
      %y: input f32[3]
      %a: f32[2, 3] = mul(%x, %y)
      %b: f32[2, 3] = gelu_tanh(%a)
      %c: f32[2, 3] = div(%b, %x)
      %d: f32[2, 3] = elementwise(%x, %y) {expr = div(gelu_tanh(mul(x0, x1)), x0)}
      return parts = %c, fused = %d
    }`;
    const inputs = { x: f32([2, 3], [0.1, -0.2, 3, 1e-8, 5, -6]), y: f32([3], [1, 0.3, -2]) };
    const { outputs } = interpret(parseGraph(text), { inputs, parameters: {} });
    expect([...outputs.fused!.data]).toEqual([...outputs.parts!.data]);
  });
});
