import { fc, test as property } from "@fast-check/vitest";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { interpret } from "../../../ir/interpret.ts";
import {
  apply,
  arg,
  evaluateScalar,
  literal,
  type ScalarExpr,
  type UnaryFunction,
  unaryFunctions,
} from "../../../ir/scalar.ts";
import { f32ToBf16, f32ToF16, type TensorData, tensor } from "../../../ir/tensor.ts";
import { parseGraph } from "../../../ir/text/parse.ts";
import { type DType, dtypes } from "../../../ir/types.ts";
import { GpuHost } from "../../../test/support/gpu-host.ts";
import { expectSameBits } from "../../../test/support/same-bits.ts";
import { loadTemplate, specialize } from "../../kernel/frontend.ts";
import type { KernelFunction } from "../../kernel/ir.ts";
import { templatePath } from "../../kernel/template-path.ts";
import { castCall } from "../../schedule/cast.ts";
import { type DraftArgument, elementBytes, type GeneratedCall, type Place } from "../../schedule/draft.ts";
import { elementwiseCall, integerCall } from "../../schedule/elementwise.ts";
import { type MathHelpers, mathFunctions, scalarLanes, type TargetCode } from "../../schedule/lanes.ts";
import { copyCall, padRowsCall } from "../../schedule/movement.ts";
import { type Reduction, reductionCall } from "../../schedule/reduction.ts";
import { broadcastView, contiguousView, sliceView, transposeView } from "../../schedule/view.ts";

let host: GpuHost;
let code: TargetCode;
beforeAll(async () => {
  host = await GpuHost.open();
  const helpers: Record<string, KernelFunction> = {};
  for (const fn of mathFunctions) {
    helpers[fn] = specialize(await loadTemplate(templatePath("gpu/math.ts"), fn), { name: fn });
  }
  code = { one: scalarLanes(helpers as MathHelpers) };
});
afterAll(() => host.close());

/** A place of its own for an array, row-major. */
function place(name: string, dtype: DType, dims: readonly number[]): Place {
  return contiguousView({ name, region: "arena", offset: undefined, bytes: 0 }, dtype, dims);
}

/** Runs a generated kernel on arrays for its places. */
async function run(call: GeneratedCall, data: ReadonlyMap<Place["buffer"], TensorData>): Promise<void> {
  const kernel = call.build(call.name);
  const parameters = kernel.parameters.slice(0, -2);
  const given: [string, TensorData | number][] = [];
  const offsets: [string, number][] = [];
  call.arguments.forEach((argument: DraftArgument, i) => {
    const parameter = parameters[i]!;
    if (argument.kind === "buffer") {
      const array = data.get(argument.storage)!;
      given.push([parameter.name, array]);
      offsets.push([parameter.name, (argument.offset as number) / array.BYTES_PER_ELEMENT]);
    } else if (argument.kind === "i32") given.push([parameter.name, argument.value as number]);
  });
  const compiled = await host.load(kernel, { offset: new Set(offsets.map(([name]) => name)) });
  await compiled(Object.fromEntries(given), {
    range: call.range as number,
    offsets: Object.fromEntries(offsets),
  });
}

/** Whole numbers that stay exact in f32 through a few sums and products. */
const wholes = (length: number, seed = 0) =>
  Float32Array.from({ length }, (_, i) => (((i + seed) * 7 + 3) % 17) - 8);

