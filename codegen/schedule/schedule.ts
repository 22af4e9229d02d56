/**
 * From lowered graphs to kernels, a memory plan and step lists for each target. Values get places (a buffer and strides),
 * ops become steps by the rules of a target class, and temporaries that never live together share memory.
 */
import { BitloomError } from "../../errors/index.ts";
import type { Graph } from "../../ir/graph.ts";
import type { Entry, Step } from "../../runtime/manifest.ts";
import { paddedColumns } from "./activation-codes.ts";
import type { PlacedArenas } from "./arena.ts";
import { formatBytes } from "./bytes.ts";
import { type DraftChecks, draftChecks } from "./checks/checks.ts";
import { cpuTarget } from "./cpu/target.ts";
import { cudaTarget } from "./cuda/target.ts";
import { type DraftArgument, type DraftStep, elementBytes, type Place } from "./draft.ts";
import { type DraftEntry, draftEntry, StateRegion } from "./entry.ts";
import { webgpuTarget } from "./gpu/target.ts";
import type { Pattern } from "./groups.ts";
import { IoRegion } from "./io.ts";
import type { TargetCode } from "./lanes.ts";
import { KernelLibrary, type Templates } from "./library.ts";
import type { TargetLimits } from "./limits.ts";
import type { ObservedValue, Plan, PlannedChecks, RegionSizes, TargetName, TargetPlan } from "./plan.ts";
import type { RuleTable } from "./rules.ts";
import { servedOutputs } from "./serves.ts";
import { product, sum } from "./symbols.ts";
import { summarize } from "./traffic.ts";
import { WeightRegion } from "./weights.ts";

/** What the schedule needs to know of a target class. */
export interface TargetClass {
  readonly rules: RuleTable;
  /** Neighbours that one rule computes; none if absent. */
  readonly patterns?: readonly Pattern[];
  readonly templates: Templates;
  readonly code: TargetCode;
  readonly limits: TargetLimits;
  /** Gives the temporaries of all entries their addresses. */
  readonly placeTemporaries: (drafts: readonly DraftEntry[]) => PlacedArenas;
  /** Bytes of the one memory that has everything; absent where each argument is bound by itself. */
  readonly addressSpace?: number;
}

export interface ScheduleOptions {
  readonly targets: readonly TargetName[];
  /** Threads that get scratch memory. */
  readonly maxThreads: number;
  /** Stricter limits than the targets' own. */
  readonly limits?: Partial<TargetLimits>;
  /** Most bytes that one target may take, where it has less memory of one's own than a target can have. */
  readonly maxMemory?: number;
  /** Plan checks of every kernel as well. */
  readonly checks?: boolean;
}

const classes: { readonly [Name in TargetName]: () => Promise<TargetClass> } = {
  wasm: cpuTarget,
  webgpu: webgpuTarget,
  cuda: cudaTarget,
};

/** Every target there is. */
export const targetNames = Object.keys(classes) as TargetName[];

/** Memory that all targets lay out alike. */
interface SharedMemory {
  readonly weights: WeightRegion;
  readonly states: StateRegion;
  readonly io: IoRegion;
}

/**
 * Schedules the entries of one model for each target. Targets share inputs, outputs, weights and states, entries of
 * one target its kernels as well; `decode` is first in line for the order of weights in memory, because it is the
 * entry that streams them once for every token.
 *
 * @throws UNSUPPORTED_OP for an op a target has no rule for, LIMIT_EXCEEDED when memory does not fit a target,
 *   INVALID_GRAPH when entries disagree about a state.
 */
