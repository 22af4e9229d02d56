/**
 * Typed constructors for kernel IR, for kernels that are generated rather than written: `add(a, b)`,
 * `load(x, i)`, `forRange("i", begin, end, [...])`. Operand types are checked here, so a generator's slip
 * fails where it was made and not in the assembler.
 */
import { BitloomError } from "../../errors/index.ts";
import { foldBinary } from "./fold.ts";
import { intrinsics, isWord, typesOf } from "./intrinsic-table.ts";
import {
  type Access,
  type BinaryOperator,
  type BufferParameter,
  type CompareOperator,
  type Expr,
  type KernelFunction,
  loadedType,
  type NumericType,
  type Parameter,
  type ScalarParameter,
  type SharedArray,
  type Stmt,
  type StorageType,
  type ValueType,
} from "./ir.ts";

function typeError(summary: string, expected: string, received: string): BitloomError {
  return new BitloomError("KERNEL_TYPE", summary, { expected, received });
}

function requireType(what: string, expression: Expr, expected: string): void {
  if (expression.type !== expected) throw typeError(what, expected, expression.type);
}

function requireSame(what: string, left: Expr, right: Expr): ValueType {
  if (left.type !== right.type || left.type === "void") {
    throw typeError(`${what} takes two operands of one type`, left.type, right.type);
  }
  return left.type;
}

// Parameters

export function buffer(name: string, element: StorageType, access: Access = "read"): BufferParameter {
  return { kind: "buffer", name, element, access };
}
export function scalar(name: string, type: ValueType = "i32"): ScalarParameter {
  return { kind: "scalar", name, type };
}
/** Memory of a workgroup, for the kernel's `shared`. */
export function sharedArray(name: string, element: SharedArray["element"], length: number): SharedArray {
  return { name, element, length };
}
export function kernel(
  name: string,
  parameters: readonly Parameter[],
  body: readonly Stmt[],
  options: Partial<Pick<KernelFunction, "doc" | "result" | "helpers" | "workgroupSize" | "shared">> = {},
): KernelFunction {
  return { ...options, name, parameters, body, helpers: options.helpers ?? [] };
}

// Expressions

export function literal(type: ValueType, value: number | bigint | boolean): Expr {
  return { kind: "literal", type, value };
}
export function i32(value: number): Expr {
  return literal("i32", value | 0);
}
export function f32(value: number): Expr {
  return literal("f32", Math.fround(value));
}
export function ref(parameter: { readonly name: string; readonly type: ValueType }): Expr {
  return { kind: "ref", type: parameter.type, name: parameter.name };
}
export function local(name: string, type: ValueType): Expr {
  return { kind: "ref", type, name };
}

/** `left operator right`; literals fold, and `+ 0`, `* 1` and the like disappear from index arithmetic. */
export function binary(operator: BinaryOperator, left: Expr, right: Expr): Expr {
  const type = requireSame(operator, left, right);
  const logical = operator === "logical_and" || operator === "logical_or";
  if (logical !== (type === "bool") || type === "v128") {
    throw typeError(`${operator} does not take this type`, logical ? "bool" : "a number", type);
  }
  return foldBinary(operator, type, left, right) ?? { kind: "binary", type, operator, left, right };
}

export const add = (left: Expr, right: Expr): Expr => binary("add", left, right);
export const sub = (left: Expr, right: Expr): Expr => binary("sub", left, right);
export const mul = (left: Expr, right: Expr): Expr => binary("mul", left, right);
export const div = (left: Expr, right: Expr): Expr => binary("div", left, right);
export const rem = (left: Expr, right: Expr): Expr => binary("rem", left, right);

export function compare(operator: CompareOperator, left: Expr, right: Expr): Expr {
  const type = requireSame(operator, left, right);
  if (type === "v128") throw typeError(`${operator} does not take this type`, "a number or bool", type);
  return { kind: "compare", type: "bool", operator, left, right };
}
export const eq = (left: Expr, right: Expr): Expr => compare("eq", left, right);
export const ne = (left: Expr, right: Expr): Expr => compare("ne", left, right);
export const lt = (left: Expr, right: Expr): Expr => compare("lt", left, right);
export const le = (left: Expr, right: Expr): Expr => compare("le", left, right);
export const gt = (left: Expr, right: Expr): Expr => compare("gt", left, right);
export const ge = (left: Expr, right: Expr): Expr => compare("ge", left, right);