describe("elementwise", () => {
  /** What WGSL and templates/gpu/math.ts allow, in units of the last place. */
  const ulps: { readonly [F in UnaryFunction]: number } = {
    neg: 0,
    abs: 0,
    sign: 0,
    relu: 0,
    to_f32: 0,
    relu2: 1,
    sqrt: 4,
    reciprocal: 3,
    rsqrt: 8,
    exp: 2,
    log: 2,
    tanh: 4,
    erf: 4,
    sigmoid: 8,
    silu: 9,
    // 1 + erf and 1 + tanh cancel for negative x: an absolute error of these many ulp of x.
    gelu: 8,
    gelu_tanh: 8,
  };
  const ulpOf = (x: number) => 2 ** (Math.floor(Math.log2(Math.max(Math.abs(x), 2 ** -120))) - 23);

  test.each(Object.keys(unaryFunctions) as UnaryFunction[])(
    "%s is within its tier of the interpreter",
    async (fn) => {
      const positive = fn === "log" || fn === "sqrt" || fn === "rsqrt";
      const values = Float32Array.from({ length: 4001 }, (_, i) => {
        const wide = i % 2 === 0 ? 1 : 40;
        const x = ((i * 2654435761) % 4001) / 4001;
        return (positive ? x + 1e-6 : 2 * x - 1) * wide;
      });
      const [x, out] = [place("x", "f32", [4001]), place("out", "f32", [4001])];
      const result = new Float32Array(4001);
      const call = elementwiseCall(apply(fn, arg(0)), [x], out, code);
      await run(
        call,
        new Map([
          [x.buffer, values],
          [out.buffer, result],
        ]),
      );
      values.forEach((value, i) => {
        const expected = unaryFunctions[fn].evaluate(value);
        const scale = fn.startsWith("gelu") ? Math.max(Math.abs(value), Math.abs(expected)) : expected;
        const error = Math.abs(result[i]! - expected);
        if (!(error <= ulps[fn] * ulpOf(scale))) {
          expect.fail(
            `${fn}(${value}) is ${result[i]}, expected ${expected}: ${error / ulpOf(scale)} ulp off`,
          );
        }
      });
    },
  );

  test("NaN passes through every function, infinities through those that take them", async () => {
    const values = Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY);
    for (const fn of Object.keys(unaryFunctions) as UnaryFunction[]) {
      const [x, out] = [place("x", "f32", [3]), place("out", "f32", [3])];
      const result = new Float32Array(3);
      await run(
        elementwiseCall(apply(fn, arg(0)), [x], out, code),
        new Map([
          [x.buffer, values],
          [out.buffer, result],
        ]),
      );
      expect(result[0], fn).toBeNaN();
      if (fn === "exp" || fn === "tanh" || fn === "erf" || fn === "sigmoid" || fn === "relu") {
        expect([...result.subarray(1)], fn).toEqual([Infinity, -Infinity].map(unaryFunctions[fn].evaluate));
      }
    }
  });

  const exact = fc.letrec<{ expr: ScalarExpr }>((tie) => ({
    expr: fc.oneof(
      { maxDepth: 4 },
      fc.integer({ min: 0, max: 2 }).map(arg),
      fc.integer({ min: -4, max: 4 }).map(literal),
      fc
        .tuple(fc.constantFrom("neg", "abs", "relu", "relu2"), tie("expr"))
        .map(([fn, x]) => apply(fn as UnaryFunction, x)),
      fc
        .tuple(fc.constantFrom("add", "sub", "mul", "max", "min"), tie("expr"), tie("expr"))
        .map(([fn, x, y]) => apply(fn as "add", x, y)),
    ),
  })).expr;

  property.prop([exact, fc.constantFrom([5, 7], [1, 9], [4, 64]), fc.boolean()], {
    numRuns: 30,
    endOnFailure: true,
  })(
    "random expressions over whole numbers are exact, whatever the operands' layout",
    async (expr, [rows, columns], i32) => {
      const dims = [rows!, columns!];
      const full = place("full", "f32", dims);
      const across = place("across", i32 ? "i32" : "f32", [columns!]);
      const turned = place("turned", "f32", [columns!, rows!]);
      const out = place("out", "f32", dims);
      const operands = [full, across, transposeView(turned, [1, 0])];
      const typed = i32 ? toF32(expr, 1) : expr;
      const data = [wholes(rows! * columns!), wholes(columns!, 5), wholes(rows! * columns!, 11)];
      const result = new Float32Array(rows! * columns!);
      const arrays = new Map<Place["buffer"], TensorData>([
        [full.buffer, data[0]!],
        [across.buffer, i32 ? Int32Array.from(data[1]!) : data[1]!],
        [turned.buffer, data[2]!],
        [out.buffer, result],
      ]);
      await run(elementwiseCall(typed, operands, out, code), arrays);
      const largest = 2 ** 24;
      for (let row = 0; row < rows!; row++) {
        for (let column = 0; column < columns!; column++) {
          const at = row * columns! + column;
          const values = [data[0]![at]!, data[1]![column]!, data[2]![column * rows! + row]!];
          const expected = evaluateScalar(expr, 0, values);
          // Larger values may have been rounded on the way.
          if (bound(expr) <= largest) expect(result[at]! + 0, `at ${row}, ${column}`).toBe(expected + 0);
        }
      }
    },
  );

  test("i32 operands wrap", async () => {
    const [x, y, out] = ["x", "y", "out"].map((name) => place(name, "i32", [4]));
    const a = Int32Array.of(0x7fffffff, -0x80000000, 65537, -3);
    const b = Int32Array.of(1, -1, 65537, 2);
    const expected = {
      add: a.map((value, i) => value + b[i]!),
      sub: a.map((value, i) => value - b[i]!),
      mul: a.map((value, i) => Math.imul(value, b[i]!)),
      max: a.map((value, i) => Math.max(value, b[i]!)),
      min: a.map((value, i) => Math.min(value, b[i]!)),
    };
    for (const [fn, want] of Object.entries(expected)) {
      const result = new Int32Array(4);
      await run(
        integerCall(fn as "add", x!, y!, out!, code),
        new Map([
          [x!.buffer, a],
          [y!.buffer, b],
          [out!.buffer, result],
        ]),
      );
      expect(result, fn).toEqual(want);
    }
  });

  test("a kernel reads well", async () => {
    const [x, y, out] = [place("x", "f32", [5, 7]), place("y", "f32", [7]), place("out", "f32", [5, 7])];
    const expr = apply("add", apply("silu", arg(0)), apply("mul", arg(1), literal(2)));
    const { module } = await host.load(elementwiseCall(expr, [x, y], out, code).build("silu_add"));
    expect(`\n${module.text}`).toMatchInlineSnapshot(`
      "
      struct Scalars {
        n1: i32,
        stride0_0: i32,
        stride2_0: i32,
        range: i32,
      }

      @group(0) @binding(0) var<storage, read> x0: array<f32>;
      @group(0) @binding(1) var<storage, read> x1: array<f32>;
      @group(0) @binding(2) var<storage, read_write> out: array<f32>;
      @group(0) @binding(3) var<uniform> scalars: Scalars;

      fn is_nan(x: f32) -> bool {
        return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
      }

      // The larger; NaN if either is.
      fn maximum(a: f32, b: f32) -> f32 {
        return select(max(a, b), a + b, is_nan(a) || is_nan(b));
      }

      // The smaller; NaN if either is.
      fn minimum(a: f32, b: f32) -> f32 {
        return select(min(a, b), a + b, is_nan(a) || is_nan(b));
      }

      // Truncates toward zero and saturates; NaN gives 0.
      fn f32_to_i32(x: f32) -> i32 {
        let whole = i32(max(min(x, 2147483520.0), -2147483648.0));
        return select(select(whole, 2147483647, x >= 2147483648.0), 0, is_nan(x));
      }

      // e^x within 2 ulp.
      fn math_exp(x: f32) -> f32 {
        if ((bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u) {
          return x;
        }
        let clamped = maximum(minimum(x, 89.0), -104.0);
        let n = round(clamped * 1.442695);
        let r = clamped - n * 0.6933594 + n * 0.00021219444;
        var p = 0.00019875691 * r + 0.0013981999;
        p = p * r + 0.008333452;
        p = p * r + 0.041665796;
        p = p * r + 0.16666666;
        p = p * r + 0.5;
        let y = r * r * p + r + 1.0;
        let whole = f32_to_i32(n);
        let half = whole >> 1u;
        let first = bitcast<f32>((half + 127) << 23u);
        let second = bitcast<f32>((whole - half + 127) << 23u);
        return y * first * second;
      }

      // x sigmoid(x).
      fn silu(x: f32) -> f32 {
        let exp = math_exp(-abs(x));
        let e = exp;
        return x * (select(1.0, e, x < 0.0) / (1.0 + e));
      }

      @compute @workgroup_size(64)
      fn silu_add(
        @builtin(workgroup_id) workgroup_id: vec3u,
        @builtin(num_workgroups) num_workgroups: vec3u,
        @builtin(local_invocation_index) local_index: u32,
      ) {
        let n1 = scalars.n1;
        let stride0_0 = scalars.stride0_0;
        let stride2_0 = scalars.stride2_0;
        let item = i32((workgroup_id.x + workgroup_id.y * num_workgroups.x) * 64u + local_index);
        if (item >= scalars.range) {
          return;
        }
        let c = item % n1;
        let row = item / n1;
        let base0 = row * stride0_0;
        let base2 = row * stride2_0;
        let t0 = x0[base0 + c];
        let t1 = silu(t0);
        let t2 = x1[c];
        let t3 = t2 * 2.0;
        let t4 = t1 + t3;
        out[base2 + c] = t4;
      }
      "
    `);
  });
});

