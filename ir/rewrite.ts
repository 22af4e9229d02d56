/**
 * The rewrite engine. A pass is a list of small rules; a rule looks at one node and answers with the values
 * that take the place of its results, or with nothing. Rules run bottom-up, operands before their node, and
 * what a rule makes is rewritten in turn, until no rule answers anywhere. The graph is immutable: sharing
 * is kept by remembering for every value what replaced it.
 *
 * One sweep is linear in the number of nodes and uses no recursion. Sweeps repeat only while rules fire,
 * because a rule that asks how often a value is read may answer differently once other readers are gone.
 */
import { BitloomError } from "../errors/index.ts";
import { makeNode } from "./builder.ts";
import { type Graph, type Node, resultsOf, topologicalOrder, type Value } from "./graph.ts";
import type { Attributes, OpName } from "./ops/index.ts";
import { formatType, sameType } from "./types.ts";
import { verifyGraph } from "./verify.ts";

/** What takes the place of a node's results: one value each, of the same type. `undefined`: leave it. */
export type Replacement = Value | readonly Value[] | undefined;

/** What a rule may ask about the graph around its node. */
export interface RewriteContext {
  /** How often the value is read: operand positions of live nodes, outputs and next states. */
  uses(value: Value): number;
}

export interface Rule {
  readonly ops: readonly OpName[];
  readonly apply: (node: Node, context: RewriteContext) => Replacement;
}

/** A named step from graph to graph that keeps the graph's meaning bit for bit. */
export interface Pass {
  readonly name: string;
  readonly run: (graph: Graph) => Graph;
}

/** A rule for one op, or for several that are treated alike. */
export function rule<Op extends OpName>(
  ops: Op | readonly Op[],
  apply: (node: Node<Op>, context: RewriteContext) => Replacement,
): Rule {
  return {
    ops: typeof ops === "string" ? [ops] : ops,
    apply: (node, context) => apply(node as unknown as Node<Op>, context),
  };
}

/** A pass made of rules. A function is called once a run, for rules that remember what they have seen. */
export function definePass(name: string, rules: readonly Rule[] | (() => readonly Rule[])): Pass {
  return {
    name,
    run: (graph) => rewrite(graph, typeof rules === "function" ? rules() : rules, name),
  };
}

export interface RunPassesOptions {
  /** Run the verifier after every pass; an error names the pass that broke the graph. */
  readonly verify?: boolean;
  readonly onPass?: (pass: Pass, graph: Graph, milliseconds: number) => void;
}

/**
 * Runs passes in order.
 * @throws BitloomError INVALID_GRAPH when `verify` is set and a pass leaves an invalid graph.
 */
export function runPasses(graph: Graph, passes: readonly Pass[], options: RunPassesOptions = {}): Graph {
  let current = graph;
  for (const pass of passes) {
    const start = performance.now();
    current = pass.run(current);
    if (options.verify) verifyAfter(pass, current);
    options.onPass?.(pass, current, performance.now() - start);
  }
  return current;
}

function verifyAfter(pass: Pass, graph: Graph): void {
  try {
    verifyGraph(graph);
  } catch (cause) {
    throw new BitloomError("INVALID_GRAPH", `the graph is invalid after pass "${pass.name}"`, {
      received: cause instanceof Error ? cause.message : String(cause),
      cause,
    });
  }
}

/** A node like `node` with another op, operands or attributes; its location and result names stay. */
export function remake<Op extends OpName>(
  node: Node,
  op: Op,
  operands: readonly Value[],
  attributes: Attributes<Op>,
): Node<Op> {
  return makeNode(op, operands, attributes, {
    ...(node.location && { location: node.location }),
    names: node.results.map((result) => result.name),
  });
}

/** A further node that a rule on `node` needs: it inherits the location, and is named by `names`. */
export function derive<Op extends OpName>(
  node: Node,
  op: Op,
  operands: readonly Value[],
  attributes: Attributes<Op>,
  names: readonly (string | undefined)[] = [],
): Node<Op> {
  return makeNode(op, operands, attributes, { ...(node.location && { location: node.location }), names });
}

/** The name hint of a value that belongs to `value`: `x.codes` for "codes". */
export function nameAfter(value: Value, suffix: string): string | undefined {
  return value.name === undefined ? undefined : `${value.name}.${suffix}`;
}

/** The node that makes a value, if it is one of the given ops. */
export function producedBy<Op extends OpName>(value: Value, ...ops: readonly Op[]): Node<Op> | undefined {
  const origin = value.origin;
  if (origin.kind !== "node") return undefined;
  return (ops as readonly OpName[]).includes(origin.node.op)
    ? (origin.node as unknown as Node<Op>)
    : undefined;
}

