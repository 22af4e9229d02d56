import type { ts } from "ts-morph";
import { containsReturn, isAssigned, isStraightLine } from "./analyze.ts";
import type { Annotation } from "./annotation.ts";
import {
  type Binding,
  constantBinding,
  describe,
  type FunctionBinding,
  Scope,
  type ValueBinding,
  valueBinding,
} from "./bindings.ts";
import { constantMath } from "./constants.ts";
import { foldConvert } from "./fold.ts";
import { type Intrinsic, intrinsicNamespaces, intrinsics, isWord, typesOf } from "./intrinsic-table.ts";
import type { CallArgument, Expr, KernelFunction, NumericType, Stmt, ValueType } from "./ir.ts";
import { ExpressionLowerer } from "./lower-expressions.ts";
import { syntaxError, typeError } from "./source-error.ts";
import { copyExpression, copyStatements, type Renaming } from "./substitute.ts";

/** Calls: intrinsics, functions pasted where they are called, and helpers of the output. */
export abstract class CallLowerer extends ExpressionLowerer {
  /** What `break` and `continue` would leave, innermost last. */
  protected readonly loops: ("loop" | "unrolled" | "inlined" | "switch")[] = [];
  readonly #inlining: ts.Node[] = [];

  /** Lowers a statement; false if control cannot reach its end. */
  protected abstract statement(statement: ts.Statement, scope: Scope): boolean;
  /** Lowers a helper with loops or branches as a function of its own. */
  protected abstract lowerHelper(callee: FunctionBinding, annotations: readonly Annotation[]): KernelFunction;

  /** The value of a call, or undefined if it returns nothing (then its statement is already emitted). */
  protected call(node: ts.CallExpression, scope: Scope, wanted: ValueType | undefined): Binding | undefined {
    const callee = this.strip(node.expression);
    if (
      this.ts.isPropertyAccessExpression(callee) &&
      this.ts.isIdentifier(callee.expression) &&
      callee.expression.text === "Math" &&
      this.lookup("Math", scope) === undefined
    ) {
      const values = node.arguments.map((argument) => {
        const binding = this.evaluate(argument, scope);
        return binding.kind === "constant" ? binding.value : "not a constant";
      });
      return constantBinding(constantMath(node, callee.name.text, values));
    }
    const binding = this.evaluate(callee, scope);
    switch (binding.kind) {
      case "intrinsic":
        return this.intrinsic(node, binding.name, scope, wanted);
      case "inline":
        return this.callInline(node, binding, scope);
      case "function":
        return this.callFunction(node, binding, scope);
      default:
        throw typeError(node, "this is not a function", { received: describe(binding) });
    }
  }

  protected intrinsic(
    node: ts.CallExpression,
    name: string,
    scope: Scope,
    wanted: ValueType | undefined,
  ): Binding | undefined {
    if (name === "select") return this.select(node, scope, wanted);
    const entry = intrinsics.get(name);
    if (entry === undefined) {
      const reason =
        name === "registers"
          ? "registers(…) initialises a const of its own"
          : name === "unroll"
            ? "unroll(…) belongs in for (const i of unroll(…))"
            : name === "shared"
              ? "shared(…) initialises a const of its own"
              : intrinsicNamespaces.has(name)
                ? `${name} is a type or a namespace, not a function`
                : `there is no intrinsic ${name}`;
      throw syntaxError(node, reason);
    }
    const { immediates } = entry;
    const bufferCount = entry.memory === undefined ? 0 : 1;
    const expected = bufferCount + entry.parameters.length + immediates.count;
    if (node.arguments.length !== expected) {
      throw typeError(node, `${name} takes ${expected} arguments`, { received: `${node.arguments.length}` });
    }
    const isImmediate = (i: number) => i >= immediates.start && i < immediates.start + immediates.count;
    const values = node.arguments.filter((_, i) => !isImmediate(i)).slice(bufferCount);
    const constants = node.arguments.filter((_, i) => isImmediate(i));
    const buffer =
      entry.memory === undefined ? undefined : this.memoryArgument(node.arguments[0]!, entry.memory, scope);
    const args = this.sequence(
      values.map((argument, i) => () => {
        const type = entry.parameters[i]!;
        return valueBinding(
          type === "word" ? this.word(argument, scope, wanted) : this.expression(argument, scope, type),
        );
      }),
    ).map((binding) => (binding as ValueBinding).expression);
    if (entry.conversion) return valueBinding(this.convert(entry, args[0]!));
    const word = buffer?.element ?? args[entry.parameters.indexOf("word")]?.type ?? "void";
    const { result } = typesOf(entry, isWord(word) ? word : "u32");
    const expression: Expr = {
      kind: "intrinsic",
      type: result,
      name,
      ...(buffer === undefined ? {} : { buffer: buffer.name }),
      args,
      immediates: constants.map((argument) => {
        const value = this.count(argument, scope);
        if (value < immediates.below) return value;
        throw typeError(argument, `${name} takes constants below ${immediates.below}`, {
          received: `${value}`,
        });
      }),
    };
    if (entry.memory === "shared") return valueBinding(this.spill(buffer!.name, expression));
    if (entry.result !== "void") return valueBinding(expression);
    this.emit({ kind: "expr", expression });
    return undefined;
  }

