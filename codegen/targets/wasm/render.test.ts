import { fc, test as property } from "@fast-check/vitest";
import { describe, expect, test } from "vitest";
import { instantiateKernel, parseKernel } from "../../../test/support/kernel-text.ts";
import * as build from "../../kernel/build.ts";
import type { Expr } from "../../kernel/ir.ts";
import { assemble } from "./assemble.ts";
import { renderFunctions } from "./functions.ts";
import { floatText } from "./numbers.ts";
import { renderFunction } from "./render.ts";

test("a kernel reads like what it was made of", async () => {
  const kernel = await parseKernel(
    `/**
      * Sums of rows, scaled.
      */
     export function kernel(
       options: Static<{ tile: number }>, x: Buffer<f32>, out: Buffer<f32>, columns: i32, begin: i32, end: i32,
     ): void {
       for (let row = begin; row < end; row++) {
         const acc = registers(options.tile, f32x4.splat(0));
         let column: i32 = 0;
         while (column + 4 * options.tile <= columns) {
           for (const t of unroll(options.tile)) {
             acc[t] = f32x4.add(acc[t]!, v128.load(x, row * columns + column + 4 * t));
           }
           column += 4 * options.tile;
         }
         let total = f32x4.extractLane(acc[0]!, 0);
         for (let i = column; i < columns; i++) {
           if (x[i]! < 0) continue;
           total += x[row * columns + i]! * 0.1;
         }
         out[row] = total > 1e-5 ? total : -total;
       }
     }`,
    { tile: 2 },
  );
  expect(`\n${renderFunction(kernel)}\n`).toMatchInlineSnapshot(`
    "
    ;; Sums of rows, scaled.
    (func $kernel
      (param $x i32) ;; f32 buffer, read
      (param $out i32) ;; f32 buffer, write
      (param $columns i32)
      (param $begin i32)
      (param $end i32)
      (local $row i32)
      (local $acc_0 v128)
      (local $acc_1 v128)
      (local $column i32)
      (local $total f32)
      (local $i i32)
      (local.set $row (local.get $begin))
      (block $row_end
        (loop $row_loop
          (br_if $row_end (i32.ge_s (local.get $row) (local.get $end)))
          (local.set $acc_0 (f32x4.splat (f32.const 0)))
          (local.set $acc_1 (f32x4.splat (f32.const 0)))
          (local.set $column (i32.const 0))
          (block $while_0_end
            (loop $while_0_loop
              (br_if $while_0_end
                (i32.gt_s (i32.add (local.get $column) (i32.const 8)) (local.get $columns)))
              (local.set $acc_0
                (f32x4.add
                  (local.get $acc_0)
                  (v128.load
                    (i32.add
                      (local.get $x)
                      (i32.shl
                        (i32.add (i32.mul (local.get $row) (local.get $columns)) (local.get $column))
                        (i32.const 2))))))
              (local.set $acc_1
                (f32x4.add
                  (local.get $acc_1)
                  (v128.load offset=16
                    (i32.add
                      (local.get $x)
                      (i32.shl
                        (i32.add (i32.mul (local.get $row) (local.get $columns)) (local.get $column))
                        (i32.const 2))))))
              (local.set $column (i32.add (local.get $column) (i32.const 8)))
              (br $while_0_loop)))
          (local.set $total (f32x4.extract_lane 0 (local.get $acc_0)))
          (local.set $i (local.get $column))
          (block $i_end
            (loop $i_loop
              (br_if $i_end (i32.ge_s (local.get $i) (local.get $columns)))
              (block $i_next
                (br_if $i_next
                  (f32.lt
                    (f32.load (i32.add (local.get $x) (i32.shl (local.get $i) (i32.const 2))))
                    (f32.const 0)))
                (local.set $total
                  (f32.add
                    (local.get $total)
                    (f32.mul
                      (f32.load
                        (i32.add
                          (local.get $x)
                          (i32.shl
                            (i32.add (i32.mul (local.get $row) (local.get $columns)) (local.get $i))
                            (i32.const 2))))
                      (f32.const 0.1)))))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br $i_loop)))
          (f32.store
            (i32.add (local.get $out) (i32.shl (local.get $row) (i32.const 2)))
            (select
              (local.get $total)
              (f32.neg (local.get $total))
              (f32.gt (local.get $total) (f32.const 0.00001))))
          (local.set $row (i32.add (local.get $row) (i32.const 1)))
          (br $row_loop)))
    )
    "
  `);
});