/**
 * Rebuilds a graph bottom-up once. `leaf` may replace inputs, parameters and states; `visit` gets every node
 * with its operands already replaced and returns its new results, or nothing to have it remade as it was.
 * Unlike a rule, it may change types.
 */
export function rebuild(
  graph: Graph,
  change: {
    readonly leaf?: (value: Value) => Value;
    readonly visit?: (node: Node, operands: readonly Value[]) => readonly Value[] | undefined;
  },
): Graph {
  const replaced = new Map<Value, Value>();
  const leaves = [...graph.inputs, ...graph.parameters, ...graph.states.map((state) => state.value)];
  if (change.leaf) for (const leaf of leaves) replaced.set(leaf, change.leaf(leaf));
  const resolve = (value: Value) => replaced.get(value) ?? value;
  for (const node of topologicalOrder(graph)) {
    const operands = node.operands.map(resolve);
    let results = change.visit?.(node, operands);
    if (!results) {
      if (operands.every((operand, i) => operand === node.operands[i])) continue;
      results = remake(node, node.op, operands, node.attributes).results;
    }
    for (const [i, result] of node.results.entries()) replaced.set(result, results[i]!);
  }
  return {
    ...graph,
    inputs: graph.inputs.map(resolve),
    parameters: graph.parameters.map(resolve),
    ...resolveEnds(graph, resolve),
  };
}

/** Applies rules to a fixpoint; see `definePass`. `name` is used in errors. */
export function rewrite(graph: Graph, rules: readonly Rule[], name: string): Graph {
  const rulesByOp = new Map<OpName, Rule[]>();
  for (const each of rules) {
    for (const op of each.ops) rulesByOp.set(op, [...(rulesByOp.get(op) ?? []), each]);
  }
  // Far above what any terminating pass needs: one node is rewritten a few times, not hundreds.
  const budget = { firings: 10_000 + 200 * topologicalOrder(graph).length };
  let current = graph;
  for (;;) {
    const sweep = new Sweep(current, rulesByOp, name, budget);
    const next = sweep.run();
    if (!sweep.fired) return current;
    current = next;
  }
}

function resolveEnds(graph: Graph, resolve: (value: Value) => Value): Pick<Graph, "outputs" | "states"> {
  return {
    outputs: graph.outputs.map((output) => ({ ...output, value: resolve(output.value) })),
    states: graph.states.map((state) => ({ value: resolve(state.value), next: resolve(state.next) })),
  };
}

class Sweep {
  fired = false;
  readonly #graph: Graph;
  readonly #rulesByOp: ReadonlyMap<OpName, readonly Rule[]>;
  readonly #passName: string;
  readonly #budget: { firings: number };
  /** What replaced a value; chains are followed by `#resolve`. */
  readonly #forward = new Map<Value, Value>();
  /** Nodes no rule answers for, whose operands are all such nodes or leaves. */
  readonly #settled = new Set<Node>();
  readonly #uses: UseCounts;
  readonly #context: RewriteContext;

  constructor(
    graph: Graph,
    rulesByOp: ReadonlyMap<OpName, readonly Rule[]>,
    passName: string,
    budget: { firings: number },
  ) {
    this.#graph = graph;
    this.#rulesByOp = rulesByOp;
    this.#passName = passName;
    this.#budget = budget;
    this.#uses = new UseCounts((value) => this.#resolve(value));
    this.#context = { uses: (value) => this.#uses.of(value) };
    for (const root of resultsOf(graph)) this.#uses.add(root, 1);
  }

