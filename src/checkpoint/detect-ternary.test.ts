import { fc, test } from "@fast-check/vitest";
import { describe, expect } from "vitest";
import { f32ToBf16, f32ToF16 } from "../../ir/tensor.ts";
import { detectTernary } from "./detect-ternary.ts";
import { type FloatType, memorySource, type ParameterSource } from "./source.ts";

function sourceOf(values: Float32Array, n: number, k: number, dtype: FloatType): ParameterSource {
  if (dtype === "f32") return memorySource(new Map([["w", { dims: [n, k], data: values }]]));
  const data = Uint16Array.from(values, dtype === "f16" ? f32ToF16 : f32ToBf16);
  return memorySource(new Map([["w", { dims: [n, k], data, form: { kind: "dense", dtype } }]]));
}

/** Ternary values with a scale for each group of columns; neighbouring groups have other scales. */
function ternary(n: number, k: number, group: number): Float32Array {
  return Float32Array.from({ length: n * k }, (_, i) => {
    const column = i % k;
    return (((i * 7) % 3) - 1) * 2 ** -(Math.floor(column / group) % 2) * (1 + (Math.floor(i / k) % 8) / 8);
  });
}

const dtypes = fc.constantFrom<FloatType>("f32", "f16", "bf16");

describe("ternary weights stored as floats", () => {
  test.prop([fc.constantFrom(256, 128, 64, 32), fc.integer({ min: 1, max: 5 }), dtypes], { numRuns: 30 })(
    "are found at their granularity",
    async (group, n, dtype) => {
      const k = 600;
      const found = await detectTernary(sourceOf(ternary(n, k, group), n, k, dtype), "w");
      expect(found).toEqual({ group });
      expect(await detectTernary(sourceOf(ternary(n, k, k), n, k, dtype), "w")).toBe("row");
    },
  );

  test("with the shards of tensor-parallel training along K", async () => {
    expect(await detectTernary(sourceOf(ternary(9, 5460, 1365), 9, 5460, "f16"), "w")).toEqual({
      group: 1365,
    });
  });

  test.prop([fc.nat(59), fc.nat(599), dtypes], { numRuns: 20 })(
    "are not ternary if one value differs",
    async (row, column, dtype) => {
      const [n, k] = [60, 600];
      const values = ternary(n, k, k);
      // A neighbour in the smallest group has another magnitude, neither being 0.
      values[row * k + column] = 5;
      values[row * k + (column ^ 1)] = 1;
      const found = await detectTernary(sourceOf(values, n, k, dtype), "w");
      expect(found).toBeUndefined();
    },
  );

  test("ordinary weights are refused by their first row", async () => {
    const values = Float32Array.from({ length: 1000 * 600 }, (_, i) => Math.sin(i));
    const source = sourceOf(values, 1000, 600, "f32");
    let bytes = 0;
    const counted: ParameterSource = {
      ...source,
      info: source.info,
      read(path, offset, into) {
        bytes += into.byteLength;
        return source.read(path, offset, into);
      },
    };
    expect(await detectTernary(counted, "w")).toBeUndefined();
    expect(bytes).toBeLessThan(10 * 600 * 4);
  });

  test("vectors and packed weights are not looked at", async () => {
    const source = memorySource(new Map([["w", { dims: [4], data: new Float32Array(4) }]]));
    expect(await detectTernary(source, "w")).toBeUndefined();
    expect(await detectTernary(source, "x")).toBeUndefined();
  });
});