describe("addresses", () => {
  const x = build.buffer("x", "i32");
  const i = build.local("i", "i32");
  const constant = (value: number): Expr => ({ kind: "literal", type: "i32", value });
  const binary = (operator: "add" | "sub", left: Expr, right: Expr): Expr => ({
    kind: "binary",
    type: "i32",
    operator,
    left,
    right,
  });
  const reader = (index: Expr) =>
    build.kernel("kernel", [x, build.scalar("i")], [build.return_(build.load(x, index))], { result: "i32" });

  test("the constant part of an index is the instruction's offset", () => {
    const load = (index: Expr) => /i32.load.*|offset=\d+/.exec(renderFunction(reader(index)))![0];
    expect(load(binary("add", binary("add", i, constant(3)), constant(2)))).toContain("offset=20");
    expect(load(binary("sub", binary("add", constant(8), i), constant(3)))).toContain("offset=20");
    expect(load(constant(5))).toContain("offset=20 (local.get $x)");
    // What cannot go there is added.
    expect(renderFunction(reader(binary("sub", i, constant(1))))).toContain("(i32.const -4)");
    expect(renderFunction(reader(binary("add", i, constant(100_000))))).toContain("(i32.const 400000)");
  });

  property.prop([
    fc.array(fc.tuple(fc.constantFrom("add", "sub"), fc.integer({ min: -2000, max: 2000 }), fc.boolean()), {
      maxLength: 5,
    }),
    fc.integer({ min: 0, max: 3000 }),
  ])("sums of constants read the element they say", async (terms, at) => {
    // An index that equals `at`, however its terms are spread.
    let index: Expr = i;
    let sum = 0;
    for (const [operator, value, left] of terms) {
      if (operator === "sub" && left) {
        index = binary("sub", constant(value), index);
        sum = value - sum;
      } else {
        index =
          operator === "add" && left
            ? binary("add", constant(value), index)
            : binary(operator as "add", index, constant(value));
        sum += operator === "add" ? value : -value;
      }
    }
    const flips = terms.filter(([operator, , left]) => operator === "sub" && left).length;
    const argument = flips % 2 === 0 ? at - sum : sum - at;
    const { memory, run } = await instantiateKernel(reader(index));
    const base = 32_768;
    new Int32Array(memory.buffer, base + 4 * at, 1)[0] = 4242;
    expect(run(base, argument)).toBe(4242);
  });

  test("memory beyond 2 GiB is reached, with and without an offset", async () => {
    const { exports } = await WebAssembly.instantiate(
      await WebAssembly.compile(
        await assemble(
          "large",
          `(module (import "env" "memory" (memory 1)) ${renderFunctions([reader(binary("add", i, constant(3)))]).join("\n")} (export "kernel" (func $kernel)))`,
        ),
      ),
      { env: { memory: LARGE } },
    );
    const run = exports.kernel as (x: number, i: number) => number;
    for (const address of [0x7ffffff0, 0x8000_0000, 0x8000_1000]) {
      new Int32Array(LARGE.buffer, address + 4 * 103, 1)[0] = address >> 4;
      expect(run(address, 100)).toBe(address >> 4);
    }
  });
  const LARGE = new WebAssembly.Memory({ initial: 0x8010 });
});

describe("floats", () => {
  test("special values have WAT's spelling", () => {
    expect(
      [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0].map((x) => floatText("f32", x)),
    ).toEqual(["nan", "inf", "-inf", "-0"]);
    expect(floatText("f32", 0.1)).toBe("0.1");
    expect(floatText("f64", 0.1)).toBe("0.1");
    expect(floatText("f32", 1e-5)).toBe("0.00001");
  });

  property.prop([fc.float({ noNaN: true })])("f32 text reads back as the same bits", (x) => {
    fc.pre(Number.isFinite(x));
    expect(Math.fround(Number(floatText("f32", x)))).toBe(x);
  });
});

describe("what cannot be assembled", () => {
  test("names the line and shows the text around it", async () => {
    const wat = "(module\n  (func $f (result i32)\n    (f32.const 1)))\n";
    await expect(assemble("broken", wat)).rejects.toThrow(/ASSEMBLE_FAILED/);
    await expect(assemble("broken", wat)).rejects.toThrow(/broken\.wat:[23][\s\S]*f32\.const 1/);
    await expect(assemble("broken", "(module (func (bogus)))")).rejects.toThrow(/bogus/);
  });

  test("one name for two functions", () => {
    const one = build.kernel("f", [], [build.return_(build.i32(1))], { result: "i32" });
    const two = build.kernel("f", [], [build.return_(build.i32(2))], { result: "i32" });
    const caller = build.kernel("g", [], [build.effect(build.call(one, []))], { helpers: [one] });
    expect(renderFunctions([caller, one])).toHaveLength(2);
    expect(() => renderFunctions([caller, two])).toThrow(/two different kernel functions are called f/);
  });
});
