/**
 * recompute-activations: trades time for memory in a graph with gradients. The computation of the loss is cut into
 * segments (choose-cuts.ts). What crosses a cut is kept; what the gradients need besides is computed again, a segment at a
 * time, when the gradients of all later segments are done: `after` says so, and keeps what is computed again apart from
 * what was. The last segment's gradients come first anyway, so it is kept. Every bit stays.
 *
 * It runs on a graph of `gradient`. Where a cut is before %h2, of
 *
 *   %h0: f32[8] = mul(%x, %w0)
 *   %h1: f32[8] = mul(%h0, %w1)
 *   %h2: f32[8] = mul(%h1, %w2)
 *   …
 *   %d2: f32[8] = mul(%g2, %h1)
 *   %d1: f32[8] = mul(%g1, %h0)
 * the last line becomes
 *   %x_1: f32[8] = after(%x, %d2)
 *   %h0_1: f32[8] = mul(%x_1, %w0)
 *   %d1: f32[8] = mul(%g1, %h0_1)
 */
import { makeNode } from "../builder.ts";
import { type Graph, type Node, producer, resultsOf, topologicalOrder, type Value } from "../graph.ts";
import { remake } from "../rewrite.ts";
import { chooseCuts } from "./choose-cuts.ts";

export interface RecomputeOptions {
  /** The output whose computation is done again. */
  readonly loss: string;
  /** The nodes of the loss, in order, before which segments begin. Default: those that make memory least. */
  readonly cuts?: readonly number[];
}

/** The graph, unchanged where nothing would be gained. */
export function recomputeActivations(graph: Graph, { loss, cuts }: RecomputeOptions): Graph {
  const forward = topologicalOrder({
    ...graph,
    outputs: graph.outputs.filter(({ name }) => name === loss),
    states: [],
  });
  const isForward = new Set(forward);
  const backward = topologicalOrder(graph).filter((node) => !isForward.has(node));
  const activations = dependents(graph, forward);
  const read = new Set(backward.flatMap(({ operands }) => operands));
  const isSaved = (value: Value) => read.has(value);
  const isActivation = (value: Value) => activations.has(value);
  const starts = new Set(cuts ?? chooseCuts(forward, graph.symbols, isSaved, isActivation));
  let current = 0;
  const segments = new Map(forward.map((node, i) => [node, starts.has(i) ? ++current : current]));
  const last = current;
  const kept = crossingValues(graph, forward, segments);
  /** The segment in which a value is to be computed again; none for what is kept. */
  const droppedIn = (value: Value): number | undefined => {
    const node = producer(value);
    const segment = node && segments.get(node);
    return segment === undefined || segment === last || kept.has(value) || !activations.has(value)
      ? undefined
      : segment;
  };
  return new Recomputation(graph, { forward, backward, segments, last, activations, droppedIn }).run();
}

/** What depends on inputs or states: parameters, and what is made of them, are there all the time. */
function dependents(graph: Graph, nodes: readonly Node[]): ReadonlySet<Value> {
  const values = new Set([...graph.inputs, ...graph.states.map(({ value }) => value)]);
  for (const { operands, results } of nodes) {
    if (operands.some((operand) => values.has(operand))) for (const result of results) values.add(result);
  }
  return values;
}

/** What is read in a later segment than its own, or is a result. */
function crossingValues(
  graph: Graph,
  forward: readonly Node[],
  segments: ReadonlyMap<Node, number>,
): ReadonlySet<Value> {
  const crossing = new Set(resultsOf(graph));
  for (const node of forward) {
    for (const operand of node.operands) {
      const maker = producer(operand);
      if (maker && segments.get(maker) !== segments.get(node)) crossing.add(operand);
    }
  }
  return crossing;
}

interface Segmented {
  /** Operands before their users, as in `backward`. */
  readonly forward: readonly Node[];
  readonly backward: readonly Node[];
  readonly segments: ReadonlyMap<Node, number>;
  readonly last: number;
  readonly activations: ReadonlySet<Value>;
  readonly droppedIn: (value: Value) => number | undefined;
}

/** When a node of the backward pass can run. */
interface Reach {
  /** The first segment of which it, or what it depends on, needs activations again. */
  readonly first: number;
  /** The last segment that it depends on at all. */
  readonly last: number;
}

