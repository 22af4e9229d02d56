import { foldExpression } from "../../kernel/fold.ts";
import type { BinaryOperator, CompareOperator, Expr, ValueType } from "../../kernel/ir.ts";
import { shortestF32 } from "../decimal.ts";
import { type Level, parenthesized, primary, signed, type Text, wordText } from "./text.ts";

const symbols: Record<BinaryOperator, string> = {
  add: "+",
  sub: "-",
  mul: "*",
  div: "/",
  rem: "%",
  and: "&",
  or: "|",
  xor: "^",
  shl: "<<",
  shr: ">>",
  shr_logical: ">>",
  logical_and: "&&",
  logical_or: "||",
};
const comparisons: Record<CompareOperator, string> = {
  eq: "==",
  ne: "!=",
  lt: "<",
  le: "<=",
  gt: ">",
  ge: ">=",
};

export type Select = Extract<Expr, { kind: "select" | "conditional" }>;
export type Call = Extract<Expr, { kind: "call" }>;
export type IntrinsicCall = Extract<Expr, { kind: "intrinsic" }>;
type Binary = Extract<Expr, { kind: "binary" }>;

/** Renders expressions in a language with C's operators; what languages spell differently is abstract. */
export abstract class ExpressionRenderer {
  /** What literals decide is computed here and not left to another compiler. */
  render(expression: Expr): string {
    return this.text(this.prepare(expression)).text;
  }

  abstract store(buffer: string, index: Expr, value: Expr): string;

  /** What is rendered in an expression's place. */
  protected prepare(expression: Expr): Expr {
    return foldExpression(expression);
  }

  protected abstract load(buffer: string, index: Expr): string;
  protected abstract call(expression: Call): string;
  protected abstract intrinsic(expression: IntrinsicCall): Text;
  protected abstract choice(expression: Select): Text;
  protected abstract convert(operand: Expr, to: ValueType): Text;
  /** A finite f32 in the shortest decimals. */
  protected abstract decimal(value: number, shortest: string): string;
  /** A float that has no decimals, by its bits. */
  protected abstract specialFloat(bits: number): string;
  protected abstract value(name: string): string;
  protected abstract unsupported(what: string): Error;

  protected text(expression: Expr): Text {
    switch (expression.kind) {
      case "literal":
        return this.#literal(expression.type, expression.value);
      case "ref":
        return primary(this.value(expression.name));
      case "binary":
        return this.binary(expression);
      case "unary":
        return this.#unary(expression);
      case "compare":
        return this.comparison(expression);
      case "conditional":
      case "select":
        return this.choice(expression);
      case "convert":
        if (expression.operand.type === expression.type) return this.text(expression.operand);
        return this.convert(expression.operand, expression.type);
      case "load":
        return primary(this.load(expression.buffer, expression.index));
      case "intrinsic":
        return this.intrinsic(expression);
      case "call":
        return primary(this.call(expression));
    }
  }

  protected integer(type: "i32" | "u32", value: number): Text {
    return type === "i32" ? signed(String(value | 0)) : primary(wordText(value >>> 0));
  }

  #literal(type: ValueType, value: number | bigint | boolean): Text {
    switch (type) {
      case "bool":
        return primary(String(value));
      case "i32":
      case "u32":
        return this.integer(type, Number(value));
      case "f32": {
        const number = Math.fround(Number(value));
        if (Number.isFinite(number)) return signed(this.decimal(number, shortestF32(number)));
        return primary(
          this.specialFloat(Number.isNaN(number) ? 0x7fc00000 : number > 0 ? 0x7f800000 : 0xff800000),
        );
      }
      default:
        throw this.unsupported(`the type ${type}`);
    }
  }

  protected comparison({ operator, left, right }: Extract<Expr, { kind: "compare" }>): Text {
    const operands = [left, right].map((operand) => parenthesized(this.text(operand), "add"));
    return { text: operands.join(` ${comparisons[operator]} `), level: "relational" };
  }

  protected arguments(values: readonly Expr[]): string {
    return values.map((value) => this.text(value).text).join(", ");
  }

  protected binary(expression: Binary): Text {
    const { operator, type, left, right } = expression;
    switch (operator) {
      case "shl":
      case "shr":
        return this.shift(operator, this.text(left), right);
      case "shr_logical":
        if (type !== "i32") return this.shift(operator, this.text(left), right);
        return primary(`i32(${this.shift(operator, this.asU32(left), right).text})`);
      case "and":
      case "or":
      case "xor":
        return this.#chain(expression, "bitwise", "unary");
      case "logical_and":
        return this.#chain(expression, "and", "relational");
      case "logical_or":
        return this.#chain(expression, "or", "relational");
      case "add":
      case "sub":
        return this.#chain(expression, "add", "multiply");
      case "mul":
      case "div":
      case "rem":
        return this.#chain(expression, "multiply", "unary");
    }
  }

  /** Left-associative operators; bitwise and logical ones chain with themselves only. */
  #chain({ operator, left, right }: Binary, own: Level, inner: Level): Text {
    const first = this.text(left);
    const joins = first.level === own && (own === "add" || own === "multiply" || first.operator === operator);
    const head = joins ? first.text : parenthesized(first, inner);
    const tail = parenthesized(this.text(right), inner);
    return { text: `${head} ${symbols[operator]} ${tail}`, level: own, operator };
  }

  protected shift(operator: BinaryOperator, left: Text, count: Expr): Text {
    const text = `${parenthesized(left, "unary")} ${symbols[operator]} ${this.shiftCount(count)}`;
    return { text, level: "shift" };
  }

  /** How many bits, modulo 32. */
  protected shiftCount(count: Expr): string {
    return count.kind === "literal"
      ? `${Number(count.value) & 31}u`
      : parenthesized(this.asU32(count), "unary");
  }

  /** The same bits as u32. */
  protected asU32(value: Expr): Text {
    if (value.kind === "literal") return this.#literal("u32", value.value);
    return value.type === "u32" ? this.text(value) : this.convert(value, "u32");
  }

  #unary({ operator, type, operand }: Extract<Expr, { kind: "unary" }>): Text {
    // WGSL has no minus on u32, and C's compilers warn of it.
    if (operator === "neg" && type === "u32") {
      return { text: `0u - ${parenthesized(this.text(operand), "multiply")}`, level: "add" };
    }
    const symbol = operator === "neg" ? "-" : operator === "not" ? "!" : "~";
    const text = parenthesized(this.text(operand), "unary");
    return { text: text.startsWith("-") ? `${symbol}(${text})` : `${symbol}${text}`, level: "unary" };
  }
}
