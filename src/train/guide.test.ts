/** docs/training.md says what is so: its first example is a training, and its table has every option. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { alphabetConfig } from "../../test/support/alphabet-model.ts";
import { checkOptions } from "../dsl/options.ts";
import * as bitloom from "../index.ts";
import { constantRate, defineTraining, type Training } from "./index.ts";
import { recipeOf } from "./recipe.ts";
import { openStart } from "./start.ts";
import { readText } from "./text-data.ts";
import {
  distillationWeightRows,
  distillRows,
  quantizationRows,
  type TrainingOptionRow,
  trainingRows,
} from "./training-options.ts";

const guide = await readFile(fileURLToPath(new URL("../../docs/training.md", import.meta.url)), "utf8");

test("the first example is a training that finds its text", async () => {
  const example = /```ts\n(\/\/ training\.ts\n.*?)```/s.exec(guide)![1]!;
  const body = example
    .replace(/import (\{.*?\}) from "bitloom";/, "const $1 = bitloom;")
    .replace("export default", "return");
  const training: Training = new Function("bitloom", body)(bitloom);
  const folder = await mkdtemp(join(tmpdir(), "bitloom-guide-"));
  try {
    await writeFile(join(folder, "corpus.txt"), "It was a foggy day, and Tom was ill. ".repeat(400));
    const start = await openStart(training, folder);
    const recipe = recipeOf(training, start);
    const { trained, heldOut } = await readText({ ...start, text: training.text }, recipe, folder);
    expect(Math.min(trained.count, heldOut.count)).toBeGreaterThan(0);
    await start.weights.close();
  } finally {
    await rm(folder, { recursive: true });
  }
});

function table(groups: readonly (readonly [string, Readonly<Record<string, TrainingOptionRow>>])[]): string {
  const cell = (text: string) => text.replaceAll("|", "\\|");
  const rows = groups.flatMap(([owner, of]) =>
    Object.entries(of).map(
      ([name, { takes, default: otherwise = "has to be given", meaning }]) =>
        `| \`${owner}${name}\` | ${cell(takes)} | ${cell(otherwise)} | ${cell(meaning)} |`,
    ),
  );
  return ["| option | what it takes | default | what it is |", "|---|---|---|---|", ...rows].join("\n");
}

test("the table has every option as it is checked", () => {
  const groups = [
    ["", trainingRows],
    ["quantization.", quantizationRows],
    ["distill.", distillRows],
    ["distill.weights.", distillationWeightRows],
  ] as const;
  const written = /<!-- options -->\n(.*?)\n<!-- end of options -->/s.exec(guide)![1]!;
  expect(written).toBe(table(groups));
});

test("defaults are those of the table", () => {
  const training = defineTraining({
    model: alphabetConfig,
    text: [{ content: "" }],
    steps: 20,
    batch: 1,
    sequence: 8,
    learningRate: constantRate(1),
  });
  const literal = Object.entries(trainingRows).filter(([, row]) =>
    /^("\w+"|[\d.]+)$/.test(row.default ?? ""),
  );
  expect(literal.length).toBeGreaterThanOrEqual(6);
  for (const [name, row] of literal)
    expect(training[name as keyof Training], name).toEqual(JSON.parse(row.default!));
});

test("examples are valid", () => {
  for (const rows of [trainingRows, quantizationRows, distillRows, distillationWeightRows]) {
    for (const [name, { example, isValid }] of Object.entries<TrainingOptionRow>(rows)) {
      const text = example.replace(", …", "");
      const value = new Function("bitloom", `with (bitloom) return (${text});`)(bitloom);
      expect(isValid(value), name).toBe(true);
      const inner = { distill: distillRows, quantization: quantizationRows, weights: distillationWeightRows }[
        name
      ];
      if (inner !== undefined && (rows !== trainingRows) === (name === "weights"))
        checkOptions(value, inner, name);
    }
  }
});
