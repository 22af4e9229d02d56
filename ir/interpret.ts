import { BitloomError } from "../errors/index.ts";
import { type Graph, type Node, topologicalOrder, type Value } from "./graph.ts";
import { type Op, ops } from "./ops/index.ts";
import { type ConcreteType, type Tensor, zeros } from "./tensor.ts";
import { formatType, sameEncoding, substituteDims } from "./types.ts";

export type Tensors = Readonly<Record<string, Tensor>> | ReadonlyMap<string, Tensor>;

export interface InterpretOptions {
  /** Every input, by name. */
  readonly inputs: Tensors;
  /** Every parameter, by path. */
  readonly parameters: Tensors;
  /** States by name; one that is absent is zero. */
  readonly states?: Tensors;
  /** Values of symbols that no input's shape tells. */
  readonly symbols?: Readonly<Record<string, number>> | ReadonlyMap<string, number>;
  /** Sees each node's results as they are made: how one compares a target op by op. */
  readonly onNode?: (node: Node, operands: readonly Tensor[], results: readonly Tensor[]) => void;
}

export interface InterpretResult {
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** The next value of every state. */
  readonly states: Readonly<Record<string, Tensor>>;
  readonly symbols: ReadonlyMap<string, number>;
}

/**
 * Computes a graph by the op table's reference evaluations: the oracle that every target is compared with.
 * Symbols are bound by the shapes of inputs, parameters and states. Throws INVALID_INPUT when a tensor is
 * missing, has another type, or binds a symbol twice or beyond its bound.
 */
export function interpret(graph: Graph, options: InterpretOptions): InterpretResult {
  const leaves = collectLeaves(graph, options);
  const symbols = bindSymbols(graph, leaves, options.symbols ?? {});
  const values = new Map<Value, Tensor>();
  for (const { value, name, tensor } of leaves) {
    const type = concrete(value, symbols);
    if (tensor) requireType(name, type, tensor);
    values.set(value, tensor ?? zeros(type));
  }
  for (const node of topologicalOrder(graph)) {
    const operands = node.operands.map((operand) => values.get(operand)!);
    const types = node.results.map((result) => concrete(result, symbols));
    const results = (ops[node.op] as unknown as Op).evaluate(operands, node.attributes, types);
    for (const [i, result] of node.results.entries()) values.set(result, results[i]!);
    options.onNode?.(node, operands, results);
  }
  return {
    outputs: Object.fromEntries(graph.outputs.map(({ name, value }) => [name, values.get(value)!])),
    states: Object.fromEntries(graph.states.map(({ value, next }) => [leafName(value), values.get(next)!])),
    symbols,
  };
}

interface Leaf {
  readonly value: Value;
  readonly name: string;
  /** Absent only for a state, which starts at zero. */
  readonly tensor: Tensor | undefined;
}

function collectLeaves(graph: Graph, { inputs, parameters, states = {} }: InterpretOptions): Leaf[] {
  const leaf =
    (tensors: Tensors, kind: string, optional = false) =>
    (value: Value): Leaf => {
      const name = leafName(value);
      const tensor = lookup(tensors, name);
      if (!tensor && !optional) {
        throw new BitloomError("INVALID_INPUT", `There is no tensor for ${kind} ${JSON.stringify(name)}`, {
          expected: formatType(value.type),
        });
      }
      return { value, name, tensor };
    };
  return [
    ...graph.inputs.map(leaf(inputs, "input")),
    ...graph.parameters.map(leaf(parameters, "parameter")),
    ...graph.states.map((state) => state.value).map(leaf(states, "state", true)),
  ];
}

function lookup(tensors: Tensors, name: string): Tensor | undefined {
  if (tensors instanceof Map) return tensors.get(name);
  return Object.hasOwn(tensors, name) ? (tensors as Readonly<Record<string, Tensor>>)[name] : undefined;
}

function leafName({ origin }: Value): string {
  if (origin.kind === "parameter") return origin.path;
  return origin.kind === "node" ? "" : origin.name;
}

function bindSymbols(
  graph: Graph,
  leaves: readonly Leaf[],
  given: NonNullable<InterpretOptions["symbols"]>,
): ReadonlyMap<string, number> {
  const symbols = new Map<string, number>();
  const bind = (symbol: string, size: number, source: string) => {
    const known = symbols.get(symbol);
    const max = graph.symbols.get(symbol)?.max ?? 0;
    if (known !== undefined ? known !== size : !Number.isInteger(size) || size < 1 || size > max) {
      throw new BitloomError("INVALID_INPUT", `${source} binds ${symbol} to ${size}`, {
        expected: known === undefined ? `1..${max}` : `${known}, as bound before`,
      });
    }
    symbols.set(symbol, size);
  };
  for (const [symbol, size] of given instanceof Map ? given : Object.entries(given))
    bind(symbol, size, "The caller");
  for (const { value, name, tensor } of leaves) {
    for (const [axis, dim] of value.type.dims.entries()) {
      const size = tensor?.type.dims[axis];
      if (typeof dim === "string" && size !== undefined)
        bind(dim, size, `Axis ${axis} of ${JSON.stringify(name)}`);
    }
  }
  return symbols;
}

function concrete(value: Value, symbols: ReadonlyMap<string, number>): ConcreteType {
  const dims = substituteDims(value.type.dims, symbols);
  const unbound = dims.find((dim) => typeof dim === "string");
  if (unbound !== undefined) {
    throw new BitloomError("INVALID_INPUT", `No input's shape tells the symbol ${unbound}`, {
      hint: "Give it in `symbols`.",
    });
  }
  return { ...value.type, dims: dims as readonly number[] };
}

function requireType(name: string, type: ConcreteType, { type: received }: Tensor): void {
  const fits =
    received.dtype === type.dtype &&
    received.dims.length === type.dims.length &&
    received.dims.every((dim, axis) => dim === type.dims[axis]) &&
    sameEncoding(received.encoding, type.encoding);
  if (!fits) {
    throw new BitloomError("INVALID_INPUT", `The tensor for ${JSON.stringify(name)} has another type`, {
      expected: formatType(type),
      received: formatType(received),
    });
  }
}
