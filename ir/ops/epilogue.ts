import { evaluateScalar, type ScalarExpr, scalarType } from "../scalar.ts";
import type { ConcreteType, Tensor } from "../tensor.ts";
import { sizeOf } from "../tensor.ts";
import type { Dim, TensorType } from "../types.ts";
import { broadcastsTo, formatDims } from "../types.ts";
import { broadcastReader } from "./broadcast.ts";
import type { Site } from "./define.ts";

/** Checks an epilogue over an accumulator and extras; without one there must be no extras. */
export function requireEpilogue(
  epilogue: ScalarExpr | undefined,
  acc: "i32" | "f32",
  extras: readonly TensorType[],
  dims: readonly Dim[],
  site: Site,
): void {
  if (!epilogue) {
    if (extras.length > 0) site.shape("no extra operands without an epilogue");
    return;
  }
  requireScalar(epilogue, acc, extras, site);
  for (const extra of extras) {
    if (!broadcastsTo(extra.dims, dims)) site.shape(`extras that broadcast to ${formatDims(dims)}`);
  }
}

/** Checks that an expression over these operands is well typed and f32. */
export function requireScalar(
  expr: ScalarExpr,
  acc: "i32" | "f32" | undefined,
  args: readonly TensorType[],
  site: Site,
): void {
  for (const type of args) {
    if (type.encoding || (type.dtype !== "f32" && type.dtype !== "i32")) {
      site.dtype("f32 or i32 arguments of a scalar expression");
    }
  }
  const type = scalarType(expr, { ...(acc && { acc }), args: args.map((operand) => operand.dtype) });
  if ("problem" in type) site.attribute("an expression over its arguments", type.problem);
  else if (type.dtype !== "f32") site.attribute("an f32 expression", "an i32 one; use to_f32");
}

/** The expression at every element of the result; `acc` is undefined where there is none. */
export function applyEpilogue(
  expr: ScalarExpr,
  acc: ArrayLike<number> | undefined,
  extras: readonly Tensor[],
  result: ConcreteType,
): Float32Array {
  const out = new Float32Array(sizeOf(result.dims));
  const readers = extras.map((extra) => broadcastReader(extra, result.dims));
  const args = new Array<number>(extras.length).fill(0);
  for (let i = 0; i < out.length; i++) {
    for (let j = 0; j < readers.length; j++) args[j] = readers[j]!(i);
    out[i] = evaluateScalar(expr, acc ? acc[i]! : Number.NaN, args);
  }
  return out;
}