  protected convert(entry: Intrinsic, operand: Expr): Expr {
    const type = entry.result as NumericType;
    return foldConvert(type, operand) ?? { kind: "convert", type, operand };
  }

  protected memoryArgument(
    node: ts.Expression,
    kind: "buffer" | "shared",
    scope: Scope,
  ): Extract<Binding, { kind: "buffer" }> {
    const binding = this.evaluate(node, scope);
    if (binding.kind === "buffer" && (binding.shared === true) === (kind === "shared")) return binding;
    throw typeError(node, kind === "buffer" ? "this must be a buffer" : "this must be shared memory", {
      received: describe(binding),
    });
  }

  /** An f32, i32 or u32; a constant takes the type wanted of the result. */
  protected word(node: ts.Expression, scope: Scope, wanted: ValueType | undefined): Expr {
    const binding = this.evaluate(node, scope, wanted);
    const value = this.coerce(binding, node, binding.kind === "constant" ? wanted : undefined);
    if (isWord(value.type)) return value;
    throw typeError(node, "this must be f32, i32 or u32", { received: value.type });
  }

  protected select(node: ts.CallExpression, scope: Scope, wanted: ValueType | undefined): Binding {
    const [test, yes, no] = node.arguments;
    if (test === undefined || yes === undefined || no === undefined || node.arguments.length !== 3) {
      throw typeError(node, "select takes a condition and two values");
    }
    const [condition, left, right] = this.sequence([
      () => this.conditionBinding(test, scope),
      () => this.evaluate(yes, scope, wanted),
      () => this.evaluate(no, scope, wanted),
    ]) as [Binding, Binding, Binding];
    if (condition.kind === "constant") return condition.value === true ? left : right;
    const type =
      (left.kind === "value" ? (left.expression.type as ValueType) : undefined) ??
      (right.kind === "value" ? (right.expression.type as ValueType) : wanted);
    const ifTrue = this.coerce(left, yes, type);
    const ifFalse = this.coerce(right, no, type);
    const test_ = (condition as ValueBinding).expression;
    return valueBinding({
      kind: "select",
      type: ifTrue.type as ValueType,
      condition: test_,
      ifTrue,
      ifFalse,
    });
  }

  protected callInline(
    node: ts.CallExpression,
    binding: Extract<Binding, { kind: "inline" }>,
    scope: Scope,
  ): Binding {
    const { inline, names } = binding;
    if (node.arguments.length !== inline.parameters.length) {
      throw typeError(node, `this option function takes ${inline.parameters.length} arguments`, {
        received: `${node.arguments.length}`,
      });
    }
    const args = this.sequence(
      node.arguments.map(
        (argument, i) => () => valueBinding(this.expression(argument, scope, inline.parameters[i]!.type)),
      ),
    ).map((value) => (value as ValueBinding).expression);
    const values = new Map<string, Expr>();
    const buffers = new Map<string, string>();
    for (const capture of inline.captures) {
      const name = names.get(capture.name)!;
      if (capture.kind === "buffer") buffers.set(capture.name, name);
      else values.set(capture.name, { kind: "ref", type: capture.type, name });
    }
    inline.parameters.forEach((parameter, i) => {
      const argument = args[i]!;
      values.set(parameter.name, this.isStable(argument) ? argument : this.spill(parameter.name, argument));
    });
    const renaming: Renaming = { values, buffers, fresh: (name) => this.fresh(name) };
    for (const statement of copyStatements(inline.body, renaming)) this.emit(statement);
    return valueBinding(copyExpression(inline.result, renaming));
  }

