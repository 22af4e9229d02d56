import { GraphBuilder } from "../../ir/builder.ts";
import type { Graph, SymbolBound, Value } from "../../ir/graph.ts";
import type { Attributes, OpName } from "../../ir/ops/index.ts";
import { type Dim, type DType, dense } from "../../ir/types.ts";
import { declarationOf, type Layer, layerPaths, type NamedLayers } from "./layer.ts";
import { located } from "./located.ts";
import { callerLocation } from "./location.ts";
import { describe } from "./options.ts";
import { Tensor, type TensorSpec } from "./tensor.ts";

/** Where the tokens of a language model's call stand: what its rotary embedding and cache refer to. */
export interface Sequence {
  /** Index of each sequence's first token in its context. */
  readonly positions: Tensor<"i32", ["batch"]>;
  /** Which cache slot each sequence lives in. */
  readonly slots: Tensor<"i32", ["batch"]>;
  /** Most positions a sequence can have. */
  readonly contextLength: number;
}

/** One run of a model's forward function, which leaves a graph. */
export class Trace {
  readonly #builder: GraphBuilder;
  readonly #paths: ReadonlyMap<Layer, string>;
  readonly #values = new Map<string, Value>();
  /** Set for language models. */
  sequence: Sequence | undefined;

  constructor(name: string, symbols: ReadonlyMap<string, SymbolBound>, layers: NamedLayers) {
    this.#builder = new GraphBuilder(name);
    for (const [symbol, bound] of symbols) this.#builder.symbol(symbol, bound);
    this.#paths = layerPaths(layers);
  }

  input<Spec extends TensorSpec>(name: string, spec: Spec): Tensor<Spec["dtype"], Spec["dims"]> {
    return new Tensor(this, this.#builder.input(name, dense(spec.dtype, spec.dims)));
  }

  output(name: string, tensor: Tensor): void {
    this.#builder.output(name, this.#valueOf(tensor));
  }

  finish(): Graph {
    return this.#builder.build();
  }

  /**
   * Adds an op with one result; `name` is what the text form calls it.
   * @throws BitloomError of the op's type rule, with the user's line.
   */
  tensor<D extends DType, S extends readonly Dim[], Op extends OpName>(
    op: Op,
    operands: readonly Tensor[],
    attributes: Attributes<Op>,
    name?: string,
  ): Tensor<D, S> {
    const values = operands.map((operand) => this.#valueOf(operand));
    const options = { location: callerLocation(), names: [name] };
    return new Tensor<D, S>(this, this.#builder.one(op, values, attributes, options));
  }

  /** A value that is the same wherever it is asked for, such as a table: made at the first call. */
  shared<T extends Tensor>(key: string, make: () => T): T {
    const known = this.#values.get(key);
    if (known !== undefined) return new Tensor(this, known) as T;
    const made = make();
    this.#values.set(key, this.#valueOf(made));
    return made;
  }

  /** A layer's parameter, by its name in the layer (`weight`). */
  parameter<S extends readonly Dim[]>(layer: Layer, name: string): Tensor<"f32", S> {
    const path = `${this.pathOf(layer)}.${name}`;
    const { dims } = declarationOf(layer).parameters[name]!;
    return this.shared(
      path,
      () => new Tensor<"f32", S>(this, this.#builder.parameter(path, dense("f32", dims))),
    );
  }

  /**
   * A layer's state, such as a KV cache, which `update` replaces once in a call of the model.
   * @throws BitloomError INVALID_MODEL at the second update.
   */
  updateState<S extends readonly Dim[]>(
    layer: Layer,
    name: string,
    dims: S,
    update: (current: Tensor<"f32", S>) => Tensor<"f32", S>,
  ): Tensor<"f32", S> {
    const path = `${this.pathOf(layer)}.${name}`;
    if (this.#values.has(path)) {
      throw located("INVALID_MODEL", `${path} is written twice in one call`, {
        hint: "Declare one keyValueCache for each attention.",
      });
    }
    const state = this.#builder.state(path, dense("f32", dims));
    const next = update(new Tensor<"f32", S>(this, state));
    this.#values.set(path, this.#valueOf(next));
    this.#builder.setNext(state, this.#valueOf(next));
    return next;
  }

  /** @throws BitloomError UNKNOWN_PARAMETER when the layer is not in the model's tree. */
  pathOf(layer: Layer): string {
    const path = this.#paths.get(layer);
    if (path === undefined) {
      throw located("UNKNOWN_PARAMETER", `a ${declarationOf(layer).type} is called that is not the model's`, {
        expected: `one of the model's layers: ${[...this.#paths.values()].join(", ") || "none"}`,
        received: `a ${declarationOf(layer).type} made elsewhere`,
      });
    }
    return path;
  }

  #valueOf(tensor: Tensor): Value {
    return Tensor.internals(tensor).value;
  }
}

/**
 * The trace that a function's operands belong to.
 * @throws BitloomError INVALID_MODEL for what is not a tensor, or tensors of two models.
 */
export function traceOf(name: string, ...operands: readonly unknown[]): Trace {
  const traces = operands.map((operand) => {
    if (Tensor.is(operand)) return Tensor.internals(operand).trace;
    throw located("INVALID_MODEL", `${name} takes tensors`, {
      expected: "a tensor made from the model's inputs",
      received: describe(operand),
    });
  });
  if (traces.some((trace) => trace !== traces[0])) {
    throw located("INVALID_MODEL", `${name} mixes tensors of two models, or of two traces of one`, {
      hint: "Use inside of forward only what forward was given.",
    });
  }
  return traces[0]!;
}
