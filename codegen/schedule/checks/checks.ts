/**
 * Small graphs that have a target run every one of its kernels, cut out of the graphs that the target was scheduled
 * for. A cut is scheduled by the rules of the whole, from the kernels that are there: it is a check of those very kernels,
 * or none.
 */
import { BitloomError } from "../../../errors/index.ts";
import { type Graph, type Node, producer, type Value } from "../../../ir/graph.ts";
import { isBuildTime } from "../../../ir/passes/partition-parameters.ts";
import { unalignedArguments } from "../alignment.ts";
import type { DraftStep, Place, StepOrigin } from "../draft.ts";
import { type DraftEntry, draftEntry, type Shared } from "../entry.ts";
import type { KernelLibrary } from "../library.ts";
import { holds, symbolsOf } from "../symbols.ts";
import { contiguousView } from "../view.ts";
import { type Cut, cutOut, type Excised, excise, type Sizes } from "./cut.ts";
import { indexOperands } from "./indices.ts";
import { bordersOf, CheckMemory } from "./memory.ts";
import { shrink } from "./shrink.ts";

/** A value that a check computes. */
export interface Observed {
  readonly value: Value;
  readonly place: Place;
  /** Steps that write it. */
  readonly writers: readonly DraftStep[];
}

/** A check whose memory is placed as an entry's is. */
export interface DraftCheck {
  /** What is observed as outputs. */
  readonly graph: Graph;
  readonly draft: DraftEntry;
  readonly memory: CheckMemory;
  /** In the order in which steps write them. */
  readonly observed: readonly Observed[];
  /** Values of symbols with which steps that are guarded run too. */
  readonly runs: readonly ReadonlyMap<string, number>[];
}

export interface DraftChecks {
  readonly checks: readonly DraftCheck[];
  /** Kernels that no check was found for. */
  readonly unchecked: readonly string[];
  /** Where pieces of the io region start, and where the last ends. */
  readonly borders: readonly number[];
}

type Symbols = ReadonlyMap<string, number>;

const asTheyAre: Sizes = { dims: new Map(), bounds: new Map() };

/** How many nodes on the way to a step a cut may take, one after the other. */
const MOST_DEPTH = 8;
/** Symbols are tried with every value up to this, and their bounds. */
const MOST_TRIED = 16;

/**
 * Checks for every kernel of a target's scheduled entries.
 * @param start where the checks' part of the io region starts
 */
export function draftChecks(
  drafts: Iterable<DraftEntry>,
  library: KernelLibrary,
  shared: Omit<Shared, "library" | "io" | "states" | "weights">,
  start: number,
): DraftChecks {
  const all = [...drafts];
  const finder = new CheckFinder(all, library, shared);
  for (const draft of all) {
    for (const [origin, kernels] of kernelsByOrigin(draft)) finder.check(draft, origin, kernels);
  }
  const borders = bordersOf(
    finder.found.map(({ memory }) => memory.sizes),
    start,
  );
  return {
    checks: finder.found.map(({ excised }) => finder.draft(excised, borders)),
    unchecked: library.kernels.map(({ name }) => name).filter((name) => !finder.covered.has(name)),
    borders,
  };
}

function kernelsByOrigin({ steps }: DraftEntry): ReadonlyMap<StepOrigin, ReadonlySet<string>> {
  const kernels = new Map<unknown, { readonly origin: StepOrigin; readonly names: Set<string> }>();
  for (const { origin, kernel } of steps) {
    const key = origin.kind === "node" ? origin.node : origin.kind === "state" ? origin.value : origin.name;
    const known = kernels.get(key) ?? { origin, names: new Set() };
    known.names.add(kernel);
    kernels.set(key, known);
  }
  return new Map([...kernels.values()].map(({ origin, names }) => [origin, names]));
}

interface FoundCheck extends DraftCheck {
  readonly excised: Excised;
}