  protected callFunction(
    node: ts.CallExpression,
    callee: FunctionBinding,
    scope: Scope,
  ): Binding | undefined {
    const annotations = callee.node.parameters.map((parameter) =>
      parameter.type === undefined ? { kind: "static" as const } : this.annotation(parameter.type),
    );
    const compileTime = annotations.some((annotation) => annotation.kind === "static");
    const pasted = callee.scope !== undefined || compileTime || isStraightLine(this.ts, callee.node);
    const required = callee.node.parameters.filter(
      (p) => p.initializer === undefined && !p.questionToken,
    ).length;
    if (node.arguments.length < required || node.arguments.length > callee.node.parameters.length) {
      throw typeError(node, `${callee.name} takes ${callee.node.parameters.length} arguments`, {
        received: `${node.arguments.length}`,
      });
    }
    const args = this.sequence(
      node.arguments.map((argument, i) => () => {
        const annotation = annotations[i]!;
        return annotation.kind === "value"
          ? valueBinding(this.expression(argument, scope, annotation.type))
          : this.evaluate(argument, scope);
      }),
    );
    return pasted
      ? this.paste(node, callee, annotations, args)
      : this.callHelper(node, callee, annotations, args);
  }

  protected parameterName(parameter: ts.ParameterDeclaration): string {
    if (this.ts.isIdentifier(parameter.name) && !parameter.dotDotDotToken) return parameter.name.text;
    throw syntaxError(parameter, "a parameter of a kernel function is a plain name");
  }