  run(): Graph {
    for (const root of resultsOf(this.#graph)) this.#settle(root);
    return { ...this.#graph, ...resolveEnds(this.#graph, (value) => this.#resolve(value)) };
  }

  #resolve(value: Value): Value {
    let last = value;
    for (let next = this.#forward.get(last); next; next = this.#forward.get(last)) last = next;
    // Path compression keeps long chains of replacements linear.
    for (let step = value; step !== last; ) {
      const next = this.#forward.get(step)!;
      this.#forward.set(step, last);
      step = next;
    }
    return last;
  }

  /** The node that still has to be settled before `value` is final. */
  #pending(value: Value): Node | undefined {
    const origin = this.#resolve(value).origin;
    return origin.kind === "node" && !this.#settled.has(origin.node) ? origin.node : undefined;
  }

  #settle(root: Value): void {
    const stack: { node: Node; operand: number }[] = [];
    const onStack = new Set<Node>();
    const push = (node: Node) => {
      if (onStack.has(node)) this.#fail(`a rule on "${node.op}" made a value that depends on itself`);
      onStack.add(node);
      stack.push({ node, operand: 0 });
    };
    for (let first = this.#pending(root); first; first = this.#pending(root)) {
      push(first);
      while (stack.length > 0) {
        const frame = stack[stack.length - 1]!;
        const operand = frame.node.operands[frame.operand];
        if (operand) {
          const pending = this.#pending(operand);
          if (pending) push(pending);
          else frame.operand++;
          continue;
        }
        stack.pop();
        onStack.delete(frame.node);
        this.#rewriteNode(frame.node);
      }
    }
  }

  /** Rewrites one node whose operands are settled. Whatever replaces it is settled by its readers. */
  #rewriteNode(original: Node): void {
    const operands = original.operands.map((operand) => this.#resolve(operand));
    let node = original;
    if (operands.some((operand, i) => operand !== original.operands[i])) {
      node = remake(original, original.op, operands, original.attributes);
      this.#replace(original, node.results);
    }
    for (const each of this.#rulesByOp.get(node.op) ?? []) {
      const answer = each.apply(node, this.#context);
      if (!answer) continue;
      const replacements = Array.isArray(answer) ? (answer as readonly Value[]) : [answer as Value];
      this.#check(node, replacements);
      this.#replace(node, replacements);
      this.fired = true;
      return;
    }
    this.#settled.add(node);
  }

  #replace(node: Node, replacements: readonly Value[]): void {
    // Add before dropping, so that operands both nodes read are never counted as dead in between.
    const counts = node.results.map((result) => this.#uses.of(result));
    for (const [i, count] of counts.entries()) this.#uses.add(replacements[i]!, count);
    for (const [i, count] of counts.entries()) this.#uses.drop(node.results[i]!, count);
    for (const [i, result] of node.results.entries()) this.#forward.set(result, replacements[i]!);
  }

  #check(node: Node, replacements: readonly Value[]): void {
    if (--this.#budget.firings < 0) this.#fail(`rules do not terminate; the last one was on "${node.op}"`);
    for (const [i, result] of node.results.entries()) {
      const replacement = replacements[i];
      if (replacement === result) this.#fail(`a rule on "${node.op}" replaced a value by itself`);
      if (!replacement || !sameType(replacement.type, result.type)) {
        this.#fail(`a rule on "${node.op}" changed the type of result ${i}`, {
          expected: formatType(result.type),
          received: replacement ? formatType(replacement.type) : "nothing",
        });
      }
    }
  }

  #fail(problem: string, detail: { expected?: string; received?: string } = {}): never {
    throw new BitloomError("INVALID_GRAPH", `pass "${this.#passName}": ${problem}`, detail);
  }
}

/** Reference counts over the live part of a graph while values are being replaced. */
class UseCounts {
  readonly #counts = new Map<Value, number>();
  readonly #live = new Set<Node>();
  readonly #resolve: (value: Value) => Value;

  constructor(resolve: (value: Value) => Value) {
    this.#resolve = resolve;
  }

  of(value: Value): number {
    return this.#counts.get(this.#resolve(value)) ?? 0;
  }

  /** Counts new readers; a node that comes to life reads its operands. */
  add(value: Value, readers: number): void {
    if (readers === 0) return;
    const work: [Value, number][] = [[value, readers]];
    for (let next = work.pop(); next; next = work.pop()) {
      const target = this.#resolve(next[0]);
      this.#counts.set(target, (this.#counts.get(target) ?? 0) + next[1]);
      if (target.origin.kind !== "node" || this.#live.has(target.origin.node)) continue;
      this.#live.add(target.origin.node);
      for (const operand of target.origin.node.operands) work.push([operand, 1]);
    }
  }

  /** Forgets readers; a node nobody reads any more stops reading its operands. */
  drop(value: Value, readers: number): void {
    const work: [Value, number][] = [[value, readers]];
    for (let next = work.pop(); next; next = work.pop()) {
      const target = this.#resolve(next[0]);
      this.#counts.set(target, (this.#counts.get(target) ?? 0) - next[1]);
      const origin = target.origin;
      if (origin.kind !== "node" || !this.#live.has(origin.node)) continue;
      if (origin.node.results.some((result) => (this.#counts.get(this.#resolve(result)) ?? 0) > 0)) continue;
      this.#live.delete(origin.node);
      for (const operand of origin.node.operands) work.push([operand, 1]);
    }
  }
}