export function neg(operand: Expr): Expr {
  if (operand.type === "bool" || operand.type === "v128" || operand.type === "void") {
    throw typeError("neg does not take this type", "a number", operand.type);
  }
  return { kind: "unary", type: operand.type, operator: "neg", operand };
}
export function not(operand: Expr): Expr {
  requireType("not takes a condition", operand, "bool");
  return { kind: "unary", type: "bool", operator: "not", operand };
}
/** Both sides are evaluated; see `conditional`. */
export function select(condition: Expr, ifTrue: Expr, ifFalse: Expr): Expr {
  requireType("select takes a condition", condition, "bool");
  return { kind: "select", type: requireSame("select", ifTrue, ifFalse), condition, ifTrue, ifFalse };
}
/** Only the chosen side is evaluated. */
export function conditional(condition: Expr, ifTrue: Expr, ifFalse: Expr): Expr {
  requireType("conditional takes a condition", condition, "bool");
  return {
    kind: "conditional",
    type: requireSame("conditional", ifTrue, ifFalse),
    condition,
    ifTrue,
    ifFalse,
  };
}
export function convert(type: NumericType, operand: Expr): Expr {
  return operand.type === type ? operand : { kind: "convert", type, operand };
}
export function load(from: BufferParameter | SharedArray, index: Expr): Expr {
  requireType("an index is i32", index, "i32");
  return { kind: "load", type: loadedType(from.element), buffer: from.name, index };
}
/** `intrinsic("math.sqrt", [x])`; lane numbers and shuffle bytes go in `immediates`. */
export function intrinsic(
  name: string,
  args: readonly Expr[],
  extra: { buffer?: BufferParameter | SharedArray; immediates?: readonly number[] } = {},
): Expr {
  const entry = intrinsics.get(name);
  if (entry === undefined) {
    throw new BitloomError("KERNEL_TYPE", "there is no such intrinsic", { received: name });
  }
  if ((extra.buffer === undefined) !== (entry.memory === undefined)) {
    throw typeError(
      `${name} takes other arguments`,
      entry.memory === undefined ? "no buffer" : `a ${entry.memory} array`,
      extra.buffer?.name ?? "none",
    );
  }
  const word = extra.buffer?.element ?? args[entry.parameters.indexOf("word")]?.type ?? "void";
  const types = typesOf(entry, isWord(word) ? word : "f32");
  const given = args.map((argument) => argument.type).join(", ");
  if (given !== types.parameters.join(", ")) {
    throw typeError(`${name} takes other arguments`, types.parameters.join(", "), given);
  }
  const immediates = extra.immediates ?? [];
  if (immediates.length !== entry.immediates.count) {
    throw typeError(
      `${name} takes other constants`,
      `${entry.immediates.count} constants`,
      `${immediates.length}`,
    );
  }
  return {
    kind: "intrinsic",
    type: types.result,
    name,
    ...(extra.buffer === undefined ? {} : { buffer: extra.buffer.name }),
    args,
    immediates,
  };
}
export function call(callee: KernelFunction, args: readonly (Expr | BufferParameter)[]): Expr {
  return {
    kind: "call",
    type: callee.result ?? "void",
    callee: callee.name,
    args: args.map((argument) =>
      argument.kind === "buffer" ? { kind: "buffer", name: argument.name } : argument,
    ),
  };
}

// Statements

/** An immutable local; read it with `local(name, value.type)`. */
export function let_(name: string, value: Expr): Stmt {
  return declare(name, value, false);
}
/** A local that `assign` changes. */
export function var_(name: string, value: Expr): Stmt {
  return declare(name, value, true);
}
function declare(name: string, value: Expr, mutable: boolean): Stmt {
  if (value.type === "void") throw typeError("a local needs a value", "a value", "void");
  return { kind: "let", name, type: value.type, value, mutable };
}
export function assign(name: string, value: Expr): Stmt {
  return { kind: "assign", name, value };
}
export function store(to: BufferParameter | SharedArray, index: Expr, value: Expr): Stmt {
  requireType("an index is i32", index, "i32");
  requireType(`elements of ${to.name} are ${to.element}`, value, loadedType(to.element));
  return { kind: "store", buffer: to.name, index, value };
}
/** `for (let variable = start; variable < end; variable += step) body`, on i32. */
export function forRange(variable: string, start: Expr, end: Expr, body: readonly Stmt[], step = 1): Stmt {
  const induction = local(variable, "i32");
  return {
    kind: "for",
    variable,
    type: "i32",
    start,
    condition: lt(induction, end),
    next: add(induction, i32(step)),
    body,
  };
}
export function while_(condition: Expr, body: readonly Stmt[]): Stmt {
  requireType("while takes a condition", condition, "bool");
  return { kind: "while", condition, body };
}
export function return_(value?: Expr): Stmt {
  return value === undefined ? { kind: "return" } : { kind: "return", value };
}
/** An intrinsic or a call evaluated for its effect, such as `v128.store`. */
export function effect(expression: Expr): Stmt {
  return { kind: "expr", expression };
}
