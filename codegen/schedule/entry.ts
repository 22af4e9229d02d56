import { BitloomError } from "../../errors/index.ts";
import {
  formatLocation,
  type Graph,
  type Node,
  type NodeOf,
  producer,
  resultsOf,
  type SourceLocation,
  type State,
  topologicalOrder,
  users,
  type Value,
} from "../../ir/graph.ts";
import type { OpName } from "../../ir/ops/index.ts";
import { elementwiseOps } from "../../ir/passes/fusion.ts";
import { isBuildTime } from "../../ir/passes/partition-parameters.ts";
import type { Dim, DType } from "../../ir/types.ts";
import { formatDims, formatType } from "../../ir/types.ts";
import type { SymbolExpr, TensorSlot } from "../../runtime/manifest.ts";
import type { KernelFunction } from "../kernel/ir.ts";
import {
  type Computed,
  type DraftStep,
  elementBytes,
  type GeneratedCall,
  type Grid,
  type Place,
  type StepOrigin,
  type Storage,
} from "./draft.ts";
import { findGroups, type Group, type Pattern } from "./groups.ts";
import type { IoPlaces } from "./io.ts";
import type { TargetCode } from "./lanes.ts";
import { type Kernels, orderArguments, type TemplateCall } from "./library.ts";
import type { TargetLimits } from "./limits.ts";
import { align } from "./memory.ts";
import { copyCall } from "./movement.ts";
import type { PlannedState, WeightLayout } from "./plan.ts";
import type { RuleContext, RuleTable, ScheduleRule } from "./rules.ts";
import { elementCount, product, sameExpr, symbolsOf, upperBound } from "./symbols.ts";
import { contiguousStrides, contiguousView, isContiguous } from "./view.ts";
import { type WeightPlaces, weightBytes } from "./weights.ts";

/** What all entries of a plan share. */
export interface Shared {
  readonly rules: RuleTable;
  readonly patterns: readonly Pattern[];
  readonly target: string;
  readonly code: TargetCode;
  readonly limits: TargetLimits;
  readonly library: Kernels;
  readonly weights: WeightPlaces;
  readonly states: StatePlaces;
  readonly io: IoPlaces;
}

/** Where states lie. */
export interface StatePlaces {
  place(value: Value, bounds: Graph["symbols"]): Place;
}

/** State by name, in one region that every entry sees at the same addresses. */
export class StateRegion implements StatePlaces {
  readonly #states = new Map<string, { readonly type: string; readonly planned: PlannedState }>();
  #bytes = 0;

