/** Each op by itself, on the operands it has in random graphs of its group: what every target is put to. */
import fc from "fast-check";
import { expect } from "vitest";
import type { TargetName } from "../../codegen/schedule/plan.ts";
import type { Graph } from "../../ir/graph.ts";
import type { OpName } from "../../ir/ops/index.ts";
import { stepwise, type Tier } from "./comparisons.ts";
import { assertPrepared } from "./prepared.ts";
import { graphs } from "./random-graph.ts";
import { nodeTrials, type Trial } from "./trials.ts";

export interface OpGroup {
  readonly name: string;
  readonly ops: readonly OpName[];
  /**
   * Random graphs to try, by class of target: a GPU that the processor plays compiles each kernel for long. None where
   * the class does not cover the ops. A browser runs as many as Dawn unless given.
   */
  readonly runs: { readonly wasm: number; readonly gpu?: number; readonly browser?: number };
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
    runs: { wasm: 30, gpu: 12 },
  },
  {
    name: "fused elementwise, cast, maximum and minimum",
    ops: ["elementwise", "cast", "max", "min"],
    runs: { wasm: 40, gpu: 12 },
  },
  {
    name: "math functions",
    ops: ["exp", "log", "tanh", "sigmoid", "erf", "silu", "gelu", "gelu_tanh"],
    runs: { wasm: 30, gpu: 12 },
  },
  {
    name: "reductions",
    ops: ["sum", "mean", "max_reduce", "min_reduce", "transpose"],
    runs: { wasm: 40, gpu: 12 },
  },
  {
    name: "movement",
    ops: ["reshape", "transpose", "slice", "concat", "cast", "broadcast", "pad", "axis_length", "after"],
    runs: { wasm: 30, gpu: 12 },
  },
  { name: "rows", ops: ["rms_norm", "softmax", "transpose", "slice"], runs: { wasm: 40, gpu: 8 } },
  { name: "top k", ops: ["top_k", "neg", "transpose", "slice"], runs: { wasm: 40, gpu: 8 } },
  { name: "quantize", ops: ["quantize"], runs: { wasm: 40, gpu: 6, browser: 3 } },
  { name: "ternary products", ops: ["ternary_matmul", "quantize"], runs: { wasm: 25, gpu: 4, browser: 2 } },
  { name: "linear", ops: ["linear"], runs: { wasm: 20, gpu: 3, browser: 1 } },
  { name: "products of activations", ops: ["batch_matmul", "transpose"], runs: { wasm: 20, gpu: 3 } },
  { name: "embedding", ops: ["embedding"], runs: { wasm: 30, gpu: 8 } },
  {
    name: "rope, cache and attention",
    ops: ["rope", "cache_write", "attention", "reshape"],
    runs: { wasm: 40, gpu: 5 },
  },
  {
    name: "gradients of linear layers",
    ops: ["linear_input_gradient", "linear_weight_gradient", "quantize"],
    runs: { wasm: 30, gpu: 2 },
  },
  {
    name: "gradients of norms, attention and embeddings",
    ops: ["rms_norm_gradient", "attention_gradient", "embedding_gradient", "transpose"],
    runs: { wasm: 30, gpu: 4 },
  },
  { name: "cross-entropy", ops: ["cross_entropy", "cross_entropy_gradient"], runs: { wasm: 30, gpu: 3 } },
];

/** The groups that a target covers, each with how many graphs to try. */
export function groupsOf(
  target: TargetName | "browser",
): (readonly [name: string, group: OpGroup, runs: number])[] {
  return opGroups.flatMap((group) => {
    const { wasm, gpu, browser = gpu } = group.runs;
    const runs = { wasm, webgpu: gpu, cuda: gpu, browser }[target];
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

/** How a target attempts trials. */
export interface Attempts {
  readonly attempt: (trial: Trial) => Promise<void>;
  /** Told first of every trial, where making many ready together is faster. */
  readonly prepare?: (trials: readonly Trial[]) => Promise<void>;
  readonly tier?: Tier;
}

/** Attempts every node of random graphs; fails too where an op of the group was in none of them. */
export async function attemptGroup(
  { ops }: OpGroup,
  runs: number,
  { attempt, prepare, tier = stepwise }: Attempts,
): Promise<void> {
  const attempted = new Set<string>();
  const cases = fc.tuple(graphs({ ops, size: 6, castTo }), fc.integer());
  const trialsOf = ([graph, seed]: readonly [Graph, number]) => nodeTrials(graph, seed, tier);
  await assertPrepared(
    cases,
    prepare && ((all) => prepare(all.flatMap(trialsOf))),
    async (given) => {
      for (const trial of trialsOf(given)) {
        await attempt(trial);
        attempted.add(trial.name);
      }
    },
    runs,
  );
  expect([...attempted]).toEqual(expect.arrayContaining([...ops]));
}
