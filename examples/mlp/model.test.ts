import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compile } from "bitloom";
import { load } from "bitloom/runtime";
import { expect, it } from "vitest";
import model from "./model.ts";
import { display, properties, weights } from "./weights.ts";

it("the perceptron reads every digit, compiled", async () => {
  const folder = await mkdtemp(join(tmpdir(), "bitloom-mlp-"));
  try {
    const out = join(folder, "artifact");
    await compile(model, { out, weights });
    await using reader = await load(out, { threads: 1 });
    const digits = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    const { digit, properties: judged } = await reader.run({
      segments: new Float32Array(digits.flatMap(display)),
    });
    const rows = digits.map((row) => [...digit!.data.slice(row * 10, row * 10 + 10)]);
    expect(rows.map((row) => row.indexOf(Math.max(...row)))).toEqual(digits);
    const yes = (name: (typeof properties)[number]) =>
      digits.filter((row) => judged!.data[row * 3 + properties.indexOf(name)]! > 0);
    expect(yes("odd")).toEqual([1, 3, 5, 7, 9]);
    expect(yes("prime")).toEqual([2, 3, 5, 7]);
    expect(yes("above four")).toEqual([5, 6, 7, 8, 9]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
