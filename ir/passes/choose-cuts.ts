/**
 * Where to cut a computation into segments of which the activations of one at a time are in memory: Chen et al.,
 * "Training Deep Nets with Sublinear Memory Cost" (arXiv:1604.06174). What crosses a cut is kept, so cuts are made where
 * few bytes cross, and there are as many as make kept bytes and the largest segment least: about sqrt(n) in a chain of n.
 */
import { type Graph, type Node, producer, type Value } from "../graph.ts";
import { elementBytes, substituteDims, type TensorType } from "../types.ts";

/** Values that lie in another one's memory. */
const views: readonly Node["op"][] = ["reshape", "transpose", "slice", "broadcast", "after"];

/**
 * The positions before which to cut, ascending.
 * @param nodes operands before their users
 * @param isSaved whether a value is to be had later, unless it is computed again
 * @param isActivation whether a value counts: the others are there all the time
 */
export function chooseCuts(
  nodes: readonly Node[],
  symbols: Graph["symbols"],
  isSaved: (value: Value) => boolean,
  isActivation: (value: Value) => boolean,
): readonly number[] {
  const positions = new Map(nodes.map((node, position) => [node, position]));
  const madeAt = (value: Value) => positions.get(producer(value)!) ?? 0;
  const bytesOf = upperBytes(symbols);
  const saved = new Array<number>(nodes.length).fill(0);
  const crossing = new Array<number>(nodes.length).fill(0);
  for (const [value, last] of lastReads(nodes)) {
    if (!isActivation(value)) continue;
    for (let cut = madeAt(value) + 1; cut <= last; cut++) crossing[cut]! += bytesOf(value);
  }
  const owners = new Set(
    nodes
      .flatMap(({ results }) => results)
      .filter(isSaved)
      .map(owner),
  );
  for (const value of owners) if (isActivation(value)) saved[madeAt(value)]! += bytesOf(value);
  return bestCuts(saved, crossing);
}

/** The value in whose memory a value lies. */
function owner(value: Value): Value {
  let current = value;
  for (let node = producer(current); node && views.includes(node.op); node = producer(current)) {
    current = node.operands[0]!;
  }
  return current;
}

/** Where memory is read last, by position. */
function lastReads(nodes: readonly Node[]): ReadonlyMap<Value, number> {
  const last = new Map<Value, number>();
  for (const [position, { operands }] of nodes.entries()) {
    for (const operand of operands) last.set(owner(operand), position);
  }
  return last;
}

function upperBytes(symbols: Graph["symbols"]): (value: Value) => number {
  const bounds = new Map([...symbols].map(([name, { max }]) => [name, max]));
  return ({ type }: { readonly type: TensorType }) => {
    const dims = substituteDims(type.dims, bounds) as readonly number[];
    return dims.reduce((product, dim) => product * dim, elementBytes(type.dtype));
  };
}

/**
 * The cuts with the least sum of what crosses them and the largest segment's saved bytes.
 * @param saved bytes that each position adds
 * @param crossing bytes that live from before each position to it or beyond
 */
function bestCuts(saved: readonly number[], crossing: readonly number[]): readonly number[] {
  const before = [0];
  for (const bytes of saved) before.push(before.at(-1)! + bytes);
  let best: Cuts = { at: [], bytes: Number.POSITIVE_INFINITY };
  for (let parts = 1; parts <= saved.length; parts++) {
    const found = cutsWithin(before.at(-1)! / parts, before, crossing);
    if (found === undefined) break;
    if (found.bytes < best.bytes) best = found;
  }
  return best.at;
}

interface Cuts {
  readonly at: readonly number[];
  /** What crosses them and what the largest segment saves. */
  readonly bytes: number;
}

/**
 * The cuts that fewest bytes cross so that no segment saves more than `most`; undefined if one node does.
 * @param before bytes saved before each position, and in all
 */
function cutsWithin(most: number, before: readonly number[], crossing: readonly number[]): Cuts | undefined {
  const end = before.length - 1;
  // Of the best cuts of what is before each position, one there: their bytes, the largest segment's, and the cut before.
  const kept: number[] = [0];
  const largest: number[] = [0];
  const previous: number[] = [-1];
  for (let to = 1; to <= end; to++) {
    kept[to] = Number.POSITIVE_INFINITY;
    for (let from = to - 1; from >= 0 && before[to]! - before[from]! <= most; from--) {
      const bytes = kept[from]! + (to === end ? 0 : crossing[to]!);
      if (bytes >= kept[to]!) continue;
      kept[to] = bytes;
      largest[to] = Math.max(largest[from]!, before[to]! - before[from]!);
      previous[to] = from;
    }
    if (kept[to] === Number.POSITIVE_INFINITY) return undefined;
  }
  const at: number[] = [];
  for (let cut = previous[end]!; cut > 0; cut = previous[cut]!) at.unshift(cut);
  return { at, bytes: kept[end]! + largest[end]! };
}
