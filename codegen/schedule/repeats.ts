/** A stretch of a list: `period` items, `times` in a row. */
export interface Repeat {
  readonly start: number;
  readonly period: number;
  readonly times: number;
}

/**
 * Cuts a list, given as keys that are equal where items are alike, into stretches that repeat and stretches that do
 * not (`times` 1). From each position the repetition that covers most is taken, of those the one with the shortest
 * period.
 */
export function repeats(keys: readonly unknown[]): readonly Repeat[] {
  const found: Repeat[] = [];
  let single = 0;
  const endSingle = (at: number) => {
    if (single < at) found.push({ start: single, period: at - single, times: 1 });
  };
  for (let start = 0; start < keys.length; ) {
    const best = longestRepeat(keys, start);
    if (best === undefined) {
      start++;
      continue;
    }
    endSingle(start);
    found.push(best);
    start += best.period * best.times;
    single = start;
  }
  endSingle(keys.length);
  return found;
}

function longestRepeat(keys: readonly unknown[], start: number): Repeat | undefined {
  let best: Repeat | undefined;
  for (let period = 1; start + 2 * period <= keys.length; period++) {
    let end = start + period;
    while (end < keys.length && keys[end] === keys[end - period]) end++;
    const times = Math.floor((end - start) / period);
    if (times > 1 && (best === undefined || period * times > best.period * best.times)) {
      best = { start, period, times };
    }
  }
  return best;
}
