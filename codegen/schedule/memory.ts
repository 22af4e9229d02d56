import { TENSOR_ALIGNMENT } from "../../runtime/manifest.ts";

export function align(bytes: number): number {
  return Math.ceil(bytes / TENSOR_ALIGNMENT) * TENSOR_ALIGNMENT;
}

/** A temporary buffer: its size with every symbol at its maximum, and the steps that touch it. */
export interface Lifetime {
  readonly bytes: number;
  /** Index of the first step that touches the buffer. */
  readonly first: number;
  /** Index of the last step that touches it; `last >= first`. */
  readonly last: number;
}

export interface ArenaPlan {
  /** Byte offset of each buffer, in the order given. */
  readonly offsets: readonly number[];
  readonly bytes: number;
}

/**
 * Places buffers so that no two that live at the same step overlap. Largest first, each in the smallest gap
 * that fits between those already placed during its life: the greedy-by-size strategy of Pisarchyk and Lee,
 * "Efficient Memory Management for Deep Neural Net Inference" (2020).
 */
export function planArena(lifetimes: readonly Lifetime[]): ArenaPlan {
  const offsets = new Array<number>(lifetimes.length).fill(0);
  const order = lifetimes.map((_, index) => index);
  order.sort(
    (a, b) => lifetimes[b]!.bytes - lifetimes[a]!.bytes || lifetimes[a]!.first - lifetimes[b]!.first,
  );
  const placed: { start: number; end: number; life: Lifetime }[] = [];
  let total = 0;
  for (const index of order) {
    const life = lifetimes[index]!;
    const size = align(life.bytes);
    let best: { offset: number; gap: number } | undefined;
    let free = 0;
    for (const other of placed) {
      if (other.life.last < life.first || life.last < other.life.first) continue;
      const gap = other.start - free;
      if (gap >= size && (best === undefined || gap < best.gap)) best = { offset: free, gap };
      free = Math.max(free, other.end);
    }
    const start = best?.offset ?? free;
    offsets[index] = start;
    total = Math.max(total, start + size);
    const after = placed.findIndex((other) => other.start > start);
    placed.splice(after < 0 ? placed.length : after, 0, { start, end: start + size, life });
  }
  return { offsets, bytes: total };
}

/**
 * Places buffers as memory that a device binds by itself: those that never live together may be one, each is whole,
 * and what lives at the same step never shares one. Largest first, each in the first that is free for its life.
 */
export function planBuffers(
  lifetimes: readonly Lifetime[],
): ArenaPlan & { readonly starts: readonly number[] } {
  const order = lifetimes
    .map((_, index) => index)
    .sort((a, b) => lifetimes[b]!.bytes - lifetimes[a]!.bytes || lifetimes[a]!.first - lifetimes[b]!.first);
  const offsets = new Array<number>(lifetimes.length).fill(0);
  const buffers: { readonly start: number; readonly lives: Lifetime[] }[] = [];
  let total = 0;
  for (const index of order) {
    const life = lifetimes[index]!;
    const isFree = (other: Lifetime) => other.last < life.first || life.last < other.first;
    let buffer = buffers.find(({ lives }) => lives.every(isFree));
    if (buffer === undefined) {
      buffer = { start: total, lives: [] };
      buffers.push(buffer);
      total += align(life.bytes);
    }
    buffer.lives.push(life);
    offsets[index] = buffer.start;
  }
  return { offsets, bytes: total, starts: buffers.map(({ start }) => start) };
}
