/** Bytes of a parameter that are in memory at once, twice: one piece is used while the next is read. */
export const PIECE_BYTES = 2 * 1024 * 1024;

/** Successive ranges of at most `most` of `total` things. */
export function* ranges(total: number, most: number): Generator<{ first: number; count: number }> {
  for (let first = 0; first < total; first += most) yield { first, count: Math.min(most, total - first) };
}

/**
 * Reads pieces into two buffers in turn, one piece ahead of its use.
 *
 * @param read starts reading a piece into buffer 0 or 1
 * @param use takes the piece that has arrived there; the buffer is free again when it returns or resolves
 */
export async function readAhead<Piece>(
  pieces: Iterable<Piece>,
  read: (piece: Piece, buffer: 0 | 1) => Promise<void>,
  use: (piece: Piece, buffer: 0 | 1) => void | Promise<void>,
): Promise<void> {
  const iterator = pieces[Symbol.iterator]();
  const start = (next: IteratorResult<Piece>, buffer: 0 | 1) => {
    if (next.done) return undefined;
    const reading = read(next.value, buffer);
    // It may fail while the piece before it is in use; whoever awaits it hears of that then.
    reading.catch(() => {});
    return reading;
  };
  let buffer: 0 | 1 = 0;
  let current = iterator.next();
  let reading = start(current, buffer);
  while (!current.done) {
    await reading;
    const next = iterator.next();
    const other: 0 | 1 = buffer === 0 ? 1 : 0;
    reading = start(next, other);
    try {
      await use(current.value, buffer);
    } catch (error) {
      // The memory may be used again only when nobody writes to it.
      await reading?.catch(() => {});
      throw error;
    }
    buffer = other;
    current = next;
  }
}