  get states(): readonly PlannedState[] {
    return [...this.#states.values()].map(({ planned }) => planned);
  }
  get bytes(): number {
    return this.#bytes;
  }

  place(value: Value, bounds: Graph["symbols"]): Place {
    if (value.origin.kind !== "state")
      throw new BitloomError("INVALID_GRAPH", "a state is not a state value");
    const { name } = value.origin;
    const { dtype } = value.type;
    const largest = value.type.dims.map((dim) => upperBound(dim, bounds));
    const type = `${formatType(value.type)} within ${formatDims(largest)}`;
    let known = this.#states.get(name);
    if (known === undefined) {
      const bytes = upperBound(elementCount(largest), bounds) * elementBytes(dtype);
      known = { type, planned: { name, dtype, dims: value.type.dims, offset: this.#bytes, bytes } };
      this.#bytes += align(bytes);
      this.#states.set(name, known);
    } else if (known.type !== type) {
      throw new BitloomError("INVALID_GRAPH", `state "${name}" differs between entries`, {
        expected: known.type,
        received: type,
      });
    }
    const { offset, bytes } = known.planned;
    return stateView({ name, region: "state", offset, bytes }, value, largest);
  }
}

/** A state in a buffer, by its largest shape: elements stay where they are when a symbol changes between calls. */
export function stateView(buffer: Storage, { type }: Value, largest: readonly number[]): Place {
  return { buffer, dtype: type.dtype, dims: type.dims, offset: 0, strides: contiguousStrides(largest) };
}

/** An entry whose steps are known and whose arena is not placed yet. */
export interface DraftEntry {
  readonly graph: Graph;
  readonly inputs: readonly TensorSlot[];
  readonly outputs: readonly TensorSlot[];
  readonly steps: readonly DraftStep[];
  /** Smallest value of the symbols that may not be 1. */
  readonly minimums: ReadonlyMap<string, number>;
  readonly scratchBytes: number;
  /** Where each run-time value lies, though no step may have to write it. */
  readonly places: ReadonlyMap<Value, Place>;
  /** Values that share another value's memory. */
  readonly views: ReadonlySet<Value>;
  /** How often each value is read. */
  readonly uses: ReadonlyMap<Value, number>;
  /** Buffers whose contents must last until the entry has run. */
  readonly kept: ReadonlySet<Storage>;
}

/** A graph that is part of another one. */
export interface Excerpt {
  /** Values that are wanted where they are computed, besides outputs and next states. */
  readonly roots: readonly Value[];
  /** How often values are read in the whole graph. */
  readonly uses: ReadonlyMap<Value, number>;
}

/** Schedules one graph: every live run-time node in order, then outputs and next states to their places. */
export function draftEntry(name: string, graph: Graph, shared: Shared, excerpt?: Excerpt): DraftEntry {
  return new EntryScheduler(name, graph, shared).run(excerpt);
}

/** Kernels count elements in i32. */
const MAX_ELEMENTS = 2 ** 31 - 1;

/** What steps are for, and how people are told. */
interface Purpose {
  readonly origin: StepOrigin;
  readonly label: string;
  readonly location?: SourceLocation | undefined;
}

/** The first and the last step that touch a buffer, by index. */
type Spans = ReadonlyMap<Storage, readonly [first: number, last: number]>;

/** That of nodes that are computed together, the last of which reads all others. */
function purposeOf(nodes: readonly Node[]): Purpose {
  const last = nodes.at(-1)!;
  const ops = [...new Set(nodes.map(({ op }) => op))].join("+");
  const name = last.results[0]?.name;
  return {
    origin: { kind: "node", node: last },
    label: name === undefined ? ops : `${ops} %${name}`,
    location: last.location,
  };
}

class EntryScheduler implements RuleContext {
  readonly code: TargetCode;
  readonly limits: TargetLimits;
  readonly #name: string;
  readonly #graph: Graph;
  readonly #shared: Shared;
  readonly #places = new Map<Value, Place>();
  readonly #copies = new Map<Value, Place>();
  /** Weights that steps of the run pack. */
  readonly #packed = new Map<Value, Map<WeightLayout, Storage>>();
  /** Values that share another value's memory. */
  readonly #views = new Set<Value>();
  /** What is computed where it is read, until a step needs it in memory. */
  readonly #deferred = new Map<Storage, { readonly computed: Computed; readonly store: () => void }>();
  readonly #uses = new Map<Value, number>();
  #readers: ReadonlyMap<Value, readonly Node[]> = new Map();
  readonly #steps: DraftStep[] = [];
  readonly #minimums = new Map<string, number>();
  /** What lies in the io region, by offset. */
  readonly #ioStorages = new Map<number, Storage>();
  #purpose: Purpose = { origin: { kind: "output", name: "" }, label: "" };
  #scratchBytes = 0;

  constructor(name: string, graph: Graph, shared: Shared) {
    this.#name = name;
    this.#graph = graph;
    this.#shared = shared;
    this.code = shared.code;
    this.limits = shared.limits;
  }

  run(excerpt?: Excerpt): DraftEntry {
    const graph = this.#graph;
    const inputs = graph.inputs.map((input) => this.#placeInput(input));
    for (const { value } of graph.states) {
      this.assign(value, this.#shared.states.place(value, graph.symbols));
    }
    const order = topologicalOrder(graph, excerpt?.roots).filter((node) => !node.results.every(isBuildTime));
    for (const value of [...order.flatMap((node) => node.operands), ...resultsOf(graph)]) {
      this.#uses.set(value, (this.#uses.get(value) ?? 0) + 1);
    }
    for (const [value, count] of excerpt?.uses ?? []) this.#uses.set(value, count);
    this.#readers = users(graph, excerpt?.roots);
    const results = new Set(resultsOf(graph));
    const groups = findGroups(order, this.#shared.patterns, {
      of: (value) => this.readers(value),
      isResult: (value) => results.has(value),
    });
    for (const node of order) {
      const group = groups.get(node);
      if (group === undefined) this.#schedule(node);
      else if (node === group.nodes.at(-1)) this.#scheduleGroup(group);
    }
    for (const value of excerpt?.roots ?? []) this.#store(this.place(value).buffer);
    const outputs = this.#placeOutputs();
    this.#storeNextStates();
    return {
      graph,
      inputs,
      outputs,
      steps: this.#steps,
      minimums: this.#minimums,
      scratchBytes: this.#scratchBytes,
      places: this.#places,
      views: this.#views,
      uses: this.#uses,
      kept: new Set(excerpt && [...this.#places.values()].map(({ buffer }) => buffer)),
    };
  }

  #schedule<Op extends OpName>(node: NodeOf<Op>): void {
    const rule = this.#shared.rules[node.op] as ScheduleRule<Op> | { readonly uncovered: string };
    if (typeof rule !== "function") {
      throw new BitloomError("UNSUPPORTED_OP", `${node.op} does not run on target ${this.#shared.target}`, {
        received: describeNode(node),
        hint: rule.uncovered,
        ...(node.location && { location: formatLocation(node.location) }),
      });
    }
    this.#purpose = purposeOf([node as Node]);
    rule(node, this);
  }

  #scheduleGroup({ nodes, schedule }: Group): void {
    this.#purpose = purposeOf(nodes);
    if (!schedule(this)) for (const node of nodes) this.#schedule(node);
  }

  #slot(name: string, value: Value, storage: Storage): TensorSlot {
    const { dtype, dims } = value.type;
    if (dtype === "bool") {
      throw new BitloomError("UNSUPPORTED_OP", `${name} is a bool tensor, which calls do not carry`, {
        hint: "Cast it to i32.",
      });
    }
    return { name, dtype, dims: [...dims], offset: storage.offset!, bytes: this.#bytesOf(value) };
  }

  #bytesOf(value: Value): number {
    return this.upperBound(elementCount(this.dims(value))) * elementBytes(value.type.dtype);
  }

  #ioStorage(name: string, value: Value, offset: number): Storage {
    return { name, region: "io", offset, bytes: this.#bytesOf(value) };
  }

  #placeInput(value: Value): TensorSlot {
    if (value.origin.kind !== "input")
      throw new BitloomError("INVALID_GRAPH", "an input is not an input value");
    const { name } = value.origin;
    const place = this.#shared.io.input(name, value, this.dims(value), this.#bytesOf(value));
    this.#ioStorages.set(place.buffer.offset!, place.buffer);
    this.assign(value, place);
    return this.#slot(name, value, place.buffer);
  }

  /** Temporaries that hold exactly an output become io memory; anything else is copied there. */
  #placeOutputs(): TensorSlot[] {
    return this.#graph.outputs.map(({ name, value }) => {
      const place = this.place(value);
      const { buffer } = place;
      this.#store(buffer);
      const whole =
        place.offset === 0 && isContiguous(place) && this.upperBound(buffer.bytes) === this.#bytesOf(value);
      const isIo = buffer.offset !== undefined && this.#ioStorages.get(buffer.offset) === buffer;
      const alias = whole && isIo ? buffer.offset : undefined;
      const offset = this.#shared.io.output(this.#name, name, alias);
      if (alias === offset) return this.#slot(name, value, buffer);
      const taken = this.#ioStorages.get(offset);
      if (whole && buffer.region === "arena" && taken === undefined) {
        buffer.region = "io";
        buffer.offset = offset;
        this.#ioStorages.set(offset, buffer);
        return this.#slot(name, value, buffer);
      }
      const storage = taken ?? this.#ioStorage(name, value, offset);
      this.#ioStorages.set(offset, storage);
      this.#purpose = { origin: { kind: "output", name }, label: `output ${name}` };
      this.generate(copyCall(place, contiguousView(storage, value.type.dtype, this.dims(value)), this.code));
      return this.#slot(name, value, storage);
    });
  }

  /**
   * Has next states computed where the states are, if no step reads a state then, and copies the others; all are read
   * before any is overwritten.
   */
  #storeNextStates(): void {
    const { states } = this.#graph;
    for (const { next } of states) this.#store(this.place(next).buffer);
    const isRead = new Set(states.map(({ next }) => this.place(next).buffer));
    const spans = this.#spans();
    const moves = states.flatMap((state) => {
      const [to, from] = [this.place(state.value), this.place(state.next)];
      if (samePlace(to, from)) return [];
      if (!isRead.has(to.buffer) && this.#fits(from, to) && this.#mayOverwrite(state, spans)) {
        from.buffer.region = "state";
        from.buffer.offset = to.buffer.offset;
        return [];
      }
      return [{ value: state.value, to, from }];
    });
    const buffers = new Set(states.map(({ value }) => this.place(value).buffer));
    const describe = (value: Value, to: Place) => {
      this.#purpose = { origin: { kind: "state", value }, label: `next ${to.buffer.name}` };
    };
    const staged = moves.map(({ value, to, from }) => {
      describe(value, to);
      return { value, to, from: buffers.has(from.buffer) ? this.copy(from, this.#purpose.label) : from };
    });
    for (const { value, to, from } of staged) {
      describe(value, to);
      this.generate(copyCall(from, to, this.code));
    }
  }

  /** Whether a temporary holds just what a state does. */
  #fits(from: Place, to: Place): boolean {
    const bytes = [from, to].map(({ buffer }) => this.upperBound(buffer.bytes));
    const isWhole = [from, to].every((place) => place.offset === 0 && isContiguous(place));
    return isWhole && from.buffer.region === "arena" && bytes[0] === bytes[1];
  }

  #spans(): Spans {
    const spans = new Map<Storage, readonly [number, number]>();
    for (const [index, step] of this.#steps.entries()) {
      for (const argument of step.arguments) {
        if (argument.kind !== "buffer") continue;
        spans.set(argument.storage, [spans.get(argument.storage)?.[0] ?? index, index]);
      }
    }
    return spans;
  }

  /** Whether a state is not read any more when its next one is computed, or only element by element. */
  #mayOverwrite({ value, next }: State, spans: Spans): boolean {
    const { buffer } = this.place(value);
    const [begin] = spans.get(this.place(next).buffer)!;
    const end = spans.get(buffer)?.[1] ?? -1;
    const node = producer(next);
    if (end !== begin || node === undefined) return end < begin;
    const isSame = (operand: Value) => operand === value || this.place(operand).buffer !== buffer;
    return (
      this.limits.aliases &&
      (elementwiseOps as readonly OpName[]).includes(node.op) &&
      node.operands.every(isSame)
    );
  }

  // RuleContext

  dims(value: Value): readonly Dim[] {
    return value.type.dims.map((dim) =>
      typeof dim === "string" && this.#graph.symbols.get(dim)?.max === 1 ? 1 : dim,
    );
  }

  upperBound(expr: SymbolExpr): number {
    return upperBound(expr, this.#graph.symbols);
  }

  requireLength(dim: Dim, least: number): void {
    const most = this.upperBound(dim);
    if (least > most) {
      const { label, location } = this.#purpose;
      throw new BitloomError("INVALID_ATTRIBUTE", `${label} reaches past the end of its axis`, {
        expected: `${dim} >= ${least}`,
        received: typeof dim === "string" ? `${dim} <= ${most}` : `${dim}`,
        ...(location && { location: formatLocation(location) }),
      });
    }
    if (typeof dim === "string" && least > (this.#minimums.get(dim) ?? 1)) this.#minimums.set(dim, least);
  }

  place(value: Value): Place {
    const known = this.#places.get(value);
    if (known !== undefined) return known;
    if (!isBuildTime(value)) {
      throw new BitloomError("INVALID_GRAPH", "a value is read before it is computed", {
        received: `${value.name ?? "a value"} of ${formatType(value.type)}`,
      });
    }
    const place = contiguousView(this.weight(value, "dense"), value.type.dtype, this.dims(value));
    this.#places.set(value, place);
    return place;
  }

  contiguous(value: Value): Place {
    const place = this.place(value);
    if (isContiguous(place)) return place;
    const known = this.#copies.get(value);
    if (known !== undefined) return known;
    const copy = this.copy(place, `${value.name ?? place.buffer.name} contiguous`);
    this.#copies.set(value, copy);
    return copy;
  }

  copy(place: Place, name: string): Place {
    const copy = this.temporary(name, place.dtype, place.dims);
    this.generate(copyCall(place, copy, this.code));
    return copy;
  }

  readers(value: Value): readonly Node[] {
    return this.#readers.get(value) ?? [];
  }

  weight(value: Value, layout: WeightLayout): Storage {
    if (isBuildTime(value)) return this.#shared.weights.storage(value, layout);
    const packed = this.#packed.get(value)?.get(layout);
    if (packed !== undefined) return packed;
    throw new BitloomError("UNSUPPORTED_OP", "a weight made at run time does not lie as this step reads it", {
      received: `${formatType(value.type)}, read as ${layout}`,
      hint: "Of what is computed in the run, dense and ternary weights of absmean_quantize can be read.",
    });
  }

  allocateWeight(value: Value, layout: WeightLayout): Storage {
    const bytes = weightBytes(value, value.type.dims as readonly number[], layout);
    const storage: Storage = {
      name: `${value.name ?? this.#purpose.label} ${layout}`,
      region: "arena",
      offset: undefined,
      bytes,
    };
    const layouts = this.#packed.get(value) ?? new Map<WeightLayout, Storage>();
    this.#packed.set(value, layouts.set(layout, storage));
    return storage;
  }

  allocate(value: Value): Place {
    const place = this.temporary(value.name ?? this.#purpose.label, value.type.dtype, this.dims(value));
    this.assign(value, place);
    return place;
  }

  temporary(name: string, dtype: DType, dims: readonly Dim[]): Place {
    const count = elementCount(dims);
    this.#requireAtMost(count, MAX_ELEMENTS, "elements of a tensor, which kernels count in i32");
    const bytes = product(count, elementBytes(dtype));
    return contiguousView({ name, region: "arena", offset: undefined, bytes }, dtype, dims);
  }

  assign(value: Value, place: Place): void {
    this.#places.set(value, place);
  }

  view(value: Value, place: Place): void {
    this.#views.add(value);
    this.assign(value, place);
  }

  mayOverwrite(value: Value): boolean {
    const isCallers = value.origin.kind === "input" || isBuildTime(value);
    return this.#uses.get(value) === 1 && !this.#views.has(value) && !isCallers;
  }

  defer(value: Value, computed: Computed, store: (place: Place) => void): void {
    const place = this.allocate(value);
    const purpose = this.#purpose;
    this.#deferred.set(place.buffer, {
      computed,
      store: () => {
        const readers = this.#purpose;
        this.#purpose = purpose;
        store(place);
        this.#purpose = readers;
      },
    });
  }

  computed(value: Value): Computed | undefined {
    return this.#uses.get(value) === 1 ? this.#deferred.get(this.place(value).buffer)?.computed : undefined;
  }

  /** Has a deferred buffer computed, before a step or a caller reads it. */
  #store(buffer: Storage): void {
    const deferred = this.#deferred.get(buffer);
    this.#deferred.delete(buffer);
    deferred?.store();
  }

  helper(template: string): KernelFunction {
    return this.#shared.library.helper(template);
  }

  needScratch(bytes: number): void {
    this.#scratchBytes = Math.max(this.#scratchBytes, align(bytes));
  }

  generate(call: GeneratedCall): void {
    const kernel = this.#shared.library.generated(call);
    this.#emit({
      kernel: kernel.name,
      arguments: call.arguments,
      range: call.range,
      label: this.#purpose.label,
      origin: this.#purpose.origin,
    });
  }

  call(call: TemplateCall, range: SymbolExpr | Grid, guard?: DraftStep["guard"]): void {
    const kernel = this.#shared.library.template(call);
    const [x, y] = isGrid(range) ? range : [range];
    this.#emit({
      kernel: kernel.name,
      arguments: orderArguments(kernel, call),
      range: x,
      ...(y !== undefined && y !== 1 && { rangeY: y }),
      ...(guard && { guard }),
      label: this.#purpose.label,
      origin: this.#purpose.origin,
    });
  }

  /** @throws BitloomError LIMIT_EXCEEDED naming the step and, where a bound is to blame, its symbols */
  #requireAtMost(expr: SymbolExpr, limit: number, what: string): void {
    const most = this.upperBound(expr);
    if (most <= limit) return;
    const { label, location } = this.#purpose;
    const symbols = symbolsOf(expr).join(", ");
    throw new BitloomError("LIMIT_EXCEEDED", `${label} is too large for target ${this.#shared.target}`, {
      expected: `at most ${limit} ${what}`,
      received: String(most),
      ...(symbols && { hint: `Lower the bounds of: ${symbols}.` }),
      ...(location && { location: formatLocation(location) }),
    });
  }

  #emit(step: DraftStep): void {
    // A step for few rows says so by its guard, which its own range does not show.
    const { guard, rangeY = 1 } = step;
    if (guard === undefined || guard.upper >= this.upperBound(guard.value)) {
      this.#requireAtMost(rangeY, this.limits.workgroupsY, "workgroups along the second axis");
    }
    for (const argument of step.arguments) if (argument.kind === "buffer") this.#store(argument.storage);
    this.#steps.push(step);
  }
}

function isGrid(range: SymbolExpr | Grid): range is Grid {
  return Array.isArray(range) && range.length === 2;
}

function samePlace(a: Place, b: Place): boolean {
  return (
    a.buffer === b.buffer &&
    sameExpr(a.offset, b.offset) &&
    a.strides.every((stride, axis) => sameExpr(stride, b.strides[axis]!))
  );
}

function describeNode(node: NodeOf<OpName>): string {
  const operands = node.operands.map((operand) => formatType(operand.type)).join(", ");
  return `${node.op}(${operands})`;
}
