import type { BinaryOperator, Expr, KernelFunction, Stmt } from "../../kernel/ir.ts";
import { type Callee, ExpressionRenderer, type FunctionScope } from "./expressions.ts";
import {
  type Builtin,
  builtinName,
  builtins,
  comment,
  type Memory,
  type ModuleContext,
  wgslType,
} from "./module.ts";
import { Names } from "./names.ts";

const compound: Partial<Record<BinaryOperator, string>> = {
  add: "+=",
  sub: "-=",
  mul: "*=",
  div: "/=",
  rem: "%=",
  and: "&=",
  or: "|=",
  xor: "^=",
};

/** Renders the statements of one function, a helper or the kernel. */
export class FunctionRenderer implements FunctionScope {
  readonly module: ModuleContext;
  /** Builtins it uses itself or passes on. */
  readonly builtins = new Set<Builtin>();
  readonly #names: Names;
  readonly #values = new Map<string, string>();
  readonly #helpers: HelperLibrary;
  readonly #memories: ReadonlyMap<string, Memory>;
  readonly #expressions = new ExpressionRenderer(this);

  constructor(helpers: HelperLibrary, memories: ReadonlyMap<string, Memory>) {
    this.module = helpers.module;
    this.#names = new Names(helpers.module.names);
    this.#helpers = helpers;
    this.#memories = memories;
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
  memory(buffer: string): Memory {
    return this.#memories.get(buffer)!;
  }
  builtin(builtin: Builtin): string {
    this.builtins.add(builtin);
    return builtinName(builtin);
  }
  callee(name: string, memories: readonly Memory[]): Callee {
    return this.#helpers.specialize(name, memories);
  }

  statements(statements: readonly Stmt[], indent: string): string[] {
    return statements.flatMap((statement) => this.#statement(statement, indent));
  }

  #statement(statement: Stmt, indent: string): string[] {
    switch (statement.kind) {
      case "let":
        return [indent + this.#let(statement)];
      case "assign":
        return [`${indent}${this.#assignment(statement.name, statement.value)};`];
      case "store":
        return [indent + this.#expressions.store(statement.buffer, statement.index, statement.value)];
      case "if":
        return this.#if(statement, indent);
      case "for": {
        const { variable, start, condition, next, body } = statement;
        const first = this.#expressions.render(start);
        const name = this.declare(variable);
        const test = isTrue(condition) ? "" : this.#expressions.render(condition);
        const head = `for (var ${name} = ${first}; ${test}; ${this.#assignment(variable, next)})`;
        return this.#block(head, body, indent);
      }
      case "while": {
        const { condition, body } = statement;
        const head = isTrue(condition) ? "loop" : `while (${this.#expressions.render(condition)})`;
        return this.#block(head, body, indent);
      }
      case "break":
      case "continue":
        return [`${indent}${statement.kind};`];
      case "return":
        return [
          statement.value === undefined
            ? `${indent}return;`
            : `${indent}return ${this.#expressions.render(statement.value)};`,
        ];
      case "expr": {
        const text = this.#expressions.render(statement.expression);
        return [`${indent}${statement.expression.type === "void" ? "" : "_ = "}${text};`];
      }
    }
  }

  #let({ name, type, value, mutable }: Extract<Stmt, { kind: "let" }>): string {
    const text = value === undefined ? undefined : this.#expressions.render(value);
    const declared = this.declare(name);
    if (text === undefined) return `var ${declared}: ${wgslType(type)};`;
    return `${mutable ? "var" : "let"} ${declared} = ${text};`;
  }

  /** `x = value`, or shorter: `x += 4`, `i++`. */
  #assignment(name: string, value: Expr): string {
    const target = this.value(name);
    if (value.kind === "binary" && value.left.kind === "ref" && value.left.name === name) {
      const { operator, right } = value;
      const isOne = right.kind === "literal" && right.value === 1 && right.type !== "f32";
      if (isOne && operator === "add") return `${target}++`;
      if (isOne && operator === "sub") return `${target}--`;
      const symbol = compound[operator];
      if (symbol !== undefined) return `${target} ${symbol} ${this.#expressions.render(right)}`;
    }
    return `${target} = ${this.#expressions.render(value)}`;
  }

  #if(statement: Extract<Stmt, { kind: "if" }>, indent: string): string[] {
    const head = `if (${this.#expressions.render(statement.condition)})`;
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

/**
 * Helper functions of a module. WGSL passes no storage buffers, but every buffer is a variable of the module:
 * a helper that takes buffers is rendered once for each choice of them.
 */
export class HelperLibrary {
  readonly module: ModuleContext;
  /** Texts, callees first. */
  readonly texts: string[] = [];
  readonly #functions = new Map<string, KernelFunction>();
  readonly #done = new Map<string, Callee>();

  constructor(module: ModuleContext, kernel: KernelFunction) {
    this.module = module;
    const add = (fn: KernelFunction): void => {
      fn.helpers.forEach(add);
      this.#functions.set(fn.name, fn);
    };
    kernel.helpers.forEach(add);
  }

  specialize(callee: string, memories: readonly Memory[]): Callee {
    const given = memories.map((memory) => memory.name);
    const key = [callee, ...given].join("\n");
    const known = this.#done.get(key);
    if (known !== undefined) return known;
    const fn = this.#functions.get(callee)!;
    const isFirst = ![...this.#done.keys()].some((other) => other.split("\n")[0] === callee);
    const name = this.module.names.declare(isFirst ? callee : [callee, ...given].join("_"));
    const buffers = fn.parameters.filter((parameter) => parameter.kind === "buffer");
    const bound = new Map(buffers.map((parameter, i) => [parameter.name, memories[i]!]));
    const done = { name, builtins: this.#render(fn, name, bound) };
    this.#done.set(key, done);
    return done;
  }

  #render(fn: KernelFunction, name: string, memories: ReadonlyMap<string, Memory>): readonly Builtin[] {
    const renderer = new FunctionRenderer(this, memories);
    const values = fn.parameters.flatMap((parameter) =>
      parameter.kind === "scalar" ? [`${renderer.declare(parameter.name)}: ${wgslType(parameter.type)}`] : [],
    );
    const body = renderer.statements(fn.body, "  ");
    if (fn.result !== undefined && !alwaysReturns(fn.body)) body.push(`  return ${wgslType(fn.result)}();`);
    const used = [...renderer.builtins];
    const parameters = [...used.map((builtin) => builtins[builtin]), ...values].join(", ");
    const result = fn.result === undefined ? "" : ` -> ${wgslType(fn.result)}`;
    this.texts.push([...comment(fn.doc), `fn ${name}(${parameters})${result} {`, ...body, "}"].join("\n"));
    return used;
  }
}

/** Whether control cannot reach the end, as WGSL's own analysis sees it. */
function alwaysReturns(body: readonly Stmt[]): boolean {
  const last = body.at(-1);
  switch (last?.kind) {
    case "return":
      return true;
    case "if":
      return alwaysReturns(last.ifTrue) && alwaysReturns(last.ifFalse);
    case "while":
    case "for":
      return isTrue(last.condition) && !breaks(last.body);
    default:
      return false;
  }
}

/** Whether the body holds a `break` of its own loop. */
function breaks(body: readonly Stmt[]): boolean {
  return body.some(
    (statement) =>
      statement.kind === "break" ||
      (statement.kind === "if" && (breaks(statement.ifTrue) || breaks(statement.ifFalse))),
  );
}

function isTrue(expression: Expr): boolean {
  return expression.kind === "literal" && expression.value === true;
}
