/** Arithmetic on literals with the semantics the targets have, so that folding never changes a result. */
import type { BinaryOperator, CompareOperator, Expr, NumericType, UnaryOperator, ValueType } from "./ir.ts";

/** A number as a literal of the type, or undefined if the type cannot hold it. */
export function numberLiteral(type: ValueType, value: number): Expr | undefined {
  switch (type) {
    case "f32":
      return { kind: "literal", type, value: Math.fround(value) };
    case "f64":
      return { kind: "literal", type, value };
    case "i32":
      // Bit patterns such as 0x80000000 are welcome: they wrap.
      return Number.isInteger(value) && value >= -0x80000000 && value <= 0xffffffff
        ? { kind: "literal", type, value: value | 0 }
        : undefined;
    case "u32":
      return Number.isInteger(value) && value >= -0x80000000 && value <= 0xffffffff
        ? { kind: "literal", type, value: value >>> 0 }
        : undefined;
    case "i64":
      return Number.isSafeInteger(value) ? { kind: "literal", type, value: BigInt(value) } : undefined;
    default:
      return undefined;
  }
}

/** The literal that `left operator right` is, the operand it equals, or undefined. */
export function foldBinary(
  operator: BinaryOperator,
  type: ValueType,
  left: Expr,
  right: Expr,
): Expr | undefined {
  if (type === "i32" || type === "u32") {
    if (left.kind === "literal" && right.kind === "literal") {
      return foldInteger(operator, type, Number(left.value), Number(right.value));
    }
    return integerIdentity(operator, type, left, right);
  }
  if ((type === "f32" || type === "f64") && left.kind === "literal" && right.kind === "literal") {
    return foldFloat(operator, type, Number(left.value), Number(right.value));
  }
  return undefined;
}

function foldInteger(operator: BinaryOperator, type: "i32" | "u32", a: number, b: number): Expr | undefined {
  const signed = type === "i32";
  const wrap = (value: number): Expr => ({ kind: "literal", type, value: signed ? value | 0 : value >>> 0 });
  switch (operator) {
    case "add":
      return wrap(a + b);
    case "sub":
      return wrap(a - b);
    case "mul":
      return wrap(Math.imul(a, b));
    case "div":
      // What traps at run time must not be hidden by folding.
      return b === 0 || (signed && a === -0x80000000 && b === -1) ? undefined : wrap(Math.trunc(a / b));
    case "rem":
      return b === 0 ? undefined : wrap(a % b);
    case "and":
      return wrap(a & b);
    case "or":
      return wrap(a | b);
    case "xor":
      return wrap(a ^ b);
    case "shl":
      return wrap(a << b);
    case "shr":
      return wrap(signed ? a >> b : a >>> b);
    case "shr_logical":
      return wrap(a >>> b);
    default:
      return undefined;
  }
}

function integerIdentity(
  operator: BinaryOperator,
  type: "i32" | "u32",
  left: Expr,
  right: Expr,
): Expr | undefined {
  const a = left.kind === "literal" ? left.value : undefined;
  const b = right.kind === "literal" ? right.value : undefined;
  switch (operator) {
    case "add":
    case "or":
    case "xor":
      return b === 0 ? left : a === 0 ? right : undefined;
    case "sub":
    case "shl":
    case "shr":
    case "shr_logical":
      return b === 0 ? left : undefined;
    case "mul":
      if (b === 1) return left;
      if (a === 1) return right;
      if ((b === 0 && isPure(left)) || (a === 0 && isPure(right))) return { kind: "literal", type, value: 0 };
      return undefined;
    case "div":
      return b === 1 ? left : undefined;
    case "rem":
      return b === 1 && isPure(left) ? { kind: "literal", type, value: 0 } : undefined;
    default:
      return undefined;
  }
}

function foldFloat(operator: BinaryOperator, type: "f32" | "f64", a: number, b: number): Expr | undefined {
  // One operation in f64 followed by rounding to f32 is the correctly rounded f32 operation.
  const round = (value: number): Expr => ({
    kind: "literal",
    type,
    value: type === "f32" ? Math.fround(value) : value,
  });
  switch (operator) {
    case "add":
      return round(a + b);
    case "sub":
      return round(a - b);
    case "mul":
      return round(a * b);
    case "div":
      return round(a / b);
    default:
      return undefined;
  }
}

export function compareConstants<T extends number | bigint | boolean | string>(
  operator: CompareOperator,
  a: T,
  b: T,
): boolean {
  switch (operator) {
    case "eq":
      return a === b;
    case "ne":
      return a !== b;
    case "lt":
      return a < b;
    case "le":
      return a <= b;
    case "gt":
      return a > b;
    case "ge":
      return a >= b;
  }
}

