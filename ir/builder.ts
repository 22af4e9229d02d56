import { BitloomError } from "../errors/index.ts";
import {
  formatLocation,
  type Graph,
  type Node,
  type Origin,
  type Output,
  type SourceLocation,
  type State,
  type SymbolBound,
  type Value,
} from "./graph.ts";
import { type Op, Site } from "./ops/define.ts";
import { type Attributes, type OpName, ops } from "./ops/index.ts";
import { type Dim, formatType, sameType, symbolPattern, type TensorType, typeProblem } from "./types.ts";

/**
 * The result types of an op on operands of these types. Throws INVALID_GRAPH on a wrong number of operands,
 * INVALID_ATTRIBUTE, SHAPE_MISMATCH or DTYPE_MISMATCH.
 */
export function inferTypes<Name extends OpName>(
  op: Name,
  operands: readonly TensorType[],
  attributes: Attributes<Name>,
  location?: SourceLocation,
): readonly TensorType[] {
  const definition = ops[op] as unknown as Op;
  const place = location && { location: formatLocation(location) };
  const parsed = definition.attributes.safeParse(attributes);
  if (!parsed.success) {
    const named = (name: PropertyKey) =>
      `${String(name)}: ${JSON.stringify((attributes as Record<PropertyKey, unknown>)[name]) ?? "nothing"}`;
    throw new BitloomError(
      "INVALID_ATTRIBUTE",
      `${op}: an attribute is missing, unknown or has a wrong value`,
      {
        expected: parsed.error.issues
          .map((issue) => `${issue.path.join(".") || "attributes"}: ${issue.message}`)
          .join("; "),
        received: parsed.error.issues
          .map(({ path: [name] }) => (name === undefined ? Object.keys(attributes).join(", ") : named(name)))
          .join("; "),
        ...place,
      },
    );
  }
  const names = definition.operands;
  const required = names.filter((name) => !name.endsWith("?") && !name.endsWith("...")).length;
  const most = names.at(-1)?.endsWith("...") ? Number.POSITIVE_INFINITY : names.length;
  if (operands.length < required || operands.length > most) {
    throw new BitloomError("INVALID_GRAPH", `${op}: wrong number of operands`, {
      expected: `(${names.join(", ")})`,
      received: `${operands.length} operands`,
      ...place,
    });
  }
  return definition.infer(operands, attributes, new Site(op, names, operands, location));
}

export interface NodeOptions {
  readonly location?: SourceLocation | undefined;
  /** Name hints of the results. */
  readonly names?: readonly (string | undefined)[];
}

export interface ApplyOptions extends NodeOptions {
  /** Name hint of the first result. */
  readonly name?: string | undefined;
}

/** A node with type-checked operands. Throws as `inferTypes` does. */
export function makeNode<Name extends OpName>(
  op: Name,
  operands: readonly Value[],
  attributes: Attributes<Name>,
  { location, names = [] }: NodeOptions = {},
): Node<Name> {
  const types = inferTypes(
    op,
    operands.map((operand) => operand.type),
    attributes,
    location,
  );
  const results: Value[] = [];
  const node = { op, operands, attributes, results, ...(location && { location }) } as unknown as Node<Name>;
  for (const [index, type] of types.entries()) {
    results.push(makeValue(type, { kind: "node", node: node as Node, index }, names[index]));
  }
  return node;
}

/** A value; used where one is made outside a builder, such as a pass that adds a parameter. */
export function makeValue(type: TensorType, origin: Origin, name?: string): Value {
  return { type, origin, ...(name !== undefined && { name }) };
}

/** Makes a graph step by step. Every method throws at once on what `verifyGraph` would refuse. */
export class GraphBuilder {
  readonly name: string;
  readonly #symbols = new Map<string, SymbolBound>();
  readonly #inputs: Value[] = [];
  readonly #parameters = new Map<string, Value>();
  readonly #states = new Map<string, Value>();
  readonly #next = new Map<Value, Value>();
  readonly #outputs: Output[] = [];

  constructor(name: string) {
    this.name = name;
  }

