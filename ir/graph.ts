import type { Attributes, OpName } from "./ops/index.ts";
import type { Dim, TensorType } from "./types.ts";

/** Where in the user's source a value was made, for error messages. */
export interface SourceLocation {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** `model.ts:12:5` */
export function formatLocation(location: SourceLocation): string {
  return `${location.file}:${location.line}:${location.column}`;
}

/** An SSA value. Identity is the object itself; `name` is a hint for the text form, made unique on print. */
export interface Value {
  readonly type: TensorType;
  readonly name?: string;
  /** Who makes it. */
  readonly origin: Origin;
}

export type Origin =
  | { readonly kind: "input"; readonly name: string }
  | { readonly kind: "parameter"; readonly path: string }
  | { readonly kind: "state"; readonly name: string }
  | { readonly kind: "node"; readonly node: Node; readonly index: number };

/** What every node has, whatever its op. */
export interface NodeOf<Op extends OpName> {
  readonly op: Op;
  readonly operands: readonly Value[];
  readonly attributes: Attributes<Op>;
  readonly results: readonly Value[];
  readonly location?: SourceLocation;
}

/**
 * One operation. Immutable: a rewrite makes a new node. Operands always exist before their node.
 * A union over ops, so that testing `node.op` narrows `node.attributes`.
 */
export type Node<Op extends OpName = OpName> = { readonly [K in Op]: NodeOf<K> }[Op];

/** The range of a symbol: 1 <= symbol <= max. */
export interface SymbolBound {
  readonly max: number;
}

/**
 * A function from inputs, parameters and states to outputs and next states. Nodes are not listed: they are
 * what `topologicalOrder` finds from the outputs, so dead code cannot be stored.
 */
export interface Graph {
  readonly name: string;
  readonly symbols: ReadonlyMap<string, SymbolBound>;
  /** Run-time inputs, in call order. */
  readonly inputs: readonly Value[];
  /** Weights, by checkpoint path. */
  readonly parameters: readonly Value[];
  /** State that outlives a call, such as the KV cache; updated in place by its `next` value. */
  readonly states: readonly State[];
  readonly outputs: readonly Output[];
}

export interface State {
  readonly value: Value;
  readonly next: Value;
}

export interface Output {
  readonly name: string;
  readonly value: Value;
}

/** The values a graph computes for others: outputs, then next states. */
export function resultsOf(graph: Graph): readonly Value[] {
  return [...graph.outputs.map((output) => output.value), ...graph.states.map((state) => state.next)];
}

/** The node that makes a value, or undefined for inputs, parameters and states. */
export function producer(value: Value): Node | undefined {
  return value.origin.kind === "node" ? value.origin.node : undefined;
}

/**
 * Every live node, operands before users. The order depends on the graph's structure alone (depth first from
 * the outputs, then the next states, then `others`), so equal graphs list their nodes alike.
 */
export function topologicalOrder(graph: Graph, others: readonly Value[] = []): Node[] {
  const order: Node[] = [];
  const seen = new Set<Node>();
  // Explicit stack: a deep model would overflow a recursive walk.
  const stack: { readonly node: Node; next: number }[] = [];
  const enter = (value: Value) => {
    const node = producer(value);
    if (!node || seen.has(node)) return;
    seen.add(node);
    stack.push({ node, next: 0 });
  };
  for (const root of [...resultsOf(graph), ...others]) {
    enter(root);
    while (stack.length > 0) {
      const frame = stack.at(-1)!;
      const operand = frame.node.operands[frame.next++];
      if (operand) enter(operand);
      else {
        order.push(frame.node);
        stack.pop();
      }
    }
  }
  return order;
}

/**
 * For each value, the live nodes that read it, in topological order (once each). Outputs are not listed. `others` are
 * as for `topologicalOrder`.
 */
export function users(graph: Graph, others: readonly Value[] = []): ReadonlyMap<Value, readonly Node[]> {
  const map = new Map<Value, Node[]>();
  for (const node of topologicalOrder(graph, others)) {
    for (const operand of new Set(node.operands)) {
      const list = map.get(operand);
      if (list) list.push(node);
      else map.set(operand, [node]);
    }
  }
  return map;
}

export type { Dim };
