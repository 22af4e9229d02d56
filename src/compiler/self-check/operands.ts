import { indexOperands, leafOf } from "../../../codegen/schedule/checks/indices.ts";
import type { PlannedCheck } from "../../../codegen/schedule/plan.ts";
import { topologicalOrder, type Value } from "../../../ir/graph.ts";
import { type Tensor, tensor } from "../../../ir/tensor.ts";
import { substituteDims } from "../../../ir/types.ts";

/** Floats repeat after so many elements, a prime, so that rows differ and a file need not have all of them. */
export const PERIOD = 1021;

/** Values of every sign and of magnitudes that differ, and some on which kernels have failed. */
const floats: readonly number[] = (() => {
  const special = [0, -0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, 100, -100];
  // The multiplicative generator of Park and Miller (1988).
  let state = 1;
  const next = (): number => {
    state = (16_807 * state) % 0x7fffffff;
    return state / 0x7fffffff;
  };
  return Array.from({ length: PERIOD }, (_, i) => {
    if (i % 97 === 96) return special[Math.floor(i / 97) % special.length]!;
    return (next() < 0.5 ? -1 : 1) * (1 / 64 + 4 * next());
  });
})();

/**
 * Rows that quantizers may get wrong, from the second row on: halves of which the largest makes the scale 1, so that
 * every other one lies between two codes, and zeros.
 */
const hardRows: readonly ((column: number) => number)[] = [
  (column) => (column === 0 ? 127 : (column % 255) / 2 - 63.5),
  () => 0,
];

/** Inputs have hard rows if they are no larger. */
const MOST_WITH_HARD_ROWS = 4 * PERIOD;

/** The tensors of a check's inputs, states and parameters, the same at every build. */
export function checkOperands(
  { graph }: PlannedCheck,
  symbols: ReadonlyMap<string, number>,
): ReadonlyMap<Value, Tensor> {
  const indices = indexOperands(graph, symbols)!;
  const tensors = new Map<Value, Tensor>();
  const states = graph.states.map(({ value }) => value);
  const leaves = [...graph.inputs, ...states, ...graph.parameters];
  for (const [number, value] of leaves.entries()) {
    const { dtype } = value.type;
    const dims = substituteDims(value.type.dims, symbols) as readonly number[];
    const size = dims.reduce((product, dim) => product * dim, 1);
    const columns = dims.at(-1) ?? 1;
    const isInput = value.origin.kind === "input";
    const element = (i: number): number => {
      const known = indices.get(value)?.[i];
      if (known !== undefined) return known;
      const float = floats[(i + 37 * number) % PERIOD]!;
      if (dtype === "bool" || dtype === "u8" || dtype === "u32") return Math.abs(Math.round(8 * float)) % 2;
      if (dtype === "i8") return Math.max(-127, Math.min(127, Math.round(32 * float)));
      if (dtype === "i32") return Math.round(8 * float);
      const hard = isInput && size <= MOST_WITH_HARD_ROWS && columns > 1;
      return (hard ? hardRows[Math.floor(i / columns) - 1]?.(i % columns) : undefined) ?? float;
    };
    tensors.set(
      value,
      tensor(
        dtype,
        dims,
        Array.from({ length: size }, (_, i) => element(i)),
      ),
    );
  }
  for (const node of topologicalOrder(graph)) {
    if (node.op !== "ternary_matmul") continue;
    const [codes, sums] = node.operands.map(leafOf) as [Value, Value];
    const given = tensors.get(codes);
    if (given !== undefined && tensors.has(sums)) tensors.set(sums, rowSums(given, tensors.get(sums)!));
  }
  return tensors;
}

/** The sums of rows of codes, which products with offset codes subtract. */
function rowSums({ type, data }: Tensor, { type: sumsType }: Tensor): Tensor {
  const k = type.dims.at(-1)!;
  const sums = new Int32Array(data.length / k);
  for (let i = 0; i < data.length; i++) sums[Math.floor(i / k)]! += data[i]!;
  return { type: sumsType, data: sums };
}
