/**
 * canonicalize: folds arithmetic on scalar constants and removes operations that change nothing. It runs
 * first, so that later passes meet one spelling of each thing, and again after passes that make new
 * reshapes and slices. Only identities that hold for every f32, -0 and NaN included, are used:
 * x * 1, x / 1, x - 0 and x + -0 are x, but x + 0 is not (-0 + 0 is 0).
 *
 *   %one: f32[] = constant() {value = 1, dtype = "f32"}
 *   %a: f32[batch, 8] = mul(%x, %one)
 *   %b: f32[batch, 2, 4] = reshape(%a) {dims = ["batch", 2, 4]}
 *   %c: f32[batch, 4, 2] = reshape(%b) {dims = ["batch", 4, 2]}
 * becomes
 *   %c: f32[batch, 4, 2] = reshape(%x) {dims = ["batch", 4, 2]}
 */
import type { Value } from "../graph.ts";
import { definePass, producedBy, type Replacement, remake, rule } from "../rewrite.ts";
import { type BinaryFunction, binaryFunctions, type UnaryFunction, unaryFunctions } from "../scalar.ts";
import { sameDims, sameType } from "../types.ts";

const unary = Object.keys(unaryFunctions) as UnaryFunction[];
const binary = Object.keys(binaryFunctions) as BinaryFunction[];

/** The number (rounded, if an f32) and dtype of a scalar constant. */
function scalar(value: Value): { value: number; dtype: "f32" | "i32" } | undefined {
  const attributes = producedBy(value, "constant")?.attributes;
  return attributes?.dtype === "f32" ? { ...attributes, value: Math.fround(attributes.value) } : attributes;
}

function isOne(value: Value): boolean {
  return scalar(value)?.value === 1;
}

/** The zero that changes no f32 when added (-0) or, negated, when subtracted (+0); any zero for integers. */
function isZero(value: Value, sign: 0 | -0): boolean {
  const constant = scalar(value);
  return (
    constant !== undefined &&
    (Object.is(constant.value, sign) || (constant.dtype === "i32" && constant.value === 0))
  );
}

const foldUnary = rule(unary, (node) => {
  const x = scalar(node.operands[0]!);
  if (!x) return undefined;
  const value = unaryFunctions[node.op].evaluate(x.value);
  return remake(node, "constant", [], { value, dtype: "f32" }).results;
});

const foldBinary = rule(binary, (node) => {
  const a = scalar(node.operands[0]!);
  const b = scalar(node.operands[1]!);
  if (!a || !b) return undefined;
  const { evaluate, integer } = binaryFunctions[node.op];
  if (a.dtype === "i32" && integer)
    return remake(node, "constant", [], { value: integer(a.value, b.value), dtype: "i32" }).results;
  if (a.dtype !== "f32") return undefined;
  return remake(node, "constant", [], { value: evaluate(a.value, b.value), dtype: "f32" }).results;
});

/** The operand a neutral element leaves. It must already have the result's shape. */
function neutralOperand(op: BinaryFunction, a: Value, b: Value): Value | undefined {
  switch (op) {
    case "mul":
      return isOne(b) ? a : isOne(a) ? b : undefined;
    case "div":
      return isOne(b) ? a : undefined;
    case "add":
      return isZero(b, -0) ? a : isZero(a, -0) ? b : undefined;
    case "sub":
      return isZero(b, 0) ? a : undefined;
    default:
      return undefined;
  }
}

const dropNeutral = rule(binary, (node) => {
  const kept = neutralOperand(node.op, node.operands[0]!, node.operands[1]!);
  return kept && sameType(kept.type, node.results[0]!.type) ? kept : undefined;
});

/** neg(neg(x)) is x; abs and relu of themselves change nothing. */
const collapseUnary = rule(["neg", "abs", "relu"], (node): Replacement => {
  const inner = producedBy(node.operands[0]!, node.op);
  if (!inner) return undefined;
  return node.op === "neg" ? inner.operands[0] : inner.results;
});

const dropConversion = rule("to_f32", (node) => {
  const x = node.operands[0]!;
  return x.type.dtype === "f32" ? x : undefined;
});

const dropCast = rule("cast", (node) => {
  const x = node.operands[0]!;
  const target = node.results[0]!.type;
  if (sameType(x.type, target)) return x;
  // f16 and bf16 widen to f32 exactly, so there and back is nothing.
  const narrow = producedBy(x, "cast")?.operands[0];
  const exact = x.type.dtype === "f32" && ["f16", "bf16"].includes(target.dtype);
  return narrow && exact && sameType(narrow.type, target) ? narrow : undefined;
});

const reshapes = rule("reshape", (node) => {
  const x = node.operands[0]!;
  if (sameDims(x.type.dims, node.attributes.dims)) return x;
  const inner = producedBy(x, "reshape");
  return inner && remake(node, "reshape", [inner.operands[0]!], node.attributes).results;
});

const transposes = rule("transpose", (node) => {
  const x = node.operands[0]!;
  const { permutation } = node.attributes;
  if (permutation.every((axis, i) => axis === i)) return x;
  const inner = producedBy(x, "transpose");
  if (!inner) return undefined;
  const composed = permutation.map((axis) => inner.attributes.permutation[axis]!);
  return remake(node, "transpose", [inner.operands[0]!], { permutation: composed }).results;
});

/** Axes count from the front, and so do starts on an axis of known length. */
const resolveSlice = rule("slice", (node) => {
  const { dims } = node.operands[0]!.type;
  const axis = node.attributes.axis < 0 ? node.attributes.axis + dims.length : node.attributes.axis;
  const length = dims[axis]!;
  const { size } = node.attributes;
  const start =
    node.attributes.start < 0 && typeof length === "number"
      ? node.attributes.start + length
      : node.attributes.start;
  if (axis === node.attributes.axis && start === node.attributes.start) return undefined;
  return remake(node, "slice", node.operands, { axis, start, size }).results;
});

/** A slice of everything is nothing; a slice of a slice along one axis is one slice. */
const slices = rule("slice", (node) => {
  const x = node.operands[0]!;
  if (sameType(x.type, node.results[0]!.type)) return x;
  const inner = producedBy(x, "slice");
  const { axis, start, size } = node.attributes;
  if (inner?.attributes.axis !== axis) return undefined;
  return remake(node, "slice", inner.operands, { axis, start: inner.attributes.start + start, size }).results;
});

/** The surrogate is for gradients, which are there by now. */
const dropSurrogate = rule("straight_through", (node) => node.operands[0]);

const singleConcat = rule("concat", (node) => (node.operands.length === 1 ? node.operands[0] : undefined));

export const canonicalize = definePass("canonicalize", [
  foldUnary,
  foldBinary,
  dropNeutral,
  collapseUnary,
  dropConversion,
  dropCast,
  reshapes,
  transposes,
  resolveSlice,
  slices,
  dropSurrogate,
  singleConcat,
]);
