import type { Storage } from "./draft.ts";
import type { DraftEntry } from "./entry.ts";
import { type Lifetime, planArena, planBuffers } from "./memory.ts";
import { upperBound } from "./symbols.ts";

/** An entry's temporaries, placed. */
export interface PlacedArena {
  readonly bytes: number;
  readonly buffers: readonly { readonly name: string; readonly bytes: number }[];
}

/** The temporaries of every entry, in one region. */
export interface PlacedArenas {
  readonly entries: readonly PlacedArena[];
  readonly bytes: number;
  /** Where the region's buffers start, if it is more than one piece of memory. */
  readonly starts: readonly number[];
}

/** Gives temporaries addresses in one memory that all entries share, from the steps that touch them. */
export function placeInMemory(drafts: readonly DraftEntry[]): PlacedArenas {
  const entries = drafts.map((draft) => {
    const lives = lifetimes(draft, 0);
    const { offsets, bytes } = planArena([...lives.values()]);
    assign(lives, offsets);
    return { bytes, buffers: named(lives) };
  });
  return { entries, bytes: Math.max(0, ...entries.map(({ bytes }) => bytes)), starts: [] };
}

/** Gives temporaries buffers of their own, which entries share as they share memory. */
export function placeInBuffers(drafts: readonly DraftEntry[]): PlacedArenas {
  let steps = 0;
  const each = drafts.map((draft) => {
    const lives = lifetimes(draft, steps);
    steps += draft.steps.length;
    return lives;
  });
  const all = new Map(each.flatMap((lives) => [...lives]));
  const { offsets, bytes, starts } = planBuffers([...all.values()]);
  assign(all, offsets);
  return { entries: each.map((lives) => ({ bytes, buffers: named(lives) })), bytes, starts };
}

/** When each temporary lives, in steps from `start` on. */
function lifetimes({ steps, graph, kept }: DraftEntry, start: number): ReadonlyMap<Storage, Lifetime> {
  const lives = new Map<Storage, Lifetime>();
  steps.forEach((step, index) => {
    const last = start + index;
    for (const argument of step.arguments) {
      if (argument.kind !== "buffer" || argument.storage.region !== "arena") continue;
      const { storage } = argument;
      const { bytes, first } = lives.get(storage) ?? {
        bytes: upperBound(storage.bytes, graph.symbols),
        first: last,
      };
      lives.set(storage, { bytes, first, last: kept.has(storage) ? start + steps.length - 1 : last });
    }
  });
  return lives;
}

function assign(lives: ReadonlyMap<Storage, Lifetime>, offsets: readonly number[]): void {
  [...lives.keys()].forEach((storage, i) => {
    storage.offset = offsets[i];
  });
}

function named(lives: ReadonlyMap<Storage, Lifetime>): PlacedArena["buffers"] {
  return [...lives].map(([storage, { bytes }]) => ({ name: storage.name, bytes }));
}
