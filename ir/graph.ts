import type { Attributes, OpName } from "./ops/index.ts";
import type { Dim, TensorType } from "./types.ts";

/** Where in the user's source a value was made, for error messages. */
export interface SourceLocation {
  readonly file: string;
  readonly line: number;
  readonly column: number;
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

/** One operation. Immutable: a rewrite makes a new node. Operands always exist before their node. */
export interface Node<Op extends OpName = OpName> {
  readonly op: Op;
  readonly operands: readonly Value[];
  readonly attributes: Attributes<Op>;
  readonly results: readonly Value[];
  readonly location?: SourceLocation;
}

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

export type { Dim };
