import { type Cut, literalsOf, type Sizes } from "./cut.ts";

/** Numbers up to this may become as small as `SMALL_STEP`; larger ones keep what they are modulo `LARGE_STEP`. */
const SMALL = 64;
const SMALL_STEP = 4;
const LEAST_SMALL = 8;
const LARGE_STEP = 64;
const LEAST_LARGE = 128;

/** Smaller numbers for one, least first: so many times its kernels' vectors and blocks, and as ragged an end. */
function smaller(value: number): readonly number[] {
  const [step, least] = value <= SMALL ? [SMALL_STEP, LEAST_SMALL] : [LARGE_STEP, LEAST_LARGE];
  const found: number[] = [];
  for (let whole = least; whole + (value % step) < value; whole *= 2) found.push(whole + (value % step));
  return found;
}

const smallerBounds = (max: number): readonly number[] =>
  [3, 5, 9, 17, 33, 65, 129, 257, 513, 1025, 2049].filter((bound) => bound < max);

/**
 * The smallest sizes of a cut for which `holds` still says yes, as far as a search dim by dim finds them. A literal
 * dim is the same everywhere, and its multiples shrink with it where they can, since they are its products with others.
 */
export function shrink(cut: Cut, holds: (sizes: Sizes) => boolean): Sizes {
  let sizes: Sizes = { dims: new Map(), bounds: new Map() };
  const accept = (next: Sizes): boolean => {
    if (!holds(next)) return false;
    sizes = next;
    return true;
  };
  for (const [symbol, { max }] of cut.draft.graph.symbols) {
    smallerBounds(max).some((bound) =>
      accept({ ...sizes, bounds: new Map(sizes.bounds).set(symbol, bound) }),
    );
  }
  const literals = [...literalsOf(cut)].filter((literal) => literal > LEAST_SMALL).sort((a, b) => b - a);
  for (const literal of literals) {
    const now = sizes.dims.get(literal) ?? literal;
    for (const less of smaller(now)) {
      const alone = new Map(sizes.dims).set(literal, less);
      const together = new Map(alone);
      for (const other of literals) {
        const its = sizes.dims.get(other) ?? other;
        if (other !== literal && its % now === 0) together.set(other, (its / now) * less);
      }
      if (accept({ ...sizes, dims: together }) || accept({ ...sizes, dims: alone })) break;
    }
  }
  return sizes;
}
