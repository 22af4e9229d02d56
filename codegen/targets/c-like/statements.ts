import type { BinaryOperator, Expr, Stmt, ValueType } from "../../kernel/ir.ts";
import type { ExpressionRenderer } from "./expressions.ts";
import type { Names } from "./names.ts";

export const compound: Partial<Record<BinaryOperator, string>> = {
  add: "+=",
  sub: "-=",
  mul: "*=",
  div: "/=",
  rem: "%=",
  and: "&=",
  or: "|=",
  xor: "^=",
};

/** Renders the statements of one function in a language with C's blocks and loops. */
export abstract class StatementRenderer {
  protected abstract readonly expressions: ExpressionRenderer;
  /** The head of a loop without end. */
  protected abstract readonly forever: string;
  readonly #names: Names;
  readonly #values = new Map<string, string>();

  constructor(names: Names) {
    this.#names = names;
  }

  /** Declares a parameter or local and gives its name in the output. */
  declare(name: string): string {
    const free = this.#names.declare(name);
    this.#values.set(name, free);
    return free;
  }
  value(name: string): string {
    return this.#values.get(name) ?? this.declare(name);
  }

  statements(statements: readonly Stmt[], indent: string): string[] {
    return statements.flatMap((statement) => this.#statement(statement, indent));
  }

  /** A local, with its value or without. */
  protected abstract local(name: string, type: ValueType, mutable: boolean, value?: string): string;
  /** A value that nobody wants. */
  protected abstract discard(text: string): string;
  /** `x = value`, or shorter: `x += 4`. */
  protected abstract assignment(name: string, value: Expr): string;

  #statement(statement: Stmt, indent: string): string[] {
    switch (statement.kind) {
      case "let":
        return [`${indent}${this.#let(statement)};`];
      case "assign":
        return [`${indent}${this.assignment(statement.name, statement.value)};`];
      case "store":
        return [`${indent}${this.expressions.store(statement.buffer, statement.index, statement.value)};`];
      case "if":
        return this.#if(statement, indent);
      case "for": {
        const { variable, type, start, condition, next, body } = statement;
        const first = this.expressions.render(start);
        const declaration = this.local(this.declare(variable), type, true, first);
        const test = isTrue(condition) ? "" : this.expressions.render(condition);
        const head = `for (${declaration}; ${test}; ${this.assignment(variable, next)})`;
        return this.#block(head, body, indent);
      }
      case "while": {
        const { condition, body } = statement;
        const head = isTrue(condition) ? this.forever : `while (${this.expressions.render(condition)})`;
        return this.#block(head, body, indent);
      }
      case "break":
      case "continue":
        return [`${indent}${statement.kind};`];
      case "return":
        return [
          statement.value === undefined
            ? `${indent}return;`
            : `${indent}return ${this.expressions.render(statement.value)};`,
        ];
      case "expr": {
        const text = this.expressions.render(statement.expression);
        return [`${indent}${statement.expression.type === "void" ? text : this.discard(text)};`];
      }
    }
  }

  #let({ name, type, value, mutable }: Extract<Stmt, { kind: "let" }>): string {
    const text = value === undefined ? undefined : this.expressions.render(value);
    return this.local(this.declare(name), type, mutable, text);
  }

  #if(statement: Extract<Stmt, { kind: "if" }>, indent: string): string[] {
    const head = `if (${this.expressions.render(statement.condition)})`;
    const lines = this.#block(head, statement.ifTrue, indent);
    if (statement.ifFalse.length === 0) return lines;
    const [only] = statement.ifFalse;
    const other =
      statement.ifFalse.length === 1 && only?.kind === "if"
        ? this.#if(only, indent)
        : this.#block("", statement.ifFalse, indent);
    const [first, ...rest] = other;
    const continued = [lines.at(-1)!, "else", first!.trim()].join(" ");
    return [...lines.slice(0, -1), continued, ...rest];
  }

  #block(head: string, body: readonly Stmt[], indent: string): string[] {
    const lines = this.statements(body, `${indent}  `);
    return [`${indent}${head} {`, ...lines, `${indent}}`];
  }
}

export function isTrue(expression: Expr): boolean {
  return expression.kind === "literal" && expression.value === true;
}
