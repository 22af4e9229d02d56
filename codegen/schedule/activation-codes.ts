import type { Value } from "../../ir/graph.ts";
import type { Dim } from "../../ir/types.ts";
import type { Place } from "./draft.ts";
import { padRowsCall } from "./movement.ts";
import type { RuleContext } from "./rules.ts";
import { elementCount, product, sameExpr, sum } from "./symbols.ts";
import { contiguousStrides, rowsOf } from "./view.ts";

/** Codes of activations and weights come in blocks of this many. */
export const CODES_BLOCK = 64;
/** Bytes past the last row of activation codes that kernels may read. */
const CODES_SLACK = 64;

/** K rounded up to whole blocks: the row stride of activation codes. */
export function paddedColumns(k: number): number {
  return Math.ceil(k / CODES_BLOCK) * CODES_BLOCK;
}

/** A place for activation codes: rows padded to whole blocks, and slack after the last. */
export function codesPlace(value: Value, context: RuleContext): Place {
  return codesView(value.name ?? "codes", context.dims(value));
}

/** Rows of codes as kernels read them, in a temporary. */
export function codesView(name: string, dims: readonly Dim[]): Place {
  const k = dims.at(-1) as number;
  const padded = paddedColumns(k);
  const rows = elementCount(dims.slice(0, -1));
  const bytes = sum(product(rows, padded), CODES_SLACK);
  return {
    buffer: { name, region: "arena", offset: undefined, bytes, paddedColumns: k },
    dtype: "i8",
    dims,
    offset: 0,
    strides: contiguousStrides([...dims.slice(0, -1), padded]),
  };
}

/** Where codes lie in padded rows with zero tails; copied there when they come from anything but a quantizer. */
export function paddedCodes(value: Value, context: RuleContext): Place {
  const place = context.place(value);
  const k = context.dims(value).at(-1) as number;
  const padded = paddedColumns(k);
  const rows = rowsOf(place);
  const ready =
    place.buffer.paddedColumns === k &&
    rows?.columnStride === 1 &&
    (rows.rows === 1 || sameExpr(rows.rowStride, padded)) &&
    context.upperBound(place.offset) % padded === 0;
  if (ready) return place;
  const out = codesPlace(value, context);
  const source = rows?.columnStride === 1 ? place : context.contiguous(value);
  context.generate(padRowsCall(source, out, padded));
  return out;
}
