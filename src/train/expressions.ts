/** Graph arithmetic as functions over values; a number is a constant. */
import { makeNode } from "../../ir/builder.ts";
import type { Value } from "../../ir/graph.ts";
import type { Attributes, OpName } from "../../ir/ops/index.ts";
import type { BinaryFunction, UnaryFunction } from "../../ir/scalar.ts";
import type { DType } from "../../ir/types.ts";

export type Term = Value | number;

/** The result of an op that has one. */
export function one<Op extends OpName>(
  op: Op,
  operands: readonly Value[],
  attributes: Attributes<Op>,
  name?: string,
): Value {
  return makeNode(op, operands, attributes, { names: [name] }).results[0]!;
}

export function constant(value: number, dtype: "f32" | "i32" = "f32"): Value {
  return one("constant", [], { value, dtype });
}

function asValue(term: Term, dtype: DType): Value {
  return typeof term === "number" ? constant(term, dtype === "i32" ? "i32" : "f32") : term;
}

function binary(fn: BinaryFunction): (a: Term, b: Term) => Value {
  return (a, b) => {
    const { dtype } = (typeof a === "number" ? (b as Value) : a).type;
    return one(fn, [asValue(a, dtype), asValue(b, dtype)], {});
  };
}

function unary(fn: UnaryFunction): (x: Value) => Value {
  return (x) => one(fn, [x], {});
}

export const add = binary("add");
export const sub = binary("sub");
export const mul = binary("mul");
export const div = binary("div");
export const max = binary("max");
export const min = binary("min");
export const sqrt = unary("sqrt");
export const toF32 = unary("to_f32");

/** The sum of all elements, f32 []. */
export function total(x: Value): Value {
  let sum = x;
  while (sum.type.dims.length > 0) sum = one("sum", [sum], { axis: -1, keep_dims: false });
  return sum;
}