/** The expression with argument `index` converted. */
function toF32(expr: ScalarExpr, index: number): ScalarExpr {
  if (expr.kind === "arg") return expr.index === index ? apply("to_f32", expr) : expr;
  return expr.kind === "apply" ? { ...expr, args: expr.args.map((inner) => toF32(inner, index)) } : expr;
}

/** A bound of the expression's and its parts' magnitude for arguments up to 8. */
function bound(expr: ScalarExpr): number {
  if (expr.kind !== "apply") return expr.kind === "literal" ? Math.abs(expr.value) : 8;
  const [a, b = 0] = expr.args.map(bound) as [number, number?];
  if (expr.fn === "relu2") return a * a;
  if (expr.fn === "mul") return a * b;
  return expr.fn === "add" || expr.fn === "sub" ? a + b : Math.max(a, b);
}

describe("casts", () => {
  const floats = [
    0, 1, -1, 0.5, 1.5, -2.5, 3.99, 127.6, -128.5, 255.5, 65519, 65520, 1e5, -1e5, 3e9, -3e9, 6e-8, 1e-4,
  ];
  const samples: Record<DType, TensorData> = {
    f32: Float32Array.from([...floats, 4.5e9, 2147483520, 1e38, Number.NaN, Infinity, -Infinity]),
    f16: Uint16Array.from([...floats, Number.NaN, Infinity].map(f32ToF16)),
    bf16: Uint16Array.from([...floats, Number.NaN, Infinity].map(f32ToBf16)),
    i8: Int8Array.of(0, 1, -1, 127, -128, 5),
    u8: Uint8Array.of(0, 1, 255, 128, 7),
    bool: Uint8Array.of(0, 1, 1, 0, 1),
    i32: Int32Array.of(0, 1, -1, 127, -129, 256, 0x7fffffff, -0x80000000, 16777217),
    u32: Uint32Array.of(0, 1, 127, 256, 0xffffffff, 0x80000000, 16777217),
  };

  test.each(dtypes.flatMap((from) => dtypes.map((to) => [from, to] as const)))(
    "%s to %s",
    async (from, to) => {
      const data = samples[from];
      const n = data.length;
      const graph = parseGraph(`graph @g() {
      %x: input ${from}[${n}]
      %y: ${to}[${n}] = cast(%x) {dtype = "${to}"}
      return y = %y
    }`);
      const x = tensor(from, [n], new Array<number>(n).fill(0));
      x.data.set(data);
      const expected = interpret(graph, { inputs: { x }, parameters: {} }).outputs.y!;
      const y = tensor(to, [n], new Array<number>(n).fill(0));
      const [source, out] = [place("x", from, [n]), place("out", to, [n])];
      await run(
        castCall(source, out, code),
        new Map([
          [source.buffer, data],
          [out.buffer, y.data],
        ]),
      );
      expectSameBits(y, expected);
    },
  );
});

