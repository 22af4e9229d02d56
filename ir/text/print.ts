import { type Graph, type Node, producer, topologicalOrder, type Value } from "../graph.ts";
import { type Op, ops } from "../ops/index.ts";
import { formatNumber, formatScalar, isScalarExpr } from "../scalar.ts";
import { formatType } from "../types.ts";
import { plainName } from "./lex.ts";

/**
 * The text form of a graph. Parsing it gives a graph that prints the same: nodes come in topological order, and
 * name hints are made unique in the order values appear.
 */
export function printGraph(graph: Graph): string {
  const names = new ValueNames(graph);
  const symbols = [...graph.symbols].map(([name, { max }]) => `${name} <= ${max}`);
  const lines = [
    ...graph.inputs.map((value) => `${names.of(value)}: input ${formatType(value.type)}`),
    ...graph.parameters.map((value) => declaration(value, names)),
    ...graph.states.map(({ value }) => declaration(value, names)),
    ...topologicalOrder(graph).map((node) => formatNode(node, names)),
    ...graph.states
      .filter(({ value, next }) => value !== next)
      .map(({ value, next }) => `next ${names.of(value)} = ${names.of(next)}`),
    `return ${graph.outputs.map(({ name, value }) => `${quoteUnlessPlain(name)} = ${names.of(value)}`).join(", ")}`,
  ];
  const header = `graph @${quoteUnlessPlain(graph.name)}(${symbols.join(", ")})`;
  return `${header} {\n${lines.map((line) => `  ${line.trimEnd()}\n`).join("")}}\n`;
}

/** One node as the text form writes it, operands by their hints: for messages and labels. */
export function printNode(node: Node): string {
  return formatNode(node, new ValueNames());
}

function declaration(value: Value, names: ValueNames): string {
  const { origin } = value;
  const path = origin.kind === "parameter" ? origin.path : origin.kind === "state" ? origin.name : "";
  return `${names.of(value)}: ${origin.kind} ${JSON.stringify(path)} ${formatType(value.type)}`;
}

function formatNode(node: Node, names: ValueNames): string {
  const results = node.results.map((result) => `${names.of(result)}: ${formatType(result.type)}`);
  const operands = node.operands.map((operand) => names.of(operand));
  return `${results.join(", ")} = ${node.op}(${operands.join(", ")})${formatAttributes(node)}`;
}

function formatAttributes(node: Node): string {
  const values = node.attributes as Readonly<Record<string, unknown>>;
  // In the schema's order, whatever order they were written in.
  const keys = Object.keys((ops[node.op] as unknown as Op).attributes.shape);
  const record = formatRecord(keys.map((key) => [key, values[key]]));
  return record === "{}" ? "" : ` ${record}`;
}

function formatRecord(entries: readonly (readonly [string, unknown])[]): string {
  const present = entries.filter(([, value]) => value !== undefined);
  return `{${present.map(([key, value]) => `${key} = ${formatAttribute(value)}`).join(", ")}}`;
}

function formatAttribute(value: unknown): string {
  if (typeof value === "number") return formatNumber(value);
  if (Array.isArray(value)) return `[${value.map(formatAttribute).join(", ")}]`;
  if (isScalarExpr(value)) {
    // A bare number would read back as a number, not as an expression.
    return value.kind === "literal" ? `literal(${formatScalar(value)})` : formatScalar(value);
  }
  if (typeof value === "object" && value !== null) return formatRecord(Object.entries(value));
  return JSON.stringify(value);
}

function quoteUnlessPlain(name: string): string {
  return plainName.test(name) ? name : JSON.stringify(name);
}

/** Gives every value its unique printed name. Unnamed values are numbered. */
class ValueNames {
  readonly #names = new Map<Value, string>();
  readonly #taken = new Set<string>();
  /** The next suffix to try for a hint; "" counts unnamed values. */
  readonly #next = new Map<string, number>();

  constructor(graph?: Graph) {
    if (!graph) return;
    // An input's printed name is its name, so inputs choose first.
    for (const value of [...graph.inputs, ...graph.parameters, ...graph.states.map((state) => state.value)]) {
      this.of(value);
    }
    for (const node of topologicalOrder(graph)) for (const result of node.results) this.of(result);
  }

  of(value: Value): string {
    let name = this.#names.get(value);
    if (name === undefined) {
      name = this.#unique(hint(value));
      this.#taken.add(name);
      this.#names.set(value, name);
    }
    return `%${/^[0-9]+$/.test(name) && value.origin.kind === "node" ? name : quoteUnlessPlain(name)}`;
  }

  #unique(hint: string): string {
    if (hint !== "" && !this.#taken.has(hint)) return hint;
    for (let n = this.#next.get(hint) ?? (hint === "" ? 0 : 1); ; n++) {
      const name = hint === "" ? String(n) : `${hint}_${n}`;
      if (this.#taken.has(name)) continue;
      this.#next.set(hint, n + 1);
      return name;
    }
  }
}

/** The name a value asks for; "" for none. A number is no name: it would read back as an unnamed value. */
function hint(value: Value): string {
  const { origin, name } = value;
  if (origin.kind === "input") return origin.name;
  const wanted =
    name ?? (origin.kind === "parameter" ? origin.path : origin.kind === "state" ? origin.name : "");
  return producer(value) && /^[0-9]+$/.test(wanted) ? "" : wanted;
}
