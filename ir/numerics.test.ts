import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { GraphBuilder } from "./builder.ts";
import { interpret } from "./interpret.ts";
import {
  absmean,
  activationScales,
  quantizeInt8Rows,
  quantizeRows,
  SCALE_FLOOR,
  ternaryAccumulate,
} from "./numerics.ts";
import { encodedTensor, f32Bits, f32FromBits, type Tensor, tensor } from "./tensor.ts";
import { dense, encoded, type ScaleGranularity } from "./types.ts";

interface Golden {
  act_quant: { x: number[][]; codes: number[][]; d_bits: number[]; s_bits: number[] };
  weight_quant_hfblog: { W: number[][]; codes: number[][]; alpha_bits: number };
  weight_ties: { W: number[][]; codes: number[][]; alpha: number };
  linear: {
    X_bits: number[][];
    W_bits: number[][];
    bias_bits: number[];
    codes: number[][];
    alpha_bits: number;
    q: number[][];
    acc: number[][];
    y_bits: number[][];
  };
  linear_group5_tail2: { codes: number[][]; alpha_bits: number[][]; y_bits: number[][] };
}

const golden = JSON.parse(
  readFileSync(new URL("../test/goldens/numerics_golden.json", import.meta.url), "utf8"),
) as Golden;

const bitsOf = (values: ArrayLike<number>) => Array.from(values, f32Bits);
const fromBits = (rows: number[][]) => Float32Array.from(rows.flat(), f32FromBits);

/** y of a bit_linear graph with 8-bit activations per row, run by the interpreter. */
function bitLinear(
  x: Tensor,
  w: Tensor,
  scale: ScaleGranularity,
  bias?: Tensor,
  activation = { bits: 8, granularity: "row" as "row" | "tensor" },
): Float32Array {
  const builder = new GraphBuilder("bit_linear");
  const operands = [builder.input("x", x.type), builder.parameter("w", w.type)];
  if (bias) operands.push(builder.parameter("b", bias.type));
  builder.output("y", builder.one("bit_linear", operands, { weight_scale: scale, activation }));
  const parameters = { w, ...(bias && { b: bias }) };
  return interpret(builder.build(), { inputs: { x }, parameters }).outputs.y!.data as Float32Array;
}

describe("the numerics contract's golden vectors", () => {
  test("act_quant", () => {
    const { x, codes, d_bits, s_bits } = golden.act_quant;
    const result = quantizeRows(Float32Array.from(x.flat()), 4, 8, "row");
    expect([...result.codes]).toEqual(codes.flat());
    expect(bitsOf(result.scales)).toEqual(d_bits);
    const largest = x.map((row) => f32Bits(Math.max(...row.map(Math.abs))));
    expect(largest.map((bits) => f32Bits(activationScales(bits, 8).s))).toEqual(s_bits);
    expect([...result.sums]).toEqual(codes.map((row) => row.reduce((sum, code) => sum + code)));
  });

  test("weight_quant_hfblog", () => {
    const { W, codes, alpha_bits } = golden.weight_quant_hfblog;
    const result = absmean(Float32Array.from(W.flat()), 3, 3, "tensor");
    expect([...result.data]).toEqual(codes.flat());
    expect(bitsOf(result.scales!)).toEqual([alpha_bits]);
  });

  test("weight_ties", () => {
    const { W, codes, alpha } = golden.weight_ties;
    const result = absmean(Float32Array.from(W.flat()), 1, 8, "tensor");
    expect([...result.data].map((code) => code + 0)).toEqual(codes.flat());
    expect([...result.scales!]).toEqual([alpha]);
  });

  const { X_bits, W_bits, bias_bits } = golden.linear;
  const x = fromBits(X_bits);
  const w = fromBits(W_bits);
  const bias = tensor("f32", [10], bias_bits.map(f32FromBits));

  test("linear", () => {
    const { codes, alpha_bits, q, acc, y_bits } = golden.linear;
    const weight = absmean(w, 10, 12, "tensor");
    expect([...weight.data]).toEqual(codes.flat());
    expect(bitsOf(weight.scales!)).toEqual([alpha_bits]);
    const quantized = quantizeRows(x, 12, 8, "row");
    expect([...quantized.codes]).toEqual(q.flat());
    expect([...ternaryAccumulate(quantized.codes, 3, weight)]).toEqual(acc.flat());
    const y = bitLinear(tensor("f32", [3, 12], x), tensor("f32", [10, 12], w), "tensor", bias);
    expect(bitsOf(y)).toEqual(y_bits.flat());
  });

  test("linear_group5_tail2", () => {
    const { codes, alpha_bits, y_bits } = golden.linear_group5_tail2;
    const weight = absmean(w, 10, 12, { group: 5 });
    expect([...weight.data]).toEqual(codes.flat());
    expect(bitsOf(weight.scales!)).toEqual(alpha_bits.flat());
    const y = bitLinear(tensor("f32", [3, 12], x), tensor("f32", [10, 12], w), { group: 5 }, bias);
    expect(bitsOf(y)).toEqual(y_bits.flat());
  });
});

