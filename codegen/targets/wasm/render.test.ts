import { expect, test } from "vitest";
import { parseTemplate, specialize } from "../../kernel/frontend.ts";
import { assemble } from "./assemble.ts";
import { renderFunction } from "./render.ts";

const source = `
import type { Buffer, f32, i32, Static } from "bitloom/kernel";
import { f32x4, registers, unroll, v128 } from "bitloom/kernel";

/**
 * Sum of every row.
 * @param x rows
 */
export function rowSums(
  options: Static<{ tile: number; epilogue: (sum: f32, row: i32) => f32 }>,
  x: Buffer<f32>,
  out: Buffer<f32>,
  columns: i32,
  begin: i32,
  end: i32,
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
    let total: f32 = 0;
    for (const t of unroll(options.tile)) {
      for (const lane of unroll(4)) total += f32x4.extractLane(acc[t]!, lane);
    }
    for (; ;) {}
  }
}
`.replace(
  "for (; ;) {}",
  `for (let i = column; i < columns; i += 1) {
      if (x[row * columns + i]! < 0) continue;
      total += x[row * columns + i]!;
    }
    out[row] = options.epilogue(total, row);`,
);

test("a small kernel reads well", async () => {
  const template = await parseTemplate(source, "rowSums", "/kernels/row-sums.ts");
  const kernel = specialize(template, {
    name: "row_sums",
    options: {
      tile: 2,
      epilogue: {
        parameters: [
          { name: "sum", type: "f32" },
          { name: "row", type: "i32" },
        ],
        captures: [{ kind: "buffer", name: "x", element: "f32", access: "read" }],
        body: [],
        result: {
          kind: "binary",
          type: "f32",
          operator: "mul",
          left: { kind: "ref", type: "f32", name: "sum" },
          right: { kind: "load", type: "f32", buffer: "x", index: { kind: "ref", type: "i32", name: "row" } },
        },
      },
    },
  });
  const wat = renderFunction(kernel, "  ");
  console.log(wat);
  const bytes = await assemble("test", `(module\n  (import "env" "memory" (memory 1))\n${wat}\n)`);
  expect(bytes.length).toBeGreaterThan(0);
});
