import { isFixedPoint } from "../../../codegen/schedule/cpu/fixed-point.ts";
import type { PlannedCheck, TargetName } from "../../../codegen/schedule/plan.ts";
import { type Graph, type Node, topologicalOrder, type Value } from "../../../ir/graph.ts";
import { interpret } from "../../../ir/interpret.ts";
import { partitionParameters } from "../../../ir/passes/partition-parameters.ts";
import { functionsOf, isScalarExpr, type ScalarFunction } from "../../../ir/scalar.ts";
import type { Tensor } from "../../../ir/tensor.ts";

/** What a device must compute. */
export interface Answer {
  readonly tensor: Tensor;
  /** By how much each element may differ, beside the last bits of a float. */
  readonly tolerance: Float64Array;
}

/** Rounding errors of a kernel's steps are taken to be no more than such a change of its operands. */
const CHANGE = 2 ** -20;
/**
 * These subtract products within, which cancel as no change of their operands shows: what is left may be off by the
 * last bits of what was subtracted, and a row of attention's weights that vanish is nothing beside the others.
 */
const cancellingOps: readonly Node["op"][] = ["attention_gradient", "rms_norm_gradient"];
const CANCELLING_CHANGE = 2 ** -16;
/** 1 + erf and 1 + tanh cancel for negative x, and so does what is left of a saturated function until its limit. */
const cancellingFunctions: readonly ScalarFunction[] = ["gelu", "gelu_tanh", "sigmoid", "tanh", "erf"];
/**
 * Of the CPU's products in fixed point one operand has 16 bits, relative to the largest of 256 elements, which may be
 * many times the others: so much may their operands change, and elements relative to the largest of a row.
 */
const FIXED_POINT_ERROR = 2 ** -12;
/** Relative to the largest element of a row, what sums and products of it may lose. */
const ROW_ERROR = 2 ** -21;
/** Devices may flush smaller floats. */
const LEAST_NORMAL = 2 ** -126;

/**
 * What the reference interpreter computes for the values that a check observes. What a target may round otherwise is
 * found by experiment: how far results move when f32 operands do, by a few units in their last places. Ops that the
 * numerics contract fixes for every target (codes, accumulators, copies) may not move at all.
 */
export function answers(
  { graph }: Pick<PlannedCheck, "graph">,
  target: TargetName,
  operands: ReadonlyMap<Value, Tensor>,
  symbols: ReadonlyMap<string, number>,
): readonly Answer[] {
  const right = evaluate(graph, operands, symbols);
  const nodes = topologicalOrder(graph);
  const cancels = nodes.some(({ op }) => cancellingOps.includes(op));
  const leavesBits = cancels || nodes.some(appliesCancelling);
  const fixedPoint = target === "wasm" && nodes.some(isFixedPoint);
  const rowError = fixedPoint ? FIXED_POINT_ERROR : ROW_ERROR;
  const change = fixedPoint ? FIXED_POINT_ERROR : cancels ? CANCELLING_CHANGE : CHANGE;
  const moved = isExact(graph)
    ? []
    : [1, 2].map((seed) => evaluate(graph, changed(graph, operands, change, seed), symbols));
  return right.map((tensor, index) => {
    const { data, type } = tensor;
    const columns = type.dims.at(-1) ?? 1;
    const tolerance = new Float64Array(data.length);
    const least = leavesBits ? ROW_ERROR * largest([tensor, ...operands.values()]) : LEAST_NORMAL;
    for (let row = 0; row * columns < data.length; row++) {
      let most = 0;
      for (let i = row * columns; i < (row + 1) * columns; i++) {
        const value = data[i]!;
        if (type.dtype === "f32" && Number.isFinite(value))
          most = Math.max(most, rowError * Math.abs(value), least);
        for (const other of moved) {
          const by = Math.abs(other[index]!.data[i]! - value);
          if (Number.isFinite(by)) most = Math.max(most, 2 * by);
        }
      }
      tolerance.fill(most, row * columns, (row + 1) * columns);
    }
    return { tensor, tolerance };
  });
}

function appliesCancelling({ op, attributes }: Node): boolean {
  const expressions = Object.values<unknown>(attributes).filter((value) => isScalarExpr(value));
  return cancellingFunctions.some((fn) => fn === op || expressions.some((expr) => functionsOf(expr).has(fn)));
}

/** The largest magnitude of finite floats. */
function largest(tensors: readonly Tensor[]): number {
  let most = 0;
  for (const { type, data } of tensors) {
    if (type.dtype !== "f32") continue;
    for (const value of data) if (Number.isFinite(value)) most = Math.max(most, Math.abs(value));
  }
  return most;
}

function evaluate(
  graph: Graph,
  operands: ReadonlyMap<Value, Tensor>,
  symbols: ReadonlyMap<string, number>,
): readonly Tensor[] {
  const tensorsOf = (leaves: readonly Value[]) =>
    new Map(leaves.map((leaf) => [leaf.name ?? "", operands.get(leaf)!]));
  const { outputs } = interpret(graph, {
    inputs: tensorsOf(graph.inputs),
    parameters: tensorsOf(graph.parameters),
    states: tensorsOf(graph.states.map(({ value }) => value)),
    symbols,
  });
  return Object.values(outputs);
}

/** Ops that only arrange elements, or compute what every target has bit for bit. */
const exactOps: readonly Node["op"][] = [
  "ternary_matmul",
  "embedding",
  "cache_write",
  "reshape",
  "slice",
  "transpose",
  "concat",
  "cast",
];

function isExact(graph: Graph): boolean {
  const { runTime } = partitionParameters(graph);
  return runTime.every((node) =>
    node.op === "quantize"
      ? node.attributes.eps === undefined && node.attributes.prologue === undefined
      : exactOps.includes(node.op),
  );
}

/** The operands with every f32 of inputs and states moved up or down. */
function changed(
  graph: Graph,
  operands: ReadonlyMap<Value, Tensor>,
  change: number,
  seed: number,
): ReadonlyMap<Value, Tensor> {
  const moving = [...graph.inputs, ...graph.states.map(({ value }) => value)].filter(
    ({ type }) => type.dtype === "f32",
  );
  const moved = new Map(operands);
  for (const value of moving) {
    const { type, data } = operands.get(value)!;
    const up = (i: number) => (Math.imul(i + 1, 0x9e3779b1 * seed) >>> 16) % 2 === 0;
    const next = Float32Array.from(data, (x, i) => x * (1 + (up(i) ? change : -change)));
    moved.set(value, { type, data: next });
  }
  return moved;
}
