import { BitloomError } from "../errors/index.ts";
import { inferTypes } from "./builder.ts";
import { formatLocation, type Graph, type Node, resultsOf, topologicalOrder, type Value } from "./graph.ts";
import { isOpName } from "./ops/index.ts";
import { formatType, sameType, symbolPattern, type TensorType, typeProblem } from "./types.ts";

/**
 * Checks that a graph keeps every rule: known ops, operand counts, attributes and types as the op table infers
 * them (which bounds integer accumulations), declared symbols, unique names, values that exist, no cycles, and
 * next states of their state's type. Throws INVALID_GRAPH naming the node, with the broken rule as its cause.
 */
export function verifyGraph(graph: Graph): void {
  for (const [name, { max }] of graph.symbols) {
    if (!symbolPattern.test(name) || !Number.isInteger(max) || max < 1) {
      fail(graph, `symbol ${JSON.stringify(name)} has a bad name or bound`, { received: `max ${max}` });
    }
  }
  const leaves = verifyLeaves(graph);
  requireAcyclic(graph);
  for (const node of topologicalOrder(graph)) verifyNode(graph, node, leaves);
  for (const { value, next } of graph.states) {
    if (!sameType(value.type, next.type)) {
      fail(graph, `the next value of ${describe(value)} has another type`, {
        expected: formatType(value.type),
        received: formatType(next.type),
      });
    }
  }
  for (const value of resultsOf(graph)) requireKnown(graph, value, leaves, "a result of the graph");
  requireUnique(
    graph,
    "output",
    graph.outputs.map((output) => output.name),
  );
}

function verifyLeaves(graph: Graph): ReadonlySet<Value> {
  const states = graph.states.map((state) => state.value);
  const groups = [
    ["input", graph.inputs],
    ["parameter", graph.parameters],
    ["state", states],
  ] as const;
  for (const [kind, values] of groups) {
    for (const value of values) {
      if (value.origin.kind !== kind) fail(graph, `${describe(value)} is listed as ${kind}`);
      verifyType(graph, value.type, describe(value));
    }
    requireUnique(graph, kind, values.map(leafName));
  }
  return new Set([...graph.inputs, ...graph.parameters, ...states]);
}

function verifyNode(graph: Graph, node: Node, leaves: ReadonlySet<Value>): void {
  const what = describeNode(node);
  const options = node.location && { location: formatLocation(node.location) };
  if (!isOpName(node.op)) fail(graph, `${what} is not an op`, options);
  for (const operand of node.operands) requireKnown(graph, operand, leaves, what);
  const types = inferAgain(graph, node, what);
  const fits =
    types.length === node.results.length && types.every((type, i) => sameType(type, node.results[i]!.type));
  if (!fits) {
    fail(graph, `${what} has results of the wrong types`, {
      ...options,
      expected: types.map(formatType).join(", "),
      received: node.results.map((result) => formatType(result.type)).join(", "),
    });
  }
  for (const [index, { type, origin }] of node.results.entries()) {
    verifyType(graph, type, what);
    if (origin.kind !== "node" || origin.node !== node || origin.index !== index) {
      fail(graph, `result ${index} of ${what} names another origin`, options);
    }
  }
}

function inferAgain(graph: Graph, node: Node, what: string): readonly TensorType[] {
  try {
    return inferTypes(
      node.op,
      node.operands.map((operand) => operand.type),
      node.attributes,
      node.location,
    );
  } catch (cause) {
    if (!(cause instanceof BitloomError)) throw cause;
    return fail(graph, `${what} breaks a rule of its op`, {
      ...(cause.expected && { expected: cause.expected }),
      ...(cause.received && { received: cause.received }),
      ...(cause.location && { location: cause.location }),
      cause,
    });
  }
}

function verifyType(graph: Graph, type: TensorType, what: string): void {
  const problem = typeProblem(type, (symbol) => graph.symbols.has(symbol));
  if (problem) fail(graph, `${what} has ${problem}`, { received: formatType(type) });
}

function requireKnown(graph: Graph, value: Value, leaves: ReadonlySet<Value>, user: string): void {
  const { origin } = value;
  const known = origin.kind === "node" ? origin.node.results[origin.index] === value : leaves.has(value);
  if (!known) fail(graph, `${user} reads ${describe(value)}, which is not a value of this graph`);
}

function requireUnique(graph: Graph, kind: string, names: readonly string[]): void {
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.has(name)) fail(graph, `there are two ${kind}s called ${JSON.stringify(name)}`);
    seen.add(name);
  }
}

/** `topologicalOrder` visits every node once even on a cycle, where some operand then comes after its user. */
function requireAcyclic(graph: Graph): void {
  const done = new Set<Node>();
  for (const node of topologicalOrder(graph)) {
    for (const { origin } of node.operands) {
      if (origin.kind === "node" && !done.has(origin.node)) {
        fail(graph, `${describeNode(node)} depends on itself through ${describeNode(origin.node)}`);
      }
    }
    done.add(node);
  }
}

function leafName({ origin }: Value): string {
  if (origin.kind === "parameter") return origin.path;
  return origin.kind === "node" ? "" : origin.name;
}

function describe(value: Value): string {
  if (value.origin.kind === "node") return `a result of ${describeNode(value.origin.node)}`;
  return `${value.origin.kind} ${JSON.stringify(leafName(value))}`;
}

function describeNode(node: Node): string {
  const name = node.results[0]?.name;
  return name === undefined ? node.op : `${node.op} "${name}"`;
}

function fail(
  graph: Graph,
  summary: string,
  options?: { expected?: string; received?: string; location?: string; cause?: unknown },
): never {
  throw new BitloomError("INVALID_GRAPH", `Graph ${JSON.stringify(graph.name)}: ${summary}`, options);
}