  /** Lowers the callee's body here, with its parameters bound to the arguments. */
  protected paste(
    node: ts.CallExpression,
    callee: FunctionBinding,
    annotations: readonly Annotation[],
    args: readonly Binding[],
  ): Binding | undefined {
    if (this.#inlining.includes(callee.node))
      throw syntaxError(node, "kernel functions cannot call themselves");
    const { body } = callee.node;
    if (body === undefined) throw syntaxError(callee.node, "a kernel function needs a body");
    const scope = callee.scope?.child() ?? new Scope(callee.module);
    callee.node.parameters.forEach((parameter, i) => {
      const name = this.parameterName(parameter);
      const given = args[i] ?? (parameter.initializer && this.evaluate(parameter.initializer, scope));
      const bound = this.argument(node, name, annotations[i]!, given ?? constantBinding(undefined), body);
      scope.bind(name, bound);
    });
    const annotation = callee.node.type === undefined ? undefined : this.annotation(callee.node.type);
    const wanted = annotation?.kind === "value" ? annotation.type : undefined;
    this.#inlining.push(callee.node);
    const result = this.inLoop("inlined", () =>
      this.ts.isBlock(body)
        ? this.tail(body.statements, scope.child(), wanted)
        : this.pastedExpression(body, scope, wanted),
    );
    this.#inlining.pop();
    if (result === undefined || wanted === undefined) return result;
    return valueBinding(this.coerce(result, node, wanted));
  }

  /** `() => v128.store(…)` returns nothing, `() => a + b` a value. */
  protected pastedExpression(
    body: ts.Expression,
    scope: Scope,
    wanted: ValueType | undefined,
  ): Binding | undefined {
    const stripped = this.strip(body);
    return this.ts.isCallExpression(stripped)
      ? this.call(stripped, scope, wanted)
      : this.evaluate(body, scope, wanted);
  }

  protected argument(
    node: ts.Node,
    name: string,
    annotation: Annotation,
    given: Binding,
    body: ts.Node,
  ): Binding {
    if (annotation.kind === "buffer") {
      if (given.kind === "buffer" && given.element === annotation.element && given.shared !== true)
        return given;
      throw typeError(node, `the argument for ${name} is not the buffer it takes`, {
        expected: `Buffer<${annotation.element}>`,
        received: describe(given),
      });
    }
    if (annotation.kind !== "value") return this.freeze(given);
    const value = this.coerce(given, node, annotation.type);
    if (isAssigned(this.ts, body, name)) {
      return { kind: "value", expression: this.spill(name, value, true), assignable: true };
    }
    // A let that changes later must be read now.
    return valueBinding(this.isStable(value) ? value : this.spill(name, value));
  }

  /** Statements of a pasted body: gives the value of the `return` that control reaches. */
  protected tail(
    statements: readonly ts.Statement[],
    scope: Scope,
    wanted: ValueType | undefined,
  ): Binding | undefined {
    const ts = this.ts;
    for (const [i, statement] of statements.entries()) {
      if (ts.isReturnStatement(statement)) {
        return statement.expression && this.pastedExpression(statement.expression, scope, wanted);
      }
      if (ts.isIfStatement(statement) && containsReturn(ts, statement)) {
        return this.tailIf(statement, statements.slice(i + 1), scope, wanted);
      }
      if (ts.isBlock(statement) && containsReturn(ts, statement)) {
        return this.tail([...statement.statements, ...statements.slice(i + 1)], scope.child(), wanted);
      }
      if (!this.statement(statement, scope)) return undefined;
    }
    return undefined;
  }

  protected tailIf(
    statement: ts.IfStatement,
    rest: readonly ts.Statement[],
    scope: Scope,
    wanted: ValueType | undefined,
  ): Binding | undefined {
    const path = (branch: ts.Statement | undefined): Binding | undefined => {
      const own = branch === undefined ? [] : this.ts.isBlock(branch) ? branch.statements : [branch];
      return this.tail([...own, ...rest], scope.child(), wanted);
    };
    const condition = this.condition(statement.expression, scope);
    if (typeof condition === "boolean")
      return path(condition ? statement.thenStatement : statement.elseStatement);
    const result = wanted === undefined ? undefined : this.fresh("result");
    if (result !== undefined) this.emit({ kind: "let", name: result, type: wanted!, mutable: true });
    const side = (branch: ts.Statement | undefined): Stmt[] =>
      this.inBlock(() => {
        const value = path(branch);
        if (result !== undefined && value !== undefined) {
          this.emit({ kind: "assign", name: result, value: this.coerce(value, statement, wanted) });
        } else if (value !== undefined || result !== undefined) {
          throw typeError(statement, "every path of this function returns a value of its annotated type", {
            hint: "Annotate the return type, and return at the end.",
          });
        }
      });
    const ifTrue = side(statement.thenStatement);
    const ifFalse = side(statement.elseStatement);
    this.emit({ kind: "if", condition, ifTrue, ifFalse });
    return result === undefined ? undefined : valueBinding({ kind: "ref", type: wanted!, name: result });
  }

  protected callHelper(
    node: ts.CallExpression,
    callee: FunctionBinding,
    annotations: readonly Annotation[],
    given: readonly Binding[],
  ): Binding | undefined {
    const helper =
      this.helpers.get(callee.node) ??
      this.helpers.define(callee.node, () => this.lowerHelper(callee, annotations));
    const args = given.map((binding, i): CallArgument => {
      const annotation = annotations[i]!;
      if (annotation.kind === "value") return this.coerce(binding, node.arguments[i]!, annotation.type);
      const bound = this.argument(node, helper.parameters[i]!.name, annotation, binding, node);
      return { kind: "buffer", name: (bound as Extract<Binding, { kind: "buffer" }>).name };
    });
    const expression: Expr = { kind: "call", type: helper.result ?? "void", callee: helper.name, args };
    if (helper.result !== undefined) return valueBinding(this.spill(callee.name, expression));
    this.emit({ kind: "expr", expression });
    return undefined;
  }

  protected inLoop<T>(kind: "loop" | "unrolled" | "inlined" | "switch", action: () => T): T {
    this.loops.push(kind);
    try {
      return action();
    } finally {
      this.loops.pop();
    }
  }
}
