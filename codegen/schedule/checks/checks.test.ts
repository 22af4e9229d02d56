import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type OpName, ops } from "../../../ir/ops/index.ts";
import { runForwardPipeline } from "../../../ir/passes/pipelines.ts";
import { printGraph } from "../../../ir/text/print.ts";
import { cachedAttentionGraph } from "../../../test/support/cached-attention.ts";
import { graphs } from "../../../test/support/random-graph.ts";
import { smallModel } from "../../../test/support/small-model.ts";
import { cpuRules } from "../cpu/rules.ts";
import { gpuRules } from "../gpu/rules.ts";
import type { PlannedChecks, TargetName } from "../plan.ts";
import type { RuleTable } from "../rules.ts";
import { schedule } from "../schedule.ts";
import { holds } from "../symbols.ts";

/** Kernels that some run of a check has compute something that is observed, or that an observed step reads. */
function exercised({ checks }: PlannedChecks): ReadonlySet<string> {
  return new Set(
    checks.flatMap(({ steps, runs }) =>
      runs.flatMap((symbols) =>
        steps.filter(({ guard }) => holds(guard, symbols)).map(({ kernel }) => kernel),
      ),
    ),
  );
}

const castTo = ["f32", "f16", "bf16", "i8", "u8", "i32", "u32"] as const;
const beforeSchedule: readonly OpName[] = [
  "bit_linear",
  "absmean_quantize",
  "quantize_int8",
  "weight_scale",
  "constant",
  "rope_table",
];
/** Ops that the rules of a target schedule, or that passes lower to such. */
const scheduledBy = (rules: RuleTable): readonly OpName[] =>
  (Object.keys(ops) as OpName[]).filter(
    (op) => typeof rules[op] === "function" || beforeSchedule.includes(op),
  );

const targets: readonly TargetName[] = ["wasm", "webgpu", "cuda"];

describe.each(targets)("on %s", (target) => {
  test("every kernel of a language model has a check, and none is made for checks", async () => {
    const { entries } = smallModel();
    const options = { targets: [target], maxThreads: 1 };
    const names = (plan: Awaited<ReturnType<typeof schedule>>) =>
      plan.targets[target]!.kernels.map(({ name }) => name);
    const without = await schedule(entries, options);
    const plan = await schedule(entries, { ...options, checks: true });
    const checks = plan.targets[target]!.checks!;
    expect(names(plan)).toEqual(names(without));
    expect([...exercised(checks)].sort()).toEqual(names(plan).sort());
    expect(checks.unchecked).toEqual([]);
    expect(plan.targets[target]!.plans).toEqual(without.targets[target]!.plans);
  });

  test("every kernel of random graphs has a check", () =>
    fc.assert(
      fc.asyncProperty(
        graphs({ ops: scheduledBy(target === "wasm" ? cpuRules : gpuRules), size: 12, castTo }),
        async (graph) => {
          const entry = runForwardPipeline(graph);
          const plan = await schedule({ run: entry }, { targets: [target], maxThreads: 1, checks: true });
          expect(plan.targets[target]!.checks!.unchecked, printGraph(entry)).toEqual([]);
        },
      ),
      { numRuns: 25 },
    ));
});

test("a kernel that stores what was left to its reader is checked as what it computes", async () => {
  const entry = cachedAttentionGraph({
    ...{ batch: 2, seq: 1, together: 2, kvHeads: 2, dim: 8, capacity: 200 },
    ...{ change: "written keys are an output", ending: "output" },
  });
  const plan = await schedule({ run: entry }, { targets: ["webgpu"], maxThreads: 1, checks: true });
  const { checks, unchecked } = plan.targets.webgpu!.checks!;
  const kernels = checks.map(({ steps }) => steps.map(({ kernel }) => kernel));
  expect(kernels).toContainEqual(["rope_cache_attention_decode", "attention_combine"]);
  expect(unchecked).toEqual([]);
});
