import type { Expr, KernelFunction, Stmt, ValueType } from "../../kernel/ir.ts";
import { compound, isTrue, StatementRenderer } from "../c-like/statements.ts";
import { comment } from "../c-like/text.ts";
import { type Callee, type FunctionScope, WgslExpressions } from "./expressions.ts";
import { type Builtin, builtinName, builtins, type Memory, type ModuleContext, wgslType } from "./module.ts";

/** Renders the statements of one function, a helper or the kernel. */
export class FunctionRenderer extends StatementRenderer implements FunctionScope {
  readonly module: ModuleContext;
  /** Builtins it uses itself or passes on. */
  readonly builtins = new Set<Builtin>();
  protected readonly expressions = new WgslExpressions(this);
  protected readonly forever = "loop";
  readonly #helpers: HelperLibrary;
  readonly #memories: ReadonlyMap<string, Memory>;

  constructor(helpers: HelperLibrary, memories: ReadonlyMap<string, Memory>) {
    super(helpers.module.names.inner());
    this.module = helpers.module;
    this.#helpers = helpers;
    this.#memories = memories;
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

  protected local(name: string, type: ValueType, mutable: boolean, value?: string): string {
    if (value === undefined) return `var ${name}: ${wgslType(type)}`;
    return `${mutable ? "var" : "let"} ${name} = ${value}`;
  }

  protected discard(text: string): string {
    return `_ = ${text}`;
  }

  protected assignment(name: string, value: Expr): string {
    const target = this.value(name);
    if (value.kind === "binary" && value.left.kind === "ref" && value.left.name === name) {
      const { operator, right } = value;
      const isOne = right.kind === "literal" && right.value === 1 && right.type !== "f32";
      if (isOne && operator === "add") return `${target}++`;
      if (isOne && operator === "sub") return `${target}--`;
      const symbol = compound[operator];
      if (symbol !== undefined) return `${target} ${symbol} ${this.expressions.render(right)}`;
    }
    return `${target} = ${this.expressions.render(value)}`;
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
