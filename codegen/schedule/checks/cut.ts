import { GraphBuilder } from "../../../ir/builder.ts";
import { type Graph, type Node, producer, type Value } from "../../../ir/graph.ts";
import { isBuildTime } from "../../../ir/passes/partition-parameters.ts";
import { remake } from "../../../ir/rewrite.ts";
import { type Dim, dense, type Encoding } from "../../../ir/types.ts";
import type { StepOrigin } from "../draft.ts";
import type { DraftEntry, Excerpt } from "../entry.ts";

/** What a cut reads from outside: memory that callers fill, states, or weights. */
type LeafKind = "input" | "codes" | "state" | "weight";

/** A part of a scheduled graph: what steps are for, with the nodes on the way from memory of their own. */
export interface Cut {
  readonly draft: DraftEntry;
  readonly origin: StepOrigin;
  /** Operands before their readers. */
  readonly nodes: readonly Node[];
  readonly leaves: ReadonlyMap<Value, LeafKind>;
}

/** Other numbers for literal dims and for the bounds of symbols; those that are absent stay. */
export interface Sizes {
  readonly dims: ReadonlyMap<number, number>;
  readonly bounds: ReadonlyMap<string, number>;
}

/** A cut as a graph of its own. */
export interface Excised {
  readonly graph: Graph;
  readonly excerpt: Excerpt;
  /** Inputs that lie as activation codes do. */
  readonly codes: ReadonlySet<Value>;
}

/**
 * The node that steps are for, or what an output or next state is a view of, with the views they read through and the
 * nodes in `taken`. What else they read becomes leaves.
 */
export function cutOut(draft: DraftEntry, origin: StepOrigin, taken: ReadonlySet<Node>): Cut {
  const nodes: Node[] = [];
  const leaves = new Map<Value, LeafKind>();
  const visit = (value: Value): void => {
    const node = producer(value);
    const isTaken = node !== undefined && (taken.has(node) || draft.views.has(value));
    if (leaves.has(value)) return;
    if (isBuildTime(value) || !isTaken) leaves.set(value, leafKind(value, draft));
    else include(node);
  };
  const include = (node: Node): void => {
    if (nodes.includes(node)) return;
    for (const operand of node.operands) visit(operand);
    nodes.push(node);
  };
  if (origin.kind === "node") include(origin.node);
  else for (const value of endsOf(draft.graph, origin)) visit(value);
  return { draft, origin, nodes, leaves };
}

/** The values that an output or a next state is made of. */
function endsOf({ outputs, states }: Graph, origin: Exclude<StepOrigin, { kind: "node" }>): readonly Value[] {
  if (origin.kind === "output")
    return outputs.filter(({ name }) => name === origin.name).map(({ value }) => value);
  const { next } = states.find(({ value }) => value === origin.value)!;
  return [origin.value, next];
}

function leafKind(value: Value, { places }: DraftEntry): LeafKind {
  if (isBuildTime(value)) return "weight";
  const { region, paddedColumns } = places.get(value)?.buffer ?? {
    region: "arena",
    paddedColumns: undefined,
  };
  if (value.origin.kind === "state" || region === "state") return "state";
  return paddedColumns === undefined ? "input" : "codes";
}

/** Every literal dim of a cut, and where slices start. */
export function literalsOf({ nodes, leaves }: Cut): ReadonlySet<number> {
  const dims = [...leaves.keys()].flatMap(({ type: { dims, encoding } }) => [
    ...dims,
    ...(typeof encoding?.scale === "object" ? [encoding.scale.group] : []),
  ]);
  const named = nodes.flatMap((node): readonly Dim[] => {
    if (node.op === "reshape" || node.op === "broadcast") return node.attributes.dims;
    return node.op === "slice" ? [node.attributes.start, node.attributes.size] : [];
  });
  return new Set([...dims, ...named].filter((dim) => typeof dim === "number"));
}

/**
 * Makes a graph of a cut, with other sizes.
 * @throws BitloomError where an op does not take them
 */
export function excise({ draft, origin, nodes, leaves }: Cut, sizes: Sizes): Excised {
  const resize = <D extends Dim>(dim: D): D =>
    (typeof dim === "number" ? (sizes.dims.get(dim) ?? dim) : dim) as D;
  const builder = new GraphBuilder("check");
  for (const [name, { max }] of draft.graph.symbols) {
    builder.symbol(name, { max: sizes.bounds.get(name) ?? max });
  }
  const made = new Map<Value, Value>();
  const codes = new Set<Value>();
  for (const [value, kind] of leaves) {
    const { dtype, encoding } = value.type;
    const type = dense(dtype, value.type.dims.map(resize));
    const name = `${kind}${made.size}`;
    if (kind === "weight") made.set(value, weightLeaf(builder, name, type, encoding, resize));
    else made.set(value, kind === "state" ? builder.state(name, type) : builder.input(name, type));
    if (kind === "codes") codes.add(made.get(value)!);
  }
  for (const node of nodes) {
    const operands = node.operands.map((operand) => made.get(operand)!);
    const { results } = resized(node, operands, resize);
    for (const [i, result] of node.results.entries()) made.set(result, results[i]!);
  }
  for (const { name, value } of draft.graph.outputs) {
    if (origin.kind === "output" && origin.name === name) builder.output(name, made.get(value)!);
  }
  for (const { value, next } of draft.graph.states) {
    if (origin.kind === "state" && origin.value === value) builder.setNext(made.get(value)!, made.get(next)!);
  }
  const roots = origin.kind === "node" ? origin.node.results.map((result) => made.get(result)!) : [];
  const uses = [...made].flatMap(([from, to]): [Value, number][] => {
    const count = draft.uses.get(from);
    return count === undefined ? [] : [[to, count]];
  });
  return { graph: builder.build(), excerpt: { roots, uses: new Map(uses) }, codes };
}

/** A weight made at build from floats of the check's own. */
function weightLeaf(
  builder: GraphBuilder,
  name: string,
  type: Value["type"],
  encoding: Encoding | undefined,
  resize: (dim: number) => number,
): Value {
  const parameter = builder.parameter(name, type);
  if (encoding === undefined) return parameter;
  if (encoding.kind === "int8") return builder.one("quantize_int8", [parameter], {}, { name });
  const { scale } = encoding;
  const resized = typeof scale === "object" ? { group: resize(scale.group) } : scale;
  return builder.one("absmean_quantize", [parameter], { scale: resized }, { name });
}

function resized(node: Node, operands: readonly Value[], resize: <D extends Dim>(dim: D) => D): Node {
  if (node.op === "reshape" || node.op === "broadcast") {
    return remake(node, node.op, operands, { dims: node.attributes.dims.map(resize) });
  }
  if (node.op === "slice") {
    const { axis, start, size } = node.attributes;
    return remake(node, "slice", operands, { axis, start: resize(start), size: resize(size) });
  }
  return remake(node, node.op, operands, node.attributes);
}