describe("vectors worth keeping", () => {
  test("a zero row, and one whose absmax is below 1e-5, divide by 1e-5", () => {
    const { codes, scales } = quantizeRows(Float32Array.of(0, 0, 1e-6, -9e-6), 2, 8, "row");
    expect([...codes]).toEqual([0, 0, 13, -114]);
    expect(bitsOf(scales)).toEqual([866719708, 866719708]);
    expect(f32Bits(SCALE_FLOOR)).toBe(f32Bits(1e-5));
  });

  test("ties with absmax 127 go to even", () => {
    const { codes } = quantizeRows(Float32Array.of(127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5), 7, 8, "row");
    expect([...codes]).toEqual([127, 0, 2, 2, 0, -2, -2]);
  });

  test("NaN, infinite and huge rows give codes 0 and d NaN, and leave their neighbours alone", () => {
    const bad = [Number.NaN, Infinity, -Infinity, f32FromBits(0x7e800001)];
    for (const value of bad) {
      const { codes, scales, sums } = quantizeRows(Float32Array.of(1, value, 1, -1), 2, 8, "row");
      expect([...codes]).toEqual([0, 0, 127, -127]);
      expect(scales[0]).toBeNaN();
      expect(bitsOf(scales.slice(1))).toEqual([0x3c010204]);
      expect([...sums]).toEqual([0, 0]);
    }
    const largest = quantizeRows(Float32Array.of(2 ** 126, -(2 ** 125)), 2, 8, "row");
    expect([...largest.codes]).toEqual([127, -64]);
    const whole = quantizeRows(Float32Array.of(1, Number.NaN, 1, -1), 2, 8, "tensor");
    expect([...whole.codes]).toEqual([0, 0, 0, 0]);
    expect([...whole.scales]).toEqual([Number.NaN, Number.NaN]);
  });

  test("the scale is 127 * (1/a), which is not 127/a", () => {
    const [a, x] = [f32FromBits(1105859624), f32FromBits(1096746264)];
    expect([...quantizeRows(Float32Array.of(a, x), 2, 8, "row").codes]).toEqual([127, 61]);
    // 127/a would give a tie, and code 60.
    expect(Math.fround(x * Math.fround(127 / a))).toBe(60.5);
  });

  test.each([2, 3, 4, 5, 6, 7, 8])("%i bits reach both ends of the range", (bits) => {
    const qmax = 2 ** (bits - 1) - 1;
    const { codes, scales } = quantizeRows(Float32Array.of(3, -3, 0), 3, bits, "row");
    expect([...codes]).toEqual([qmax, -qmax, 0]);
    expect(scales[0]).toBe(Math.fround(3 * Math.fround(1 / qmax)));
  });

  test("one scale over all rows is given once a row", () => {
    const { codes, scales } = quantizeRows(Float32Array.of(1, 0.5, 2, -2), 2, 8, "tensor");
    expect([...codes]).toEqual([64, 32, 127, -127]);
    expect(scales[0]).toBe(scales[1]);
  });

  test.each([4096, 131_072, 5460])("all +1 weights with q = 127 at K = %i do not wrap", (k) => {
    const x = tensor("f32", [1, k], new Float32Array(k).fill(1));
    const type = { dtype: "f32", dims: [1, k], encoding: { kind: "ternary", scale: "tensor" } } as const;
    const w = encodedTensor(type, new Int8Array(k).fill(1), Float32Array.of(1));
    const { codes } = quantizeRows(x.data as Float32Array, k, 8, "row");
    expect([...ternaryAccumulate(codes, 1, w)]).toEqual([127 * k]);
    expect(bitLinear(x, w, "tensor")[0]).toBe(Math.fround(127 * k * f32FromBits(0x3c010204)));
  });

  test("alternating signs cancel exactly", () => {
    const k = 4096;
    const type = { dtype: "f32", dims: [1, k], encoding: { kind: "ternary", scale: "tensor" } } as const;
    const w = encodedTensor(
      type,
      Int8Array.from({ length: k }, (_, i) => (i % 2 ? 1 : -1)),
      Float32Array.of(1),
    );
    expect([...ternaryAccumulate(new Int8Array(k).fill(127), 1, w)]).toEqual([0]);
  });

  test("a tail group's mean is over its own length", () => {
    const { scales } = absmean(Float32Array.of(1, 1, 1, 1, 1, 3, 3), 1, 7, { group: 5 });
    expect([...scales!]).toEqual([1, 3]);
  });

  test("per-row scales, near-denormal rows and zero rows", () => {
    const { data, scales } = absmean(Float32Array.of(1, -3, 1e-40, -1e-40, 0, 0), 3, 2, "row");
    expect([...scales!]).toEqual([2, SCALE_FLOOR, SCALE_FLOOR]);
    expect(Array.from(data, Math.abs)).toEqual([0, 1, 0, 0, 0, 0]);
  });

  test("weights that are not finite are refused by place", () => {
    const w = Float32Array.of(1, 2, 3, Number.NaN);
    expect(() => absmean(w, 2, 2, "tensor")).toThrow("NaN at row 1, column 1");
    expect(() => absmean(w.fill(Infinity, 3), 2, 2, { group: 1 })).toThrow("INVALID_WEIGHTS");
    expect(() => quantizeInt8Rows(w, 2, 2)).toThrow("row 1, column 1");
  });

  test("absmean sums in f64 in ascending order", () => {
    // In f32 the small terms would vanish against 2^24.
    const w = Float32Array.of(2 ** 24, ...new Array<number>(15).fill(1));
    expect(absmean(w, 1, 16, "tensor").scales![0]).toBe(Math.fround((2 ** 24 + 15) / 16));
  });

  test("int8 rows: the largest is 127, ties go to even, a zero row stays zero", () => {
    const { data, scales } = quantizeInt8Rows(Float32Array.of(127, 0.5, -1.5, 0, 0, 0), 2, 3);
    expect([...data]).toEqual([127, 0, -2, 0, 0, 0]);
    expect([...scales!]).toEqual([1, 0]);
  });

  test("group scales add up in ascending order, each step rounded", () => {
    const type = { dtype: "f32", dims: [1, 3], encoding: { kind: "ternary", scale: { group: 1 } } } as const;
    const w = encodedTensor(type, Int8Array.of(1, 1, 1), Float32Array.of(2 ** 24, 1, 1));
    // (2^24 + 1) + 1 rounds to 2^24 twice; summed from the other end it would be 2^24 + 2.
    expect([...ternaryAccumulate(Int8Array.of(1, 1, 1), 1, w)]).toEqual([2 ** 24]);
  });

  test("K beyond 131072 is refused when the graph is made, unless groups are shorter", () => {
    const make = (scale: ScaleGranularity) => {
      const builder = new GraphBuilder("g");
      const x = builder.input("x", dense("f32", [1, 131_073]));
      const w = builder.parameter("w", encoded([1, 131_073], { kind: "ternary", scale }));
      return builder.one("bit_linear", [x, w], {
        weight_scale: scale,
        activation: { bits: 8, granularity: "row" },
      });
    };
    expect(() => make("tensor")).toThrow("LIMIT_EXCEEDED");
    expect(() => make({ group: 128 })).not.toThrow();
  });
});