  /** Declares a symbol with 1 <= symbol <= max and returns it as a dim. Again with the same bound is the same. */
  symbol(name: string, bound: SymbolBound): Dim {
    const known = this.#symbols.get(name);
    if (
      !symbolPattern.test(name) ||
      !Number.isInteger(bound.max) ||
      bound.max < 1 ||
      (known && known.max !== bound.max)
    ) {
      throw new BitloomError("INVALID_GRAPH", `Symbol ${JSON.stringify(name)} cannot be declared so`, {
        expected: known
          ? `max ${known.max}, as declared before`
          : "a name of letters, digits and _, and a positive integer max",
        received: `max ${bound.max}`,
      });
    }
    this.#symbols.set(name, { max: bound.max });
    return name;
  }

  input(name: string, type: TensorType): Value {
    this.#requireNew(
      name,
      "input",
      this.#inputs.some((value) => originName(value) === name),
    );
    const value = this.#declare(type, { kind: "input", name }, name);
    this.#inputs.push(value);
    return value;
  }

  /**
   * A weight by checkpoint path. A path asked for again with the same type is the same value. `name` is the
   * text form's hint where it differs from the path.
   */
  parameter(path: string, type: TensorType, name = path): Value {
    const known = this.#parameters.get(path);
    if (known) {
      if (sameType(known.type, type)) return known;
      throw new BitloomError("SHAPE_MISMATCH", `Parameter ${JSON.stringify(path)} is used with two types`, {
        expected: formatType(known.type),
        received: formatType(type),
      });
    }
    const value = this.#declare(type, { kind: "parameter", path }, name);
    this.#parameters.set(path, value);
    return value;
  }

  /** State that outlives a call, zero at first; give its next value with `setNext`, or it keeps its value. */
  state(name: string, type: TensorType, valueName = name): Value {
    this.#requireNew(name, "state", this.#states.has(name));
    const value = this.#declare(type, { kind: "state", name }, valueName);
    this.#states.set(name, value);
    return value;
  }

  setNext(state: Value, next: Value): void {
    if (state.origin.kind !== "state" || this.#states.get(state.origin.name) !== state) {
      throw new BitloomError("INVALID_GRAPH", "setNext takes a state of this graph");
    }
    if (!sameType(state.type, next.type)) {
      throw new BitloomError(
        "SHAPE_MISMATCH",
        `The next value of state ${JSON.stringify(state.origin.name)} has another type`,
        {
          expected: formatType(state.type),
          received: formatType(next.type),
        },
      );
    }
    this.#next.set(state, next);
  }

  /** The results of an op. `name` is a hint for the first (or only) result. */
  apply<Name extends OpName>(
    op: Name,
    operands: readonly Value[],
    attributes: Attributes<Name>,
    options: ApplyOptions = {},
  ): readonly Value[] {
    return makeNode(op, operands, attributes, {
      location: options.location,
      names: options.names ?? [options.name],
    }).results;
  }

  /** The result of an op that has one. */
  one<Name extends OpName>(
    op: Name,
    operands: readonly Value[],
    attributes: Attributes<Name>,
    options: ApplyOptions = {},
  ): Value {
    const results = this.apply(op, operands, attributes, options);
    if (results.length !== 1) {
      throw new BitloomError("INVALID_GRAPH", `${op} has ${results.length} results; take them with apply`);
    }
    return results[0]!;
  }

  output(name: string, value: Value): void {
    this.#requireNew(
      name,
      "output",
      this.#outputs.some((output) => output.name === name),
    );
    this.#outputs.push({ name, value });
  }

  build(): Graph {
    const states: State[] = [...this.#states.values()].map((value) => ({
      value,
      next: this.#next.get(value) ?? value,
    }));
    return {
      name: this.name,
      symbols: new Map(this.#symbols),
      inputs: [...this.#inputs],
      parameters: [...this.#parameters.values()],
      states,
      outputs: [...this.#outputs],
    };
  }

  #declare(type: TensorType, origin: Origin, name: string): Value {
    const problem = typeProblem(type, (symbol) => this.#symbols.has(symbol));
    if (problem) {
      throw new BitloomError("INVALID_GRAPH", `${origin.kind} ${JSON.stringify(name)} has ${problem}`, {
        received: formatType(type),
      });
    }
    return makeValue(type, origin, name);
  }

  #requireNew(name: string, what: string, taken: boolean): void {
    if (taken)
      throw new BitloomError("INVALID_GRAPH", `There are two ${what}s called ${JSON.stringify(name)}`);
  }
}

function originName(value: Value): string | undefined {
  return value.origin.kind === "input" ? value.origin.name : undefined;
}
