import { ops } from "../../ir/ops/index.ts";
import { apply, arg, isUnary, type ScalarExpr } from "../../ir/scalar.ts";
import { sizeOf, type Tensor } from "../../ir/tensor.ts";

/** A value, and by how much what a device computes for it may differ. */
interface Rounded {
  readonly value: number;
  readonly error: number;
}

/** One unit in the last place, relative to a number. */
const ULP = 2 ** -23;
/** The least normal number: devices may take smaller ones for 0. */
const LEAST = 2 ** -126;

/**
 * By how much each element of an expression over operands may differ on a device that computes as WGSL allows: sums and
 * products round to either neighbour and in any order, quotients and roots are a few units off, denormals are 0. Not
 * finite where anything goes.
 */
export function roundingBound(expr: ScalarExpr, operands: readonly Tensor[], result: Tensor): Float64Array {
  const type = { ...result.type, dtype: "f32" as const };
  const spread = operands.map(({ type: { dtype } }, i) => {
    const leaf = dtype === "i32" ? apply("to_f32", arg(i)) : arg(i);
    return ops.elementwise.evaluate(operands as Tensor[], { expr: leaf }, [type])[0]!.data;
  });
  return Float64Array.from({ length: sizeOf(result.type.dims as number[]) }, (_, i) => {
    const { error } = rounded(expr, (operand) => Number(spread[operand]![i]));
    return Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
  });
}

function rounded(expr: ScalarExpr, leaf: (index: number) => number): Rounded {
  if (expr.kind === "acc") throw new Error("an elementwise expression has no accumulator");
  if (expr.kind === "arg") return { value: leaf(expr.index), error: 0 };
  if (expr.kind === "literal") return { value: Math.fround(expr.value), error: 0 };
  const [a, b] = expr.args.map((inner) => rounded(inner, leaf)) as [Rounded, Rounded];
  const x = Math.abs(a.value);
  const y = b === undefined ? 0 : Math.abs(b.value);
  const of = (value: number, ulps: number, scale: number, carried: number): Rounded => ({
    value,
    error: carried + ulps * ULP * scale + LEAST,
  });
  const root = (from: Rounded): Rounded => {
    const value = Math.sqrt(from.value);
    // Half the relative error of the argument, and all of it near 0.
    const carried = from.error === 0 ? 0 : Math.min(from.error / value, Math.sqrt(from.error));
    return of(value, 4, value, from.value < from.error ? Number.POSITIVE_INFINITY : carried);
  };
  const quotient = (above: Rounded, below: Rounded): Rounded => {
    const value = above.value / below.value;
    const safe = Math.abs(below.value) - below.error;
    const carried =
      safe > 0 ? (above.error + Math.abs(value) * below.error) / safe : Number.POSITIVE_INFINITY;
    // What divides by a denormal may divide by 0.
    const tiny = Math.abs(below.value) < 2 * LEAST && below.value !== 0;
    return of(value, 4, Math.abs(value), tiny ? Number.POSITIVE_INFINITY : carried);
  };
  const one: Rounded = { value: 1, error: 0 };
  switch (expr.fn) {
    case "neg":
    case "to_f32":
    case "abs":
      return { value: expr.fn === "neg" ? -a.value : expr.fn === "abs" ? x : a.value, error: a.error };
    case "sign":
      return { value: Math.sign(a.value), error: a.error === 0 && x >= LEAST ? 0 : x > a.error ? 0 : 2 };
    case "relu":
      return { value: Math.max(a.value, 0), error: a.error };
    case "relu2": {
      const kept = Math.max(a.value, 0);
      return of(kept * kept, 2, kept * kept, (2 * kept + a.error) * a.error);
    }
    case "add":
    case "sub":
      return of(expr.fn === "add" ? a.value + b.value : a.value - b.value, 2, x + y, a.error + b.error);
    case "mul":
      return of(a.value * b.value, 2, x * y, x * b.error + y * a.error + a.error * b.error);
    case "div":
      return quotient(a, b);
    case "reciprocal":
      return quotient(one, a);
    case "sqrt":
      return root(a);
    case "rsqrt":
      return quotient(one, root(a));
    case "max":
      return { value: Math.max(a.value, b.value), error: Math.max(a.error, b.error) };
    case "min":
      return { value: Math.min(a.value, b.value), error: Math.max(a.error, b.error) };
    default:
      throw new Error(`${expr.fn} has a tier of its own`);
  }
}

/** A node's expression, if it is elementwise. */
export function elementwiseExpr(op: string, attributes: object): ScalarExpr | undefined {
  if (op === "elementwise") return (attributes as { readonly expr: ScalarExpr }).expr;
  if (isUnary(op)) return apply(op, arg(0));
  const binary = ["add", "sub", "mul", "div", "max", "min"] as const;
  const found = binary.find((name) => name === op);
  return found && apply(found, arg(0), arg(1));
}
