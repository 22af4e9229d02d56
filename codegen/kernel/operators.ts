/** The operators of the kernel language on run-time values. */
import type { ts } from "ts-morph";
import { compareConstants, foldBinary } from "./fold.ts";
import type { BinaryOperator, CompareOperator, Expr, NumericType, ValueType } from "./ir.ts";
import { typeError } from "./source-error.ts";

/** As written in the source. */
export const binaryOperators: Record<string, BinaryOperator> = {
  "+": "add",
  "-": "sub",
  "*": "mul",
  "/": "div",
  "%": "rem",
  "&": "and",
  "|": "or",
  "^": "xor",
  "<<": "shl",
  ">>": "shr",
  ">>>": "shr_logical",
};
export const compareOperators: Record<string, CompareOperator> = {
  "===": "eq",
  "!==": "ne",
  "<": "lt",
  "<=": "le",
  ">": "gt",
  ">=": "ge",
};

/** `left operator right` for two values of one numeric type; shifts take any word on the right. */
export function binaryOperation(node: ts.Node, operator: BinaryOperator, left: Expr, right: Expr): Expr {
  const shift = operator === "shl" || operator === "shr" || operator === "shr_logical";
  if (shift && left.type !== right.type && isWord(left.type) && isWord(right.type)) {
    return binaryOperation(node, operator, left, {
      kind: "convert",
      type: left.type as NumericType,
      operand: right,
    });
  }
  if (left.type !== right.type) {
    throw typeError(node, "the two sides have different types", {
      received: `${left.type} and ${right.type}`,
      hint: "Convert one with convert.*.",
    });
  }
  const type = left.type as ValueType;
  const isInteger = type === "i32" || type === "u32" || type === "i64";
  const isFloat = type === "f32" || type === "f64";
  const floatOperator = operator === "add" || operator === "sub" || operator === "mul" || operator === "div";
  if (!isInteger && !(isFloat && floatOperator)) {
    throw typeError(node, `${operator} does not take ${type}`, {
      hint:
        type === "v128"
          ? "Lanes are combined with intrinsics such as i32x4.add."
          : type === "u32x4"
            ? "Its components are u32: v.x, or component(v, i)."
            : "Convert with convert.*.",
    });
  }
  return foldBinary(operator, type, left, right) ?? { kind: "binary", type, operator, left, right };
}

/** A comparison of two scalars of one type. */
export function compareOperation(node: ts.Node, operator: CompareOperator, left: Expr, right: Expr): Expr {
  if (left.type !== right.type || left.type === "v128" || left.type === "u32x4") {
    throw typeError(node, "only values of one scalar type compare", {
      received: `${left.type} and ${right.type}`,
    });
  }
  if (left.type === "bool" && operator !== "eq" && operator !== "ne") {
    throw typeError(node, "booleans have no order");
  }
  if (left.kind === "literal" && right.kind === "literal" && typeof left.value === typeof right.value) {
    return { kind: "literal", type: "bool", value: compareConstants(operator, left.value, right.value) };
  }
  return { kind: "compare", type: "bool", operator, left, right };
}

function isWord(type: Expr["type"]): boolean {
  return type === "i32" || type === "u32";
}