describe("movement", () => {
  test.each(["f32", "f16", "i8", "i32", "u32", "bool"] as const)(
    "%s is transposed, sliced and broadcast",
    async (dtype) => {
      const whole = place("x", dtype, [3, 5, 7]);
      const view = broadcastView(transposeView(sliceView(whole, 2, 3, 3), [2, 0, 1]), [2, 3, 3, 5]);
      const out = place("out", dtype, [2, 3, 3, 5]);
      const x = tensor(
        dtype,
        [105],
        Array.from({ length: 105 }, (_, i) => (dtype === "bool" ? i % 2 : i % 101)),
      ).data;
      const result = tensor(dtype, [90], new Array<number>(90).fill(0)).data;
      await run(
        copyCall(view, out, code),
        new Map([
          [whole.buffer, x],
          [out.buffer, result],
        ]),
      );
      const expected = Array.from({ length: 90 }, (_, at) => {
        const [c, a, b] = [Math.floor(at / 15) % 3, Math.floor(at / 5) % 3, at % 5];
        return x[a * 35 + b * 7 + 3 + c]!;
      });
      expect([...result]).toEqual(expected);
      expect(elementBytes(dtype)).toBe(x.BYTES_PER_ELEMENT);
    },
  );

  test("rows of codes are padded with zeros", async () => {
    const [rows, columns, padded] = [5, 70, 128];
    const x = place("x", "i8", [rows, columns]);
    const out = place("out", "i8", [rows, columns]);
    const codes = Int8Array.from({ length: rows * columns }, (_, i) => (i * 37) % 256);
    const result = new Int8Array(rows * padded).fill(99);
    await run(
      padRowsCall(x, { ...out, strides: [padded, 1] }, padded),
      new Map([
        [x.buffer, codes],
        [out.buffer, result],
      ]),
    );
    for (let row = 0; row < rows; row++) {
      const expected = new Int8Array(padded);
      expected.set(codes.subarray(row * columns, (row + 1) * columns));
      expect(result.subarray(row * padded, (row + 1) * padded)).toEqual(expected);
    }
  });
});