export async function schedule(
  graphs: Readonly<Record<string, Graph>>,
  options: ScheduleOptions,
): Promise<Plan> {
  const memory: SharedMemory = {
    weights: new WeightRegion(),
    states: new StateRegion(),
    io: new IoRegion(Object.values(graphs)),
  };
  const drafted: DraftTarget[] = [];
  for (const name of options.targets) {
    const target = await classes[name]();
    const limits = { ...target.limits, ...options.limits };
    drafted.push(draftTarget(name, { ...target, limits }, graphs, memory));
  }
  // Checks come after the inputs and outputs of all targets, each target's in the same place.
  const modelIo = memory.io.bytes;
  const scheduled = drafted.map((target) => finishTarget(target, options.checks ? modelIo : undefined));
  const io = Math.max(modelIo, ...scheduled.map(({ plan }) => plan.checks?.borders.at(-1) ?? 0));
  const [first] = scheduled;
  const plan: Plan = {
    entries: Object.fromEntries([...(first?.drafts ?? [])].map(([name, draft]) => [name, signature(draft)])),
    regions: { io, state: memory.states.bytes, weights: memory.weights.bytes },
    weights: memory.weights.buffers,
    states: memory.states.states,
    maxThreads: options.maxThreads,
    targets: Object.fromEntries(scheduled.map(({ name, plan }) => [name, plan])),
  };
  for (const target of scheduled) checkMemory(target, plan, options.maxMemory);
  return plan;
}

interface ScheduledTarget {
  readonly name: TargetName;
  readonly addressSpace: number | undefined;
  /** In the order of the graphs. */
  readonly drafts: ReadonlyMap<string, DraftEntry>;
  readonly largestTemporary: NamedBytes | undefined;
  readonly plan: TargetPlan;
}

interface DraftTarget {
  readonly name: TargetName;
  readonly target: TargetClass;
  readonly library: KernelLibrary;
  /** In the order of the graphs. */
  readonly drafts: ReadonlyMap<string, DraftEntry>;
}

function draftTarget(
  name: TargetName,
  target: TargetClass,
  graphs: Readonly<Record<string, Graph>>,
  memory: SharedMemory,
): DraftTarget {
  const library = new KernelLibrary(target.templates);
  const { rules, patterns = [], code, limits } = target;
  const shared = { target: name, rules, patterns, code, limits, library, ...memory };
  const names = Object.keys(graphs);
  const order = names.toSorted((a, b) => Number(b === "decode") - Number(a === "decode"));
  const inOrder = new Map(order.map((entry) => [entry, draftEntry(entry, graphs[entry]!, shared)]));
  return { name, target, library, drafts: new Map(names.map((entry) => [entry, inOrder.get(entry)!])) };
}

/** @param checksStart where checks lie in the io region; undefined for none */
function finishTarget(
  { name, target, library, drafts }: DraftTarget,
  checksStart: number | undefined,
): ScheduledTarget {
  const { rules, patterns = [], code, limits } = target;
  const checks =
    checksStart === undefined
      ? undefined
      : draftChecks(drafts.values(), library, { target: name, rules, patterns, code, limits }, checksStart);
  const all = [...drafts.values(), ...(checks?.checks ?? []).map(({ draft }) => draft)];
  const arenas = target.placeTemporaries(all);
  const served = [...drafts.values()].map((draft) => servedOutputs(draft, library));
  const isBound = target.addressSpace === undefined;
  const each = <T>(make: (draft: DraftEntry, index: number) => T): Record<string, T> =>
    Object.fromEntries([...drafts].map(([entry, draft], index) => [entry, make(draft, index)]));
  return {
    name,
    addressSpace: target.addressSpace,
    drafts,
    largestTemporary: largestOf(arenas.entries.flatMap(({ buffers }) => buffers)),
    plan: {
      kernels: library.kernels,
      plans: each((draft, entry) =>
        draft.steps.map((step, index) => finishStep(step, isBound, served[entry]![index])),
      ),
      summaries: each((draft, entry) => summarize(draft, arenas.entries[entry]!, library, served[entry]!)),
      arena: { bytes: arenas.bytes, buffers: arenas.starts },
      scratch: Math.max(0, ...all.map(({ scratchBytes }) => scratchBytes)),
      ...(checks && { checks: finishChecks(checks, isBound) }),
    },
  };
}

