/** What each target covers, as docs/targets.md tells it. */
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { cpuRules } from "../codegen/schedule/cpu/rules.ts";
import { cudaRules } from "../codegen/schedule/cuda/rules.ts";
import { gpuRules } from "../codegen/schedule/gpu/rules.ts";
import type { RuleTable } from "../codegen/schedule/rules.ts";
import { type OpName, ops } from "../ir/ops/index.ts";
import { comparisonOf, comparisons, cudaTier, stepwise, type Tier, wgslTier } from "./support/comparisons.ts";
import { latentOps } from "./support/latent-trials.ts";
import { groupsOf } from "./support/op-groups.ts";

const names = Object.keys(ops) as OpName[];
const targets = [
  { target: "wasm", rules: cpuRules, tier: stepwise },
  { target: "webgpu", rules: gpuRules, tier: wgslTier },
  { target: "cuda", rules: cudaRules, tier: cudaTier },
] as const;
const isCovered = (op: OpName, rules: RuleTable) => !("uncovered" in Object(rules[op]));

test("docs/targets.md lists each op with what each target owes", async () => {
  const text = await readFile(new URL("../docs/targets.md", import.meta.url), "utf8");
  const listed = text.split("\n").filter((line) => line.startsWith("| `"));
  const owes = (op: OpName, rules: RuleTable, tier: Tier) => {
    if (!isCovered(op, rules)) return "no";
    return comparisonOf(op, tier) === "bits" ? "bits" : "bound";
  };
  const rows = names.map((op) => {
    const cells = targets.map(({ rules, tier }) => owes(op, rules, tier));
    return `| \`${op}\` | ${cells.join(" | ")} |`;
  });
  expect(listed).toEqual(rows);
});

test.each(targets)("every op that $target covers is compared with the interpreter and in a group", (it) => {
  const tried = new Set([...groupsOf(it.target).flatMap(([, { ops }]) => ops), ...latentOps]);
  for (const op of names.filter((name) => isCovered(name, it.rules))) {
    expect(comparisons[op], op).not.toHaveProperty("uncovered");
    expect(tried, op).toContain(op);
  }
});
