/** Operands in the arrangements that templates read. */
import type { Value } from "../../ir/graph.ts";
import type { SymbolExpr } from "../../runtime/manifest.ts";
import { type BufferArgument, bufferArgument, type Place } from "./draft.ts";
import type { WeightLayout } from "./plan.ts";
import type { RuleContext } from "./rules.ts";
import { elementCount, isMultiple } from "./symbols.ts";
import { mergeAxes, rowsOf } from "./view.ts";

/** Whether a ternary weight is read for more than its scales. */
export function readsCodes(weight: Value, context: RuleContext): boolean {
  return context.readers(weight).some(({ op }) => op !== "weight_scale");
}

/** Rows of a value: the product of all its leading axes. */
export function leadingRows(value: Value, context: RuleContext): SymbolExpr {
  return elementCount(context.dims(value).slice(0, -1));
}

/** An operand as evenly spaced rows of neighbouring elements; copied where it is not. */
export function unitRows(value: Value, context: RuleContext): { place: Place; rowStride: SymbolExpr } {
  const place = context.place(value);
  const rows = rowsOf(place);
  if (rows?.columnStride === 1) return { place, rowStride: rows.rowStride };
  const copy = context.contiguous(value);
  return { place: copy, rowStride: rowsOf(copy)!.rowStride };
}

/** A tensor [a, b, heads, dim] as rows of heads * dim neighbouring elements, `stride` from one to the next. */
export interface HeadRows {
  readonly place: Place;
  readonly stride: SymbolExpr;
}

/** A tensor [a, b, heads, dim] as evenly spaced (a, b) rows; undefined where it is not. */
export function spacedHeadRows(value: Value, context: RuleContext): HeadRows | undefined {
  const place = context.place(value);
  const rows = mergeAxes(place.dims.slice(0, 2), [place.strides.slice(0, 2)]);
  const row = mergeAxes(place.dims.slice(2), [place.strides.slice(2)]);
  const rowStride = rows.strides[0]![0];
  const whole = row.dims.length === 0 || (row.dims.length === 1 && row.strides[0]![0] === 1);
  if (!whole || rows.dims.length > 1) return undefined;
  return { place, stride: rowStride ?? elementCount(place.dims.slice(2)) };
}

/** A tensor [a, b, heads, dim] as evenly spaced (a, b) rows; copied where it is not. */
export function headRows(value: Value, context: RuleContext): HeadRows {
  const spaced = spacedHeadRows(value, context);
  if (spaced !== undefined) return spaced;
  const place = context.contiguous(value);
  return { place, stride: elementCount(place.dims.slice(2)) };
}

export function weightArgument(
  context: RuleContext,
  w: Value,
  layout: Exclude<WeightLayout, "dense">,
): BufferArgument {
  const storage = context.weight(w, layout);
  return { kind: "buffer", storage, offset: 0, bytes: storage.bytes };
}

/** How a weight that kernels read densely or as int8 rows lies in memory. */
export type DenseWeight = "f32" | "f16" | "bf16" | "int8";

/** GPU kernels read weights by words; a slice of 16-bit floats may start inside of one. */
const WORD_BYTES = 4;

/** A weight that kernels read densely or as int8 rows: its element type and its arguments. */
export function denseWeight(w: Value, context: RuleContext) {
  if (w.type.encoding?.kind === "int8") {
    const weights = weightArgument(context, w, "int8-codes");
    return { weight: "int8" as const, weights, scales: weightArgument(context, w, "int8-scales") };
  }
  const place = context.contiguous(w);
  const isWords = isMultiple(bufferArgument(place).offset, WORD_BYTES);
  const weights = bufferArgument(
    isWords ? place : context.copy(place, `${w.name ?? "weight"} from a word on`),
  );
  return { weight: w.type.dtype as DenseWeight, weights, scales: weights };
}