function finishChecks({ checks, borders, unchecked }: DraftChecks, isBound: boolean): PlannedChecks {
  return {
    checks: checks.map(({ graph, draft, memory, observed, runs }) => ({
      graph,
      steps: draft.steps.map((step) => finishStep(step, isBound)),
      inputs: [...memory.inputs].map(([value, place]) => ({ value, place: finishPlace(place) })),
      weights: memory.weights,
      observed: observed.map(({ value, place, writers }) => ({
        value,
        place: finishPlace(place),
        writers: writers.map((step) => draft.steps.indexOf(step)),
      })),
      runs,
    })),
    borders,
    unchecked,
  };
}

function finishPlace({ buffer, dtype, dims, strides, offset }: Place): ObservedValue["place"] {
  return {
    region: buffer.region,
    offset: sum(buffer.offset!, product(offset, elementBytes(dtype))),
    strides,
    dims,
    paddedRow: buffer.paddedColumns === undefined ? 0 : paddedColumns(buffer.paddedColumns),
  };
}

interface NamedBytes {
  readonly name: string;
  readonly bytes: number;
}

function largestOf(sizes: readonly NamedBytes[]): NamedBytes | undefined {
  return sizes.reduce<NamedBytes | undefined>(
    (a, b) => (a !== undefined && a.bytes >= b.bytes ? a : b),
    undefined,
  );
}

/** What callers see of an entry. */
function signature(draft: DraftEntry): Entry {
  const symbols = [...draft.graph.symbols].map(([name, { max }]) => [name, max]);
  return {
    inputs: [...draft.inputs],
    outputs: [...draft.outputs],
    symbols: Object.fromEntries(symbols),
    ...(draft.minimums.size > 0 && { minimums: Object.fromEntries(draft.minimums) }),
  };
}

function finishStep({ origin: _, ...step }: DraftStep, isBound: boolean, serves?: readonly string[]): Step {
  return {
    ...step,
    arguments: step.arguments.map((argument) => finishArgument(argument, isBound)),
    ...(serves && { serves: [...serves] }),
  };
}

function finishArgument(argument: DraftArgument, isBound: boolean): Step["arguments"][number] {
  if (argument.kind !== "buffer") return argument;
  const { region, offset, bytes } = argument.storage;
  const extent = argument.extent ?? sum(bytes, product(argument.offset, -1));
  return {
    kind: "buffer",
    region,
    offset: sum(offset!, argument.offset),
    ...(isBound && { bytes: extent }),
  };
}

/** @throws LIMIT_EXCEEDED with every region's size and the largest buffer of each. */
function checkMemory(
  { name, addressSpace, largestTemporary, plan: target }: ScheduledTarget,
  plan: Plan,
  maxMemory = Number.POSITIVE_INFINITY,
): void {
  const most = Math.min(addressSpace ?? Number.POSITIVE_INFINITY, maxMemory);
  const { io, state, weights }: RegionSizes = plan.regions;
  const arena = target.arena.bytes;
  const scratch = target.scratch * plan.maxThreads;
  const total = io + arena + state + weights + scratch;
  if (total <= most) return;
  const asks = [
    { region: "weights", bytes: weights, largest: largestOf(plan.weights) },
    { region: "state", bytes: state, largest: largestOf(plan.states) },
    { region: "temporaries", bytes: arena, largest: largestTemporary },
    { region: "inputs and outputs", bytes: io, largest: undefined },
    { region: `scratch of ${plan.maxThreads} threads`, bytes: scratch, largest: undefined },
  ];
  const received = asks
    .filter(({ bytes }) => bytes > 0)
    .sort((a, b) => b.bytes - a.bytes)
    .map(({ region, bytes, largest }) => {
      const detail =
        largest === undefined ? "" : ` (largest: ${largest.name}, ${formatBytes(largest.bytes)})`;
      return `${region} ${formatBytes(bytes)}${detail}`;
    });
  const isChosen = most === maxMemory;
  throw new BitloomError("LIMIT_EXCEEDED", `the model does not fit the memory of target ${name}`, {
    expected: `at most ${formatBytes(most)} in all${isChosen ? `; \`maxMemory\` of ${total} bytes is the least that suffices` : ""}`,
    received: `${formatBytes(total)}: ${received.join("; ")}`,
  });
}
