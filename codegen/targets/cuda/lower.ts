/**
 * Expressions as C++ may compute them. Integers of the kernel IR wrap where the overflow of C++'s signed ones is
 * undefined, so sums, products and left shifts of i32 become those of u32; subgroups are warps.
 */
import { foldExpression } from "../../kernel/fold.ts";
import type { BinaryOperator, Expr } from "../../kernel/ir.ts";
import { mapOperands } from "../../kernel/walk.ts";

export const WARP = 32;

export function lowerExpression(expression: Expr): Expr {
  return foldExpression(lower(foldExpression(expression)));
}

const wrapping: ReadonlySet<BinaryOperator> = new Set(["add", "sub", "mul", "shl", "shr_logical"]);
/** What CUDA counts in u32. */
const places = new Set(["workgroupId", "workgroupIdY", "workgroupCount", "localId"]);

function lower(whole: Expr): Expr {
  const e = mapOperands(whole, lower);
  switch (e.kind) {
    case "binary":
      if (e.type !== "i32" || !wrapping.has(e.operator)) return e;
      return (e.operator === "add" && accumulate(e.left, e.right)) || wrapped(e.operator, e.left, e.right);
    case "convert":
      // There and back.
      return e.operand.kind === "convert" &&
        isInteger(e.operand.type) &&
        isInteger(e.type) &&
        e.operand.operand.type === e.type
        ? e.operand.operand
        : e;
    case "unary":
      return e.type === "i32" && e.operator === "neg" ? wrapped("sub", i32(0), e.operand) : e;
    case "intrinsic":
      if (places.has(e.name)) return asI32({ ...e, type: "u32" });
      if (e.name === "subgroupSize") return i32(WARP);
      if (e.name === "subgroupLane") return asI32(binary("rem", localId, u32(WARP)));
      if (e.name === "subgroupId") return asI32(binary("div", localId, u32(WARP)));
      // Sums wrap; which of two is larger depends on the sign.
      if (e.name === "subgroupAdd" && e.type === "i32") {
        return asI32({ ...e, type: "u32", args: e.args.map(asU32) });
      }
      return e;
    default:
      return e;
  }
}

/** `sum + dot4I8Packed(a, b)` as one operation, which takes the sum as a third operand. */
function accumulate(left: Expr, right: Expr): Expr | undefined {
  const isDot = (e: Expr) => e.kind === "intrinsic" && e.name === "dot4I8Packed" && e.args.length === 2;
  const [dot, sum] = isDot(right) ? [right, left] : [left, right];
  return dot.kind === "intrinsic" && isDot(dot) ? { ...dot, args: [...dot.args, sum] } : undefined;
}

function wrapped(operator: BinaryOperator, left: Expr, right: Expr): Expr {
  if (operator === "shl" || operator === "shr_logical") return asI32(binary(operator, asU32(left), right));
  const isNegative = right.kind === "literal" && Number(right.value) < 0 && operator !== "mul";
  if (!isNegative) return asI32(binary(operator, asU32(left), asU32(right)));
  return asI32(binary(operator === "add" ? "sub" : "add", asU32(left), u32(-Number(right.value))));
}

const binary = (operator: BinaryOperator, left: Expr, right: Expr): Expr => ({
  kind: "binary",
  type: "u32",
  operator,
  left,
  right,
});
const i32 = (value: number): Expr => ({ kind: "literal", type: "i32", value });
const u32 = (value: number): Expr => ({ kind: "literal", type: "u32", value: value >>> 0 });
const localId: Expr = { kind: "intrinsic", type: "u32", name: "localId", args: [], immediates: [] };

export function isInteger(type: Expr["type"]): boolean {
  return type === "i32" || type === "u32";
}

/** The same bits as u32. */
function asU32(e: Expr): Expr {
  if (e.kind === "literal") return u32(Number(e.value));
  return e.kind === "convert" && e.operand.type === "u32"
    ? e.operand
    : { kind: "convert", type: "u32", operand: e };
}

/** The same bits as i32. */
function asI32(e: Expr): Expr {
  return { kind: "convert", type: "i32", operand: e };
}
