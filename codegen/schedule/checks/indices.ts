import { type Graph, producer, topologicalOrder, type Value } from "../../../ir/graph.ts";
import { sizeOf } from "../../../ir/tensor.ts";
import { type Dim, substituteDims } from "../../../ir/types.ts";

/** What a vector of positions must leave room for. */
interface Room {
  /** First positions of sequences that never go beyond an end. */
  most: number;
  /** Cache slots; sequences that share one follow each other. */
  slots: number;
  length: number;
}

/**
 * Elements for the inputs of a check that say where to look: ids and targets within their table, slots within their cache, positions
 * so that sequences end before caches and tables do and do not overlap. Undefined if the sizes leave no room for that.
 */
export function indexOperands(
  graph: Graph,
  symbols: ReadonlyMap<string, number>,
): ReadonlyMap<Value, readonly number[]> | undefined {
  const sizes = ({ type }: Value): readonly number[] => concrete(type.dims, symbols);
  const values = new Map<Value, readonly number[]>();
  const rooms = new Map<Value, Room>();
  const fill = (value: Value, element: (i: number) => number): void => {
    const leaf = leafOf(value);
    values.set(
      leaf,
      Array.from({ length: sizeOf(sizes(leaf)) }, (_, i) => element(i)),
    );
  };
  const leave = (positions: Value, { most, slots, length }: Room): void => {
    const room = rooms.get(leafOf(positions)) ?? { most, slots, length };
    rooms.set(leafOf(positions), {
      most: Math.min(room.most, most),
      slots: Math.min(room.slots, slots),
      length: Math.max(room.length, length),
    });
  };
  const useCache = (cache: Value, x: Value, slots: Value, positions: Value): void => {
    const [batch, length] = sizes(x) as [number, number];
    const [count, capacity] = sizes(cache) as [number, number];
    fill(slots, (b) => b % count);
    leave(positions, { most: capacity - Math.ceil(batch / count) * length, slots: count, length });
  };
  for (const node of topologicalOrder(graph)) {
    const { op, operands } = node;
    const [a, b, c, d, e] = operands as [Value, Value, Value, Value, Value];
    // No two sequences write to one slot.
    if (op === "cache_write" && sizes(b)[0]! > sizes(a)[0]!) return undefined;
    if (op === "embedding") fill(b, (i) => (7 * i + 3) % sizes(a)[0]!);
    else if (op === "embedding_gradient") fill(b, (i) => (7 * i + 3) % node.attributes.vocabulary);
    else if (op === "cross_entropy" || op === "cross_entropy_gradient") {
      const { ignore_index: ignored } = node.attributes;
      fill(b, (i) => (i === 1 ? ignored : (7 * i + 3) % sizes(a).at(-1)!));
    } else if (op === "cache_write") useCache(a, b, c, d);
    else if (op === "attention" && operands.length > 3) useCache(b, a, d, e);
    else if (op === "rope") {
      const [batch, length] = sizes(a) as [number, number];
      leave(d, { most: sizes(b)[0]! - length, slots: batch, length });
    }
  }
  for (const [positions, { most, slots, length }] of rooms) {
    if (most < 0) return undefined;
    const starts = [most, 0, Math.floor(most / 2)];
    fill(positions, (b) => starts[(b % slots) % starts.length]! + Math.floor(b / slots) * length);
  }
  return values;
}

/** What a value's elements come from, if ops between only arrange or repeat them. */
export function leafOf(value: Value): Value {
  const node = producer(value);
  const arranges =
    node !== undefined && ["reshape", "slice", "transpose", "broadcast", "after"].includes(node.op);
  return arranges ? leafOf(node.operands[0]!) : value;
}

function concrete(dims: readonly Dim[], symbols: ReadonlyMap<string, number>): readonly number[] {
  return substituteDims(dims, symbols) as readonly number[];
}
