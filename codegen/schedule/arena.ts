import type { Storage } from "./draft.ts";
import type { DraftEntry } from "./entry.ts";
import { type Lifetime, planArena } from "./memory.ts";
import { upperBound } from "./symbols.ts";

/** An entry's temporaries, placed. */
export interface PlacedArena {
  readonly bytes: number;
  readonly buffers: readonly { readonly name: string; readonly bytes: number }[];
}

/** Gives an entry's temporaries their addresses, from the steps that touch them. */
export function placeArena({ steps, graph }: DraftEntry): PlacedArena {
  const lives = new Map<Storage, Lifetime>();
  steps.forEach((step, last) => {
    for (const argument of step.arguments) {
      if (argument.kind !== "buffer" || argument.storage.region !== "arena") continue;
      const { storage } = argument;
      const { bytes, first } = lives.get(storage) ?? {
        bytes: upperBound(storage.bytes, graph.symbols),
        first: last,
      };
      lives.set(storage, { bytes, first, last });
    }
  });
  const storages = [...lives.keys()];
  const { offsets, bytes } = planArena([...lives.values()]);
  storages.forEach((storage, i) => {
    storage.offset = offsets[i];
  });
  return {
    bytes,
    buffers: storages.map((storage) => ({ name: storage.name, bytes: lives.get(storage)!.bytes })),
  };
}