class CheckFinder {
  readonly covered = new Set<string>();
  readonly found: FoundCheck[] = [];
  readonly #library: KernelLibrary;
  readonly #shared: Omit<Shared, "io" | "states" | "weights">;
  /** Arguments of each kernel, by position, that do not start at a tensor's. */
  readonly #unaligned: ReadonlyMap<string, ReadonlySet<number>>;

  constructor(
    drafts: readonly DraftEntry[],
    library: KernelLibrary,
    shared: Omit<Shared, "library" | "io" | "states" | "weights">,
  ) {
    this.#library = library;
    this.#shared = { ...shared, library: library.closed() };
    this.#unaligned = unalignedArguments(drafts.flatMap(({ steps }) => steps));
  }

  /** Finds a check of those of some steps' kernels that no check has yet. */
  check(draft: DraftEntry, origin: StepOrigin, kernels: ReadonlySet<string>): void {
    const wanted = [...kernels].filter((kernel) => !this.covered.has(kernel));
    if (wanted.length === 0) return;
    const cut = this.#faithfulCut(draft, origin, wanted);
    if (cut === undefined) return;
    const running = kernelsRun(this.#attempt(cut, asTheyAre, wanted)!);
    // A guard may exclude all values that symbols can have.
    for (const kernel of wanted) if (!running.has(kernel)) this.covered.add(kernel);
    const needed = wanted.filter((kernel) => running.has(kernel));
    if (needed.length === 0) return;
    const holds = (check: FoundCheck | undefined) =>
      check !== undefined && needed.every((kernel) => kernelsRun(check).has(kernel));
    const sizes = shrink(cut, (tried) => holds(this.#attempt(cut, tried, needed)));
    const found = this.#attempt(cut, sizes, needed)!;
    this.found.push(found);
    for (const kernel of kernelsRun(found)) this.covered.add(kernel);
  }

  draft(excised: Excised, borders?: readonly number[]): FoundCheck {
    const { graph, excerpt, codes } = excised;
    const memory = new CheckMemory(graph, codes, borders);
    const places = { io: memory, states: memory, weights: memory };
    const draft = draftEntry("check", graph, { ...this.#shared, ...places }, excerpt);
    const observed = this.#observe(draft);
    const outputs = observed.map(({ value }, index) => ({ name: `result${index}`, value }));
    return { graph: { ...graph, outputs }, excised, draft, memory, observed, runs: runsOf(draft) };
  }

  /** The least cut that takes the wanted kernels, in the sizes that things have. */
  #faithfulCut(draft: DraftEntry, origin: StepOrigin, wanted: readonly string[]): Cut | undefined {
    const holds = (cut: Cut) => this.#attempt(cut, asTheyAre, wanted) !== undefined;
    const taken = new Set<Node>();
    for (let depth = 0; depth <= MOST_DEPTH; depth++) {
      let cut = cutOut(draft, origin, taken);
      if (holds(cut)) {
        for (const node of [...taken].reverse()) {
          const fewer = new Set([...taken].filter((other) => other !== node));
          const less = cutOut(draft, origin, fewer);
          if (!holds(less)) continue;
          taken.delete(node);
          cut = less;
        }
        return cut;
      }
      const before = [...cut.leaves.keys()].flatMap((value) => {
        const node = producer(value);
        return node === undefined || isBuildTime(value) ? [] : [node];
      });
      if (before.length === 0) return undefined;
      for (const node of before) taken.add(node);
    }
    return undefined;
  }

  /** The check that a cut makes, if that is one: of what is wanted, from kernels as they are. */
  #attempt(cut: Cut, sizes: Sizes, wanted: readonly string[]): FoundCheck | undefined {
    try {
      const check = this.draft(excise(cut, sizes));
      if (check.runs.some((run) => indexOperands(check.graph, run) === undefined)) return undefined;
      const kernels = new Set(check.draft.steps.map(({ kernel }) => kernel));
      const isOf = wanted.every((kernel) => kernels.has(kernel) && this.#shows(check, kernel));
      return isOf && this.#keepsAlignment(check.draft) ? check : undefined;
    } catch (error) {
      if (error instanceof BitloomError) return undefined;
      throw error;
    }
  }

  /** Whether what a kernel writes is observed, or read by another step. */
  #shows({ draft: { steps }, observed }: FoundCheck, kernel: string): boolean {
    const seen = new Set(observed.map(({ place }) => place.buffer));
    const written = steps.filter((step) => step.kernel === kernel).flatMap((step) => this.#written(step));
    const others = steps.filter((step) => step.kernel !== kernel);
    return written.some(
      (buffer) =>
        seen.has(buffer) ||
        others.some((step) =>
          step.arguments.some((argument) => argument.kind === "buffer" && argument.storage === buffer),
        ),
    );
  }

  #keepsAlignment({ steps }: DraftEntry): boolean {
    return [...unalignedArguments(steps)].every(([kernel, positions]) =>
      [...positions].every((position) => this.#unaligned.get(kernel)?.has(position)),
    );
  }

  /** What steps write, where it is not written over. */
  #observe({ graph, steps, places, views, outputs }: DraftEntry): Observed[] {
    const values = new Map<Place["buffer"], Omit<Observed, "writers">>();
    for (const [value, place] of places) {
      if (value.origin.kind === "node" && !views.has(value)) values.set(place.buffer, { value, place });
    }
    for (const { value, next } of graph.states) {
      const place = places.get(value)!;
      if (value !== next) values.set(place.buffer, { value: next, place });
    }
    for (const { name, value } of graph.outputs) {
      const { offset } = outputs.find((slot) => slot.name === name)!;
      const written = steps.flatMap((step) => this.#written(step)).find((buffer) => buffer.offset === offset);
      if (written !== undefined && !values.has(written)) {
        values.set(written, {
          value,
          place: contiguousView(written, value.type.dtype, places.get(value)!.dims),
        });
      }
    }
    return [...values]
      .map(([buffer, observed]) => ({
        ...observed,
        writers: steps.filter((step) => this.#written(step).includes(buffer)),
      }))
      .filter(({ writers }) => writers.length > 0)
      .sort((a, b) => steps.indexOf(a.writers[0]!) - steps.indexOf(b.writers[0]!));
  }

  /** The buffers that a step writes. */
  #written(step: DraftStep): Place["buffer"][] {
    const writes = this.#library.accesses(step).filter(({ access }) => access !== "read");
    return writes.map(({ argument }) => argument.storage);
  }
}

/** The kernels that some run of a check runs. */
function kernelsRun({ draft, runs }: DraftCheck): ReadonlySet<string> {
  return new Set(
    runs.flatMap((run) => draft.steps.filter(({ guard }) => holds(guard, run)).map(({ kernel }) => kernel)),
  );
}

/** Values of an entry's symbols so that every step runs that can, largest first. */
function runsOf({ graph, steps, minimums }: DraftEntry): readonly Symbols[] {
  const guarded = new Set(steps.filter(({ guard }) => guard !== undefined));
  const deciding = new Set([...guarded].flatMap(({ guard }) => [...symbolsOf(guard!.value)]));
  let tried: readonly Symbols[] = [new Map()];
  for (const [name, { max }] of graph.symbols) {
    const values = [max];
    if (deciding.has(name)) {
      for (let value = minimums.get(name) ?? 1; value <= MOST_TRIED && value < max; value++)
        values.push(value);
    }
    tried = tried.flatMap((symbols) => values.map((value) => new Map(symbols).set(name, value)));
  }
  const size = (symbols: Symbols) => [...symbols.values()].reduce((product, value) => product * value, 1);
  const largestFirst = tried.toSorted((a, b) => size(b) - size(a));
  const runs: Symbols[] = [];
  while (runs.length === 0 || guarded.size > 0) {
    const count = (symbols: Symbols) => [...guarded].filter((step) => holds(step.guard, symbols)).length;
    const best = largestFirst.reduce((a, b) => (count(b) > count(a) ? b : a));
    if (runs.length > 0 && count(best) === 0) break;
    runs.push(best);
    for (const step of guarded) if (holds(step.guard, best)) guarded.delete(step);
  }
  return runs;
}
