/**
 * From lowered graphs to kernels, a memory plan and step lists. Values get places (a buffer and strides),
 * ops become steps by the rules of a target class, and temporaries that never live together share memory.
 */
import { BitloomError } from "../../errors/index.ts";
import type { Graph } from "../../ir/graph.ts";
import type { Step } from "../../runtime/manifest.ts";
import { placeArena } from "./arena.ts";
import { formatBytes } from "./bytes.ts";
import { cpuTarget } from "./cpu/target.ts";
import type { DraftArgument, DraftStep } from "./draft.ts";
import { type DraftEntry, draftEntry, type Shared, StateRegion } from "./entry.ts";
import type { TargetCode } from "./lanes.ts";
import { KernelLibrary, type Templates } from "./library.ts";
import type { Plan, PlannedEntry, RegionSizes } from "./plan.ts";
import type { RuleTable } from "./rules.ts";
import { sum } from "./symbols.ts";
import { summarize } from "./traffic.ts";
import { WeightRegion } from "./weights.ts";

/** What the schedule needs to know of a target class. */
export interface Target {
  readonly name: string;
  readonly rules: RuleTable;
  readonly templates: Templates;
  readonly code: TargetCode;
}

export interface ScheduleOptions {
  readonly target: "wasm";
  /** Threads that get scratch memory. */
  readonly maxThreads: number;
}

/** WebAssembly's 32-bit linear memory. */
const ADDRESS_SPACE = 2 ** 32;

/**
 * Schedules the entries of one model. They share kernels, weights and states; `decode` is first in line for
 * the order of weights in memory, because it is the entry that streams them once for every token.
 *
 * @throws UNSUPPORTED_OP for an op the target has no rule for, LIMIT_EXCEEDED when memory does not fit the
 *   target, INVALID_GRAPH when entries disagree about a state.
 */
export async function schedule(
  graphs: Readonly<Record<string, Graph>>,
  options: ScheduleOptions,
): Promise<Plan> {
  const target = await cpuTarget(options.target);
  const shared: Shared = {
    target: target.name,
    rules: target.rules,
    code: target.code,
    library: new KernelLibrary(target.templates),
    weights: new WeightRegion(),
    states: new StateRegion(),
  };
  const names = Object.keys(graphs);
  const order = names.toSorted((a, b) => Number(b === "decode") - Number(a === "decode"));
  const drafts = new Map(order.map((name) => [name, draftEntry(graphs[name]!, shared)]));
  const placed = new Map([...drafts].map(([name, draft]) => [name, placeArena(draft)]));
  const summaries = names.map((name) => [
    name,
    summarize(drafts.get(name)!, placed.get(name)!, shared.library),
  ]);
  const most = (size: (draft: DraftEntry) => number) => Math.max(0, ...[...drafts.values()].map(size));
  const regions: RegionSizes = {
    io: most((draft) => draft.ioBytes),
    arena: Math.max(0, ...[...placed.values()].map(({ bytes }) => bytes)),
    state: shared.states.bytes,
    weights: shared.weights.bytes,
    scratch: most((draft) => draft.scratchBytes),
  };
  const plan: Plan = {
    entries: Object.fromEntries(names.map((name) => [name, finish(drafts.get(name)!)])),
    kernels: shared.library.kernels,
    regions,
    weights: shared.weights.buffers,
    states: shared.states.states,
    maxThreads: options.maxThreads,
    summaries: Object.fromEntries(summaries),
  };
  checkMemory(plan, options, largestOf([...placed.values()].flatMap(({ buffers }) => buffers)));
  return plan;
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

function finish(draft: DraftEntry): PlannedEntry {
  const symbols = [...draft.graph.symbols].map(([name, { max }]) => [name, max]);
  return {
    inputs: [...draft.inputs],
    outputs: [...draft.outputs],
    symbols: Object.fromEntries(symbols),
    ...(draft.minimums.size > 0 && { minimums: Object.fromEntries(draft.minimums) }),
    steps: draft.steps.map(finishStep),
  };
}

function finishStep(step: DraftStep): Step {
  return { ...step, arguments: step.arguments.map(finishArgument) };
}

function finishArgument(argument: DraftArgument): Step["arguments"][number] {
  if (argument.kind !== "buffer") return argument;
  const { region, offset } = argument.storage;
  return { kind: "buffer", region, offset: sum(offset!, argument.offset) };
}

/** @throws LIMIT_EXCEEDED with every region's size and the largest buffer of each. */
function checkMemory(plan: Plan, options: ScheduleOptions, temporary: NamedBytes | undefined): void {
  const { io, arena, state, weights } = plan.regions;
  const scratch = plan.regions.scratch * options.maxThreads;
  const total = io + arena + state + weights + scratch;
  if (total <= ADDRESS_SPACE) return;
  const asks = [
    { region: "weights", bytes: weights, largest: largestOf(plan.weights) },
    { region: "state", bytes: state, largest: largestOf(plan.states) },
    { region: "temporaries", bytes: arena, largest: temporary },
    { region: "inputs and outputs", bytes: io, largest: undefined },
    { region: `scratch of ${options.maxThreads} threads`, bytes: scratch, largest: undefined },
  ];
  const received = asks
    .filter(({ bytes }) => bytes > 0)
    .sort((a, b) => b.bytes - a.bytes)
    .map(({ region, bytes, largest }) => {
      const detail =
        largest === undefined ? "" : ` (largest: ${largest.name}, ${formatBytes(largest.bytes)})`;
      return `${region} ${formatBytes(bytes)}${detail}`;
    });
  throw new BitloomError("LIMIT_EXCEEDED", `the model does not fit the memory of target ${options.target}`, {
    expected: `at most ${formatBytes(ADDRESS_SPACE)} in all`,
    received: `${formatBytes(total)}: ${received.join("; ")}`,
  });
}