describe("reductions", () => {
  test.each(["sum", "mean", "max", "min"] as const)("%s along every axis", async (kind: Reduction) => {
    const dims = [4, 5, 8];
    const data = wholes(160);
    for (const axis of [0, 1, 2]) {
      const rest = dims.filter((_, i) => i !== axis);
      const op = kind === "max" || kind === "min" ? `${kind}_reduce` : kind;
      const graph = parseGraph(`graph @g() {
        %x: input f32[${dims.join(", ")}]
        %y: f32[${rest.join(", ")}] = ${op}(%x) {axis = ${axis}, keep_dims = false}
        return y = %y
      }`);
      const inputs = { x: tensor("f32", dims, data) };
      const expected = interpret(graph, { inputs, parameters: {} }).outputs.y!.data;
      const [x, out] = [place("x", "f32", dims), place("out", "f32", rest)];
      const result = new Float32Array(expected.length);
      await run(
        reductionCall(kind, [x], axis, out, code),
        new Map([
          [x.buffer, data],
          [out.buffer, result],
        ]),
      );
      // Sums of whole numbers are exact in any order; a division is within 2.5 ulp.
      result.forEach((value, i) => {
        expect(Math.abs(value - expected[i]!)).toBeLessThanOrEqual(
          kind === "mean" ? Math.abs(expected[i]!) * 2 ** -21 : 0,
        );
      });
    }
  });

  test("NaN is the maximum and the minimum of its row", async () => {
    for (const kind of ["max", "min"] as const) {
      const [x, out] = [place("x", "f32", [3, 3]), place("out", "f32", [3])];
      const result = new Float32Array(3);
      const data = Float32Array.of(Number.NaN, 1, 2, 3, Number.NaN, 5, 6, 7, Number.NaN);
      await run(
        reductionCall(kind, [x], 1, out, code),
        new Map([
          [x.buffer, data],
          [out.buffer, result],
        ]),
      );
      expect([...result]).toEqual([Number.NaN, Number.NaN, Number.NaN]);
    }
  });
});
