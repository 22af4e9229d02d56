/** Each op by itself, on the operands it has in random graphs of its group: what every target is put to. */
import fc from "fast-check";
import { expect } from "vitest";
import type { OpName } from "../../ir/ops/index.ts";
import { stepwise, type Tier } from "./comparisons.ts";
import { graphs } from "./random-graph.ts";
import { nodeTrials, type Trial } from "./trials.ts";

export interface OpGroup {
  readonly name: string;
  readonly ops: readonly OpName[];
  /**
   * Random graphs to try, by target: a GPU that the processor plays compiles each kernel for long. None where the
   * target does not cover the ops.
   */
  readonly runs: { readonly wasm: number; readonly webgpu?: number };
}

const opGroups: readonly OpGroup[] = [
  {
    name: "elementwise",
    ops: [
      "neg",
      "abs",
      "sign",
      "sqrt",
      "rsqrt",
      "reciprocal",
      "relu",
      "relu2",
      "to_f32",
      "add",
      "sub",
      "mul",
      "div",
    ],
    runs: { wasm: 30, webgpu: 12 },
  },
  {
    name: "fused elementwise, cast, maximum and minimum",
    ops: ["elementwise", "cast", "max", "min"],
    runs: { wasm: 40, webgpu: 12 },
  },
  {
    name: "math functions",
    ops: ["exp", "log", "tanh", "sigmoid", "erf", "silu", "gelu", "gelu_tanh"],
    runs: { wasm: 30, webgpu: 12 },
  },
  {
    name: "reductions",
    ops: ["sum", "mean", "max_reduce", "min_reduce", "transpose"],
    runs: { wasm: 40, webgpu: 12 },
  },
  {
    name: "movement",
    ops: ["reshape", "transpose", "slice", "concat", "cast", "broadcast", "pad", "axis_length"],
    runs: { wasm: 30, webgpu: 12 },
  },
  { name: "rows", ops: ["rms_norm", "softmax", "transpose", "slice"], runs: { wasm: 40, webgpu: 8 } },
  { name: "top k", ops: ["top_k", "neg", "transpose", "slice"], runs: { wasm: 40, webgpu: 8 } },
  { name: "quantize", ops: ["quantize"], runs: { wasm: 40, webgpu: 6 } },
  { name: "ternary products", ops: ["ternary_matmul", "quantize"], runs: { wasm: 25, webgpu: 4 } },
  { name: "linear", ops: ["linear"], runs: { wasm: 20, webgpu: 3 } },
  { name: "embedding", ops: ["embedding"], runs: { wasm: 30, webgpu: 8 } },
  {
    name: "rope, cache and attention",
    ops: ["rope", "cache_write", "attention", "reshape"],
    runs: { wasm: 40, webgpu: 5 },
  },
  {
    name: "gradients of linear layers",
    ops: ["linear_input_gradient", "linear_weight_gradient", "quantize"],
    runs: { wasm: 30 },
  },
  {
    name: "gradients of norms, attention and embeddings",
    ops: ["rms_norm_gradient", "attention_gradient", "embedding_gradient", "transpose"],
    runs: { wasm: 30 },
  },
  { name: "cross-entropy", ops: ["cross_entropy", "cross_entropy_gradient"], runs: { wasm: 30 } },
];

/** The groups that a target covers, each with how many graphs to try. */
export function groupsOf(
  target: keyof OpGroup["runs"],
): (readonly [name: string, group: OpGroup, runs: number])[] {
  return opGroups.flatMap((group) => {
    const runs = group.runs[target];
    return runs === undefined ? [] : [[group.name, group, runs] as const];
  });
}

/** What a whole model may have that WASM runs, and what is computed while it is built. */
export const runnableOps: readonly OpName[] = [
  ...new Set(groupsOf("wasm").flatMap(([, { ops }]) => ops)),
  ...(["bit_linear", "absmean_quantize", "quantize_int8", "weight_scale", "rope_table", "constant"] as const),
];

/** Calls carry no bool. */
export const castTo = ["f32", "f16", "bf16", "i8", "u8", "i32", "u32"] as const;

/** Attempts every node of random graphs; fails too where an op of the group was in none of them. */
export async function attemptGroup(
  { ops }: OpGroup,
  runs: number,
  attempt: (trial: Trial) => Promise<void>,
  tier: Tier = stepwise,
): Promise<void> {
  const attempted = new Set<string>();
  await fc.assert(
    fc.asyncProperty(graphs({ ops, size: 6, castTo }), fc.integer(), async (graph, seed) => {
      for (const trial of nodeTrials(graph, seed, tier)) {
        await attempt(trial);
        attempted.add(trial.name);
      }
    }),
    { numRuns: runs },
  );
  expect([...attempted]).toEqual(expect.arrayContaining([...ops]));
}