class Recomputation {
  readonly #graph: Graph;
  readonly #parts: Segmented;
  /** What takes the place of a value in the backward pass. */
  readonly #replaced = new Map<Value, Value>();
  readonly #reaches = new Map<Node, Reach>();

  constructor(graph: Graph, parts: Segmented) {
    this.#graph = graph;
    this.#parts = parts;
  }

  run(): Graph {
    const { backward, last } = this.#parts;
    for (const node of backward) this.#reaches.set(node, this.#reachOf(node));
    this.#rebuild(Number.POSITIVE_INFINITY);
    let waited: ReadonlySet<Value> = new Set();
    let gates: readonly Value[] = [];
    for (let segment = last - 1; segment >= 0; segment--) {
      const done = this.#doneBefore(segment);
      const fresh = [...done].filter((value) => !waited.has(value));
      if (fresh.length > 0) gates = fresh;
      waited = done;
      if (gates.length > 0) this.#recompute(segment, gates);
      this.#rebuild(segment);
    }
    return {
      ...this.#graph,
      outputs: this.#graph.outputs.map((output) => ({ ...output, value: this.#resolve(output.value) })),
      states: this.#graph.states.map(({ value, next }) => ({ value, next: this.#resolve(next) })),
    };
  }

  #resolve(value: Value): Value {
    return this.#replaced.get(value) ?? value;
  }

  #reachOf({ operands }: Node): Reach {
    const { segments, activations, droppedIn } = this.#parts;
    let [first, last] = [Number.POSITIVE_INFINITY, -1];
    for (const operand of operands) {
      const node = producer(operand);
      const known = node && this.#reaches.get(node);
      if (known) {
        first = Math.min(first, known.first);
        last = Math.max(last, known.last);
      } else if (activations.has(operand)) {
        first = Math.min(first, droppedIn(operand) ?? Number.POSITIVE_INFINITY);
        last = Math.max(last, (node && segments.get(node)) ?? -1);
      }
    }
    return { first, last };
  }

  /** What the gradients of later segments come to: results, and what those of this segment or earlier ones read. */
  #doneBefore(segment: number): ReadonlySet<Value> {
    const isDone = (value: Value) => {
      const node = producer(value);
      const reach = node && this.#reaches.get(node);
      return reach !== undefined && reach.first > segment && reach.last > segment;
    };
    const readers = this.#parts.backward.filter((node) => this.#reaches.get(node)!.first <= segment);
    const wanted = [...readers.flatMap(({ operands }) => operands), ...resultsOf(this.#graph)];
    return new Set(wanted.filter(isDone));
  }

  /** Makes those nodes of a segment again that the backward pass needs, from what is kept, after the gates. */
  #recompute(segment: number, gates: readonly Value[]): void {
    const { forward, backward, segments, activations, droppedIn } = this.#parts;
    const own = forward.filter((node) => segments.get(node) === segment);
    const needed = new Set(backward.flatMap(({ operands }) => operands));
    for (const { operands, results } of own.toReversed()) {
      if (results.some((result) => droppedIn(result) !== undefined && needed.has(result))) {
        for (const operand of operands) needed.add(operand);
      }
    }
    const others = gates.map((gate) => this.#resolve(gate));
    const gated = new Map<Value, Value>();
    const operandOf = (value: Value): Value => {
      if (droppedIn(value) !== undefined) return this.#resolve(value);
      if (!activations.has(value)) return value;
      const known = gated.get(value) ?? makeNode("after", [value, ...others], {}).results[0]!;
      gated.set(value, known);
      return known;
    };
    for (const node of own) {
      if (!node.results.some((result) => droppedIn(result) !== undefined && needed.has(result))) continue;
      const again = remake(node, node.op, node.operands.map(operandOf), node.attributes);
      for (const [i, result] of node.results.entries()) {
        if (droppedIn(result) !== undefined) this.#replaced.set(result, again.results[i]!);
      }
    }
  }

  /** Makes the nodes of the backward pass that need no earlier segment. */
  #rebuild(segment: number): void {
    for (const node of this.#parts.backward) {
      if (this.#reaches.get(node)!.first !== segment) continue;
      const operands = node.operands.map((operand) => this.#resolve(operand));
      if (operands.every((operand, i) => operand === node.operands[i])) continue;
      const again = remake(node, node.op, operands, node.attributes);
      for (const [i, result] of node.results.entries()) this.#replaced.set(result, again.results[i]!);
    }
  }
}