/** The literal converted, with the rounding and saturation of the `convert` expression. */
export function foldConvert(type: NumericType, operand: Expr): Expr | undefined {
  if (operand.kind !== "literal" || typeof operand.value !== "number" || type === "i64") return undefined;
  const value = operand.value;
  const fromFloat = operand.type === "f32" || operand.type === "f64";
  if (!fromFloat || type === "f32" || type === "f64") return numberLiteral(type, value);
  const low = type === "i32" ? -0x80000000 : 0;
  const high = type === "i32" ? 0x7fffffff : 0xffffffff;
  const truncated = Number.isNaN(value) ? 0 : Math.min(high, Math.max(low, Math.trunc(value)));
  return numberLiteral(type, truncated);
}

/** The expression with everything computed that literals alone decide. */
export function foldExpression(e: Expr): Expr {
  switch (e.kind) {
    case "literal":
    case "ref":
      return e;
    case "binary": {
      const left = foldExpression(e.left);
      const right = foldExpression(e.right);
      const folded =
        e.type === "bool"
          ? foldLogical(e.operator, left, right)
          : foldBinary(e.operator, e.type, left, right);
      return folded ?? { ...e, left, right };
    }
    case "compare": {
      const left = foldExpression(e.left);
      const right = foldExpression(e.right);
      if (left.kind !== "literal" || right.kind !== "literal") return { ...e, left, right };
      return { kind: "literal", type: "bool", value: compareConstants(e.operator, left.value, right.value) };
    }
    case "unary": {
      const operand = foldExpression(e.operand);
      return foldUnary(e.operator, operand) ?? { ...e, operand };
    }
    case "convert": {
      const operand = foldExpression(e.operand);
      return foldConvert(e.type as NumericType, operand) ?? { ...e, operand };
    }
    case "select":
    case "conditional": {
      const condition = foldExpression(e.condition);
      const ifTrue = foldExpression(e.ifTrue);
      const ifFalse = foldExpression(e.ifFalse);
      if (condition.kind === "literal") {
        const [chosen, other] = condition.value === true ? [ifTrue, ifFalse] : [ifFalse, ifTrue];
        if (e.kind === "conditional" || isPure(other)) return chosen;
      }
      return { ...e, condition, ifTrue, ifFalse };
    }
    case "load":
      return { ...e, index: foldExpression(e.index) };
    case "intrinsic":
      return foldIntrinsic(e.name, e.args.map(foldExpression)) ?? { ...e, args: e.args.map(foldExpression) };
    case "call":
      return {
        ...e,
        args: e.args.map((argument) => (argument.kind === "buffer" ? argument : foldExpression(argument))),
      };
  }
}

/** Roots, which languages refuse to compute of negative constants. */
function foldIntrinsic(name: string, [x]: readonly Expr[]): Expr | undefined {
  if (name !== "math.sqrt" || x?.kind !== "literal" || x.type !== "f32") return undefined;
  return { kind: "literal", type: "f32", value: Math.fround(Math.sqrt(x.value as number)) };
}

function foldLogical(operator: BinaryOperator, left: Expr, right: Expr): Expr | undefined {
  const decides = operator === "logical_or";
  if (left.kind === "literal") return left.value === decides ? left : right;
  if (right.kind !== "literal") return undefined;
  if (right.value !== decides) return left;
  return isPure(left) ? right : undefined;
}

function foldUnary(operator: UnaryOperator, operand: Expr): Expr | undefined {
  if (operand.kind !== "literal") return undefined;
  const { type, value } = operand;
  if (operator === "not") return { kind: "literal", type, value: value === false };
  if (typeof value !== "number") return undefined;
  if (type === "f32" || type === "f64") return { kind: "literal", type, value: -value };
  const wrapped = operator === "neg" ? -value | 0 : ~value;
  return numberLiteral(type, type === "u32" ? wrapped >>> 0 : wrapped);
}

/** Whether an expression can be dropped or repeated. */
export function isPure(expression: Expr): boolean {
  switch (expression.kind) {
    case "literal":
    case "ref":
      return true;
    case "binary":
    case "compare":
      return isPure(expression.left) && isPure(expression.right);
    case "unary":
    case "convert":
      return isPure(expression.operand);
    case "select":
    case "conditional":
      return isPure(expression.condition) && isPure(expression.ifTrue) && isPure(expression.ifFalse);
    case "load":
      return isPure(expression.index);
    case "intrinsic":
      // Loading for the whole workgroup is a barrier as well.
      return (
        expression.type !== "void" &&
        expression.name !== "workgroupUniformLoad" &&
        expression.args.every(isPure)
      );
    case "call":
      return false;
  }
}
