/** How GPU rules cut work into workgroups. */
import type { SymbolExpr } from "../../../runtime/manifest.ts";
import type { BufferArgument, DraftStep, Grid } from "../draft.ts";
import type { RuleContext } from "../rules.ts";
import { ceilDiv, sum } from "../symbols.ts";

/** Pieces of weights start at multiples of so many columns, so that their rows and scales start aligned. */
const COLUMN_STEP = 256;
/** What may follow a weight's last row: slack of int8 codes, rows that fill up the last four. */
const TAIL_BYTES = 16;
const TAIL_ROWS = 3;

/** Workgroups of a kernel that goes on to every `workgroupCount()`-th piece of work. */
export function strided(pieces: SymbolExpr, context: RuleContext): Grid {
  const { workgroups } = context.limits;
  return [context.upperBound(pieces) > workgroups ? ["min", pieces, workgroups] : pieces, 1];
}

export const PAIRWISE_WORKGROUP = 64;

/** Workgroups of a kernel whose invocations each take an element, then every so-many-th. */
export function elementwiseGrid(elements: SymbolExpr, context: RuleContext): Grid {
  return strided(ceilDiv(elements, PAIRWISE_WORKGROUP), context);
}

/** Options of a kernel whose workgroups each take a row of k values. */
export function rowShape(k: SymbolExpr, context: RuleContext) {
  const most = context.upperBound(k);
  const workgroupSize = most <= 1024 ? 64 : 256;
  const passes = Math.ceil(most / (4 * workgroupSize));
  // Longer rows are computed anew for each pass over them.
  return { workgroupSize, held: passes <= 8 ? passes : 0 };
}

/** Results side by side that a workgroup reads together, if there are as many. */
const COLUMNS = 32;

/** Options of a kernel whose workgroups reduce `length` elements for each of some neighbouring results, of `inner`. */
export function reductionShape(length: SymbolExpr, inner: SymbolExpr, context: RuleContext) {
  const columns = Math.min(COLUMNS, powerOfTwo(context.upperBound(inner)));
  return { workgroupSize: context.upperBound(length) <= 1024 / columns ? 64 : 256, columns };
}

/** The smallest power of two that is not below n. */
function powerOfTwo(n: number): number {
  return 2 ** Math.ceil(Math.log2(n));
}

type Guard = NonNullable<DraftStep["guard"]>;

/** How a product of so many rows is computed: by products with vectors, `tileRows` at once, or by tiles. */
export type ProductShape =
  | { readonly kind: "gemv"; readonly oneRow: boolean; readonly tileRows: 1 | 4 }
  | { readonly kind: "gemm"; readonly oneRow: false };

/** Rows that products with vectors are faster for. */
const GEMV_ROWS = 8;

/** Emits a product for as many rows as there can be, guarded where only a call knows. */
export function byRows(
  rows: SymbolExpr,
  context: RuleContext,
  emit: (shape: ProductShape, guard?: Guard) => void,
): void {
  const most = context.upperBound(rows);
  const shapes: readonly (readonly [shape: ProductShape, lower: number, upper: number])[] = [
    [{ kind: "gemv", oneRow: true, tileRows: 1 }, 1, 1],
    [{ kind: "gemv", oneRow: false, tileRows: 4 }, 2, Math.min(GEMV_ROWS, most)],
    [{ kind: "gemm", oneRow: false }, GEMV_ROWS + 1, most],
  ];
  for (const [shape, lower, upper] of shapes) {
    if (lower > upper) continue;
    if (typeof rows === "number") {
      if (lower <= rows && rows <= upper) emit(shape);
    } else if (most === 1) emit(shape);
    else emit(shape, { value: rows, lower, upper });
  }
}

/** Tiles of a matrix product: 32 rows times 32 columns. */
export const tile = { workgroupSize: 64, rowThreads: 8, edge: 4, subgroups: false } as const;
export const TILE_EDGE = 32;

/** Some columns of a product, or rows of a table. */
export interface Piece {
  readonly first: number;
  readonly count: number;
}

/**
 * Cuts the rows of a weight of `bytesPerRow` so that each piece fits one buffer, and one dispatch where
 * `rowsPerWorkgroup` of them are a workgroup's.
 */
export function pieces(
  n: number,
  bytesPerRow: number,
  { limits }: RuleContext,
  rowsPerWorkgroup = Number.POSITIVE_INFINITY,
): readonly Piece[] {
  const fitting = Math.floor((limits.bufferBytes - TAIL_BYTES) / bytesPerRow) - TAIL_ROWS;
  const most = Math.min(fitting, limits.workgroups * rowsPerWorkgroup);
  if (n <= most) return [{ first: 0, count: n }];
  const step = Math.max(COLUMN_STEP, Math.floor(most / COLUMN_STEP) * COLUMN_STEP);
  const count = Math.ceil(n / step);
  return Array.from({ length: count }, (_, i) => ({
    first: i * step,
    count: Math.min(step, n - i * step),
  }));
}

/** The part of a weight's buffer that holds a piece of its rows. */
export function pieceOf(
  argument: BufferArgument,
  { first, count }: Piece,
  n: number,
  bytesPerRow: number,
): BufferArgument {
  if (count === n) return argument;
  const offset = first * bytesPerRow;
  const isLast = first + count === n;
  const bytes = isLast ? sum(argument.bytes, -offset) : count * bytesPerRow;
  return {
    ...argument,
    offset: sum(argument.offset, offset),
    bytes,
    ...(!isLast && { extent: count * bytesPerRow }),
  };
}
