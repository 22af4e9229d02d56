/**
 * Lowers one kernel function from its syntax tree to kernel IR. Compile-time values never reach the IR:
 * options are folded, branches on constants are decided before the dead side is looked at, `unroll` repeats
 * its body, `registers` become locals, and functions that take compile-time arguments, close over locals or
 * are straight-line are pasted at their calls. Other helpers become functions of the output.
 */
import type { ts } from "ts-morph";
import { bufferAccess } from "./access.ts";
import { isAssigned } from "./analyze.ts";
import type { Annotation } from "./annotation.ts";
import {
  type Binding,
  constantBinding,
  describe,
  type FunctionBinding,
  type KernelFunctionNode,
  Scope,
  valueBinding,
} from "./bindings.ts";
import { isPure, numberLiteral } from "./fold.ts";
import {
  type Expr,
  type KernelFunction,
  loadedType,
  type Parameter,
  type SharedArray,
  type ValueType,
} from "./ir.ts";
import { CallLowerer } from "./lower-calls.ts";
import { binaryOperation, binaryOperators } from "./operators.ts";
import { syntaxError, typeError } from "./source-error.ts";

const sharedElements = ["f32", "i32", "u32", "u32x4"] as const;
function isSharedElement(name: string): name is SharedArray["element"] {
  return (sharedElements as readonly string[]).includes(name);
}

export class Lowerer extends CallLowerer {
  #result: ValueType | undefined;
  readonly #shared: SharedArray[] = [];

  /**
   * Lowers the body. `parameters` are already bound in `scope` under the names they have in the output, which
   * came from `fresh`.
   */
  lowerFunction(
    node: KernelFunctionNode,
    name: string,
    scope: Scope,
    parameters: readonly Parameter[],
    doc: string | undefined,
  ): KernelFunction {
    const result = node.type === undefined ? { kind: "void" as const } : this.annotation(node.type);
    if (result.kind === "static" || result.kind === "buffer") {
      throw typeError(node.type ?? node, "a kernel function returns a value or nothing");
    }
    if (result.kind === "value") this.#result = result.type;
    if (node.body === undefined) throw syntaxError(node, "a kernel function needs a body");
    const body = this.inBlock(() => {
      if (this.ts.isBlock(node.body!)) this.statements(node.body.statements, scope.child());
      else this.return(node.body as ts.Expression, scope);
    });
    return {
      name,
      ...(doc === undefined ? {} : { doc }),
      parameters: parameters.map((parameter) =>
        parameter.kind === "buffer"
          ? { ...parameter, access: bufferAccess(body, parameter.name, this.helpers.functions) }
          : parameter,
      ),
      ...(result.kind === "value" ? { result: result.type } : {}),
      body,
      helpers: [],
      ...(this.#shared.length === 0 ? {} : { shared: this.#shared }),
    };
  }

  /** Lowers statements in order; returns false if control cannot reach their end. */
  protected statements(statements: readonly ts.Statement[], scope: Scope): boolean {
    for (const statement of statements) {
      if (!this.statement(statement, scope)) return false;
    }
    return true;
  }

  /** A statement or block in a scope of its own. */
  protected nested(statement: ts.Statement, scope: Scope): boolean {
    const inner = scope.child();
    return this.ts.isBlock(statement)
      ? this.statements(statement.statements, inner)
      : this.statement(statement, inner);
  }

  protected statement(statement: ts.Statement, scope: Scope): boolean {
    const ts = this.ts;
    if (ts.isVariableStatement(statement)) {
      this.variables(statement.declarationList, scope);
      return true;
    }
    if (ts.isExpressionStatement(statement)) {
      this.expressionStatement(statement.expression, scope);
      return true;
    }
    if (ts.isBlock(statement)) return this.nested(statement, scope);
    if (ts.isIfStatement(statement)) return this.if(statement, scope);
    if (ts.isForStatement(statement)) return this.for(statement, scope);
    if (ts.isForOfStatement(statement)) return this.unroll(statement, scope);
    if (ts.isWhileStatement(statement)) return this.while(statement, scope);
    if (ts.isSwitchStatement(statement)) return this.switch(statement, scope);
    if (ts.isReturnStatement(statement)) {
      if (this.loops.includes("inlined")) {
        throw syntaxError(
          statement,
          "a function pasted at its call cannot return from inside a loop or switch",
          {
            hint: "Assign to a local and break, and return it after the loop.",
          },
        );
      }
      this.return(statement.expression, scope, statement);
      return false;
    }
    if (ts.isBreakStatement(statement) || ts.isContinueStatement(statement)) {
      const word = ts.isBreakStatement(statement) ? "break" : "continue";
      if (statement.label !== undefined) throw syntaxError(statement, "labels are not part of the language");
      const around = word === "break" ? this.loops : this.loops.filter((kind) => kind !== "switch");
      if (around.at(-1) !== "loop") {
        throw syntaxError(statement, `${word} needs a loop that is not unrolled directly around it`);
      }
      this.emit({ kind: word });
      return false;
    }
    if (ts.isEmptyStatement(statement)) return true;
    throw syntaxError(statement, "this statement is not part of the kernel language", {
      received: ts.SyntaxKind[statement.kind] ?? "",
    });
  }

  protected return(value: ts.Expression | undefined, scope: Scope, at: ts.Node | undefined = value): void {
    if (this.#result === undefined) {
      if (value !== undefined) {
        throw typeError(value, "this function returns nothing", { hint: "Annotate its return type." });
      }
      this.emit({ kind: "return" });
    } else if (value === undefined) {
      throw typeError(at!, `this function returns ${this.#result}`);
    } else {
      this.emit({ kind: "return", value: this.expression(value, scope, this.#result) });
    }
  }

  protected variables(list: ts.VariableDeclarationList, scope: Scope): void {
    const ts = this.ts;
    const isConst = (list.flags & ts.NodeFlags.Const) !== 0;
    if (!isConst && (list.flags & ts.NodeFlags.Let) === 0)
      throw syntaxError(list, "declare with let or const");
    for (const declaration of list.declarations) {
      if (ts.isIdentifier(declaration.name)) {
        this.variable(declaration, declaration.name.text, isConst, scope);
      } else if (ts.isObjectBindingPattern(declaration.name) && declaration.initializer !== undefined) {
        const record = this.evaluate(declaration.initializer, scope);
        for (const element of declaration.name.elements) this.destructure(element, record, scope);
      } else {
        throw syntaxError(declaration, "only a name or the fields of a compile-time record can be declared");
      }
    }
  }

  protected destructure(element: ts.BindingElement, record: Binding, scope: Scope): void {
    if (record.kind !== "record") {
      throw typeError(element, "only compile-time records have fields", { received: describe(record) });
    }
    const field = element.propertyName ?? element.name;
    if (!this.ts.isIdentifier(element.name) || !this.ts.isIdentifier(field) || element.dotDotDotToken) {
      throw syntaxError(element, "only plain fields can be taken from a record");
    }
    scope.bind(element.name.text, record.fields.get(field.text) ?? constantBinding(undefined));
  }

  protected variable(
    declaration: ts.VariableDeclaration,
    name: string,
    isConst: boolean,
    scope: Scope,
  ): void {
    const annotation = declaration.type === undefined ? undefined : this.annotation(declaration.type);
    const wanted = annotation?.kind === "value" ? annotation.type : undefined;
    const { initializer } = declaration;
    if (initializer === undefined) {
      if (wanted === undefined) {
        throw typeError(declaration, `${name} needs a type or a value`, { expected: `let ${name}: i32` });
      }
      const unique = this.freshMutable(name);
      this.emit({ kind: "let", name: unique, type: wanted, mutable: true });
      scope.bind(name, {
        kind: "value",
        expression: { kind: "ref", type: wanted, name: unique },
        assignable: true,
      });
      return;
    }
    if (this.isCallOf(initializer, "registers", scope)) {
      scope.bind(name, this.registers(name, initializer as ts.CallExpression, scope));
      return;
    }
    if (this.isCallOf(initializer, "shared", scope)) {
      if (!isConst) throw syntaxError(declaration, "shared memory is declared with const");
      scope.bind(name, this.sharedArray(name, initializer as ts.CallExpression, scope));
      return;
    }
    const binding = this.evaluate(initializer, scope, wanted);
    if (isConst && (binding.kind !== "value" || binding.expression.kind === "literal")) {
      if (wanted === undefined) scope.bind(name, binding);
      else scope.bind(name, valueBinding(this.coerce(binding, initializer, wanted)));
      return;
    }
    if (binding.kind === "constant" && wanted === undefined && typeof binding.value === "number") {
      throw typeError(declaration, `${name} needs a type, since a number alone has none`, {
        expected: `let ${name}: i32 = …`,
      });
    }
    const value = this.coerce(binding, initializer, wanted);
    const expression = this.spill(name, value, !isConst);
    scope.bind(name, { kind: "value", expression, assignable: !isConst });
  }

  /** `registers(4, x)`: locals name_0 … name_3; an inner `registers` makes two dimensions. */
  protected registers(name: string, call: ts.CallExpression, scope: Scope): Binding {
    const [countNode, initialNode] = call.arguments;
    if (countNode === undefined || initialNode === undefined) {
      throw syntaxError(call, "registers takes a count and an initial value");
    }
    const count = this.count(countNode, scope);
    if (this.isCallOf(initialNode, "registers", scope)) {
      const inner = initialNode as ts.CallExpression;
      return {
        kind: "list",
        elements: Array.from({ length: count }, (_, i) => this.registers(`${name}_${i}`, inner, scope)),
      };
    }
    const binding = this.evaluate(initialNode, scope);
    if (binding.kind === "constant" && typeof binding.value === "number") {
      throw typeError(initialNode, "registers need a typed initial value", {
        hint: "Declare it first: const zero: i32 = 0.",
      });
    }
    let initial = this.coerce(binding, initialNode, undefined);
    if (!isPure(initial)) initial = this.spill(name, initial);
    const elements = Array.from({ length: count }, (_, i): Binding => {
      return { kind: "value", expression: this.spill(`${name}_${i}`, initial, true), assignable: true };
    });
    return { kind: "list", elements };
  }

  /** `shared<f32>(256)`. */
  protected sharedArray(name: string, call: ts.CallExpression, scope: Scope): Binding {
    const element = call.typeArguments?.[0]?.getText();
    const [lengthNode] = call.arguments;
    if (element === undefined || !isSharedElement(element)) {
      throw typeError(call, "shared memory names its element type", {
        expected: `shared<${sharedElements.join(" | ")}>(length)`,
        received: element ?? "none",
      });
    }
    const length = lengthNode === undefined ? 0 : this.count(lengthNode, scope);
    if (length === 0) throw typeError(call, "shared memory needs a length", { received: "0" });
    const unique = this.fresh(name);
    this.#shared.push({ name: unique, element, length });
    return { kind: "buffer", name: unique, element, shared: true };
  }

  protected if(statement: ts.IfStatement, scope: Scope): boolean {
    const condition = this.condition(statement.expression, scope);
    const { thenStatement, elseStatement } = statement;
    if (typeof condition === "boolean") {
      const chosen = condition ? thenStatement : elseStatement;
      return chosen === undefined ? true : this.nested(chosen, scope);
    }
    let trueEnds = true;
    let falseEnds = true;
    const ifTrue = this.inBlock(() => {
      trueEnds = this.nested(thenStatement, scope);
    });
    const ifFalse = this.inBlock(() => {
      if (elseStatement !== undefined) falseEnds = this.nested(elseStatement, scope);
    });
    this.emit({ kind: "if", condition, ifTrue, ifFalse });
    return trueEnds || falseEnds;
  }

  protected while(statement: ts.WhileStatement, scope: Scope): boolean {
    let condition: boolean | Expr = true;
    const ahead = this.inBlock(() => {
      condition = this.condition(statement.expression, scope);
    });
    const test = condition as boolean | Expr;
    if (test === false) return true;
    const always: Expr = { kind: "literal", type: "bool", value: true };
    const body = this.inBlock(() => {
      if (ahead.length > 0 && test !== true) {
        for (const inner of ahead) this.emit(inner);
        const leave: Expr = { kind: "unary", type: "bool", operator: "not", operand: test };
        this.emit({ kind: "if", condition: leave, ifTrue: [{ kind: "break" }], ifFalse: [] });
      }
      this.inLoop("loop", () => this.nested(statement.statement, scope));
    });
    this.emit({
      kind: "while",
      condition: ahead.length > 0 || test === true ? always : test,
      body,
    });
    return true;
  }

  protected for(statement: ts.ForStatement, outer: Scope): boolean {
    const { initializer, condition, incrementor } = statement;
    const declaration =
      initializer !== undefined && this.ts.isVariableDeclarationList(initializer)
        ? initializer.declarations[0]
        : undefined;
    if (
      declaration?.initializer === undefined ||
      (initializer as ts.VariableDeclarationList).declarations.length !== 1 ||
      !this.ts.isIdentifier(declaration.name) ||
      condition === undefined ||
      incrementor === undefined
    ) {
      throw syntaxError(statement, "a for loop declares one variable, tests it and steps it", {
        expected: "for (let i = begin; i < end; i += 1)",
      });
    }
    const name = declaration.name.text;
    const annotation = declaration.type === undefined ? undefined : this.annotation(declaration.type);
    const start = this.forStart(declaration.initializer, annotation, outer);
    const type = start.type as "i32" | "u32";
    const scope = outer.child();
    const variable = this.fresh(name);
    const induction: Expr = { kind: "ref", type, name: variable };
    scope.bind(name, { kind: "value", expression: induction, assignable: false });
    if (isAssigned(this.ts, statement.statement, name)) {
      throw syntaxError(statement.statement, `the loop variable ${name} is stepped by the loop only`, {
        hint: "Use while with a let of its own.",
      });
    }
    let test: boolean | Expr = true;
    let next: Expr = induction;
    const ahead = this.inBlock(() => {
      test = this.condition(condition, scope);
      next = this.step(incrementor, name, induction, scope);
    });
    if (ahead.length > 0) {
      throw syntaxError(condition, "the test and step of a for loop cannot call functions with statements", {
        hint: "Compute the value before the loop.",
      });
    }
    const decided = test as boolean | Expr;
    if (decided === false) return true;
    const body = this.inBlock(() => {
      this.inLoop("loop", () => this.nested(statement.statement, scope));
    });
    this.emit({
      kind: "for",
      variable,
      type,
      start,
      condition: decided === true ? { kind: "literal", type: "bool", value: true } : decided,
      next,
      body,
    });
    return true;
  }

  protected forStart(initializer: ts.Expression, annotation: Annotation | undefined, scope: Scope): Expr {
    const binding = this.evaluate(initializer, scope);
    const wanted =
      annotation?.kind === "value" ? annotation.type : binding.kind === "value" ? undefined : "i32";
    const start = this.coerce(binding, initializer, wanted);
    if (start.type !== "i32" && start.type !== "u32") {
      throw typeError(initializer, "a loop variable is i32 or u32", { received: start.type });
    }
    return start;
  }

  /** The value after `i += 4`, `i++` or `i = i + 4`. */
  protected step(node: ts.Expression, name: string, induction: Expr, scope: Scope): Expr {
    const { SyntaxKind } = this.ts;
    const isVariable = (target: ts.Expression) => this.ts.isIdentifier(target) && target.text === name;
    const type = induction.type as ValueType;
    if (this.ts.isPostfixUnaryExpression(node) || this.ts.isPrefixUnaryExpression(node)) {
      if (isVariable(node.operand)) {
        const operator = node.operator === SyntaxKind.PlusPlusToken ? "add" : "sub";
        return binaryOperation(node, operator, induction, numberLiteral(type, 1)!);
      }
    } else if (this.ts.isBinaryExpression(node) && isVariable(node.left)) {
      const operator = node.operatorToken.getText();
      if (operator === "=") return this.expression(node.right, scope, type);
      const compound = binaryOperators[operator.slice(0, -1)];
      if (compound !== undefined && operator.endsWith("=")) {
        return binaryOperation(node, compound, induction, this.expression(node.right, scope, type));
      }
    }
    throw syntaxError(node, `the step of this loop must change ${name}`, { expected: `${name} += 1` });
  }

  /** `for (const r of unroll(n))`. */
  protected unroll(statement: ts.ForOfStatement, scope: Scope): boolean {
    const { initializer, expression } = statement;
    const name =
      this.ts.isVariableDeclarationList(initializer) &&
      initializer.declarations[0] !== undefined &&
      this.ts.isIdentifier(initializer.declarations[0].name)
        ? initializer.declarations[0].name.text
        : undefined;
    if (name === undefined || !this.isCallOf(expression, "unroll", scope)) {
      throw syntaxError(statement, "for…of is for unrolling only", {
        expected: "for (const i of unroll(4))",
      });
    }
    const countNode = expression.arguments[0];
    if (countNode === undefined) throw syntaxError(expression, "unroll takes a count");
    const count = this.count(countNode, scope);
    for (let i = 0; i < count; i++) {
      const inner = scope.child();
      inner.bind(name, constantBinding(i));
      if (!this.inLoop("unrolled", () => this.nested(statement.statement, inner))) return false;
    }
    return true;
  }

  /** A `switch` on a constant: only the clause it selects is lowered. */
  protected switch(statement: ts.SwitchStatement, scope: Scope): boolean {
    const subject = this.evaluate(statement.expression, scope);
    if (subject.kind !== "constant") {
      throw syntaxError(statement, "switch works on compile-time constants; use if for values");
    }
    const { clauses } = statement.caseBlock;
    const matches = (clause: ts.CaseOrDefaultClause): boolean => {
      if (this.ts.isDefaultClause(clause)) return false;
      const label = this.evaluate(clause.expression, scope);
      return label.kind === "constant" && label.value === subject.value;
    };
    let start = clauses.findIndex(matches);
    if (start < 0) start = clauses.findIndex((clause) => this.ts.isDefaultClause(clause));
    if (start < 0) return true;
    const inner = scope.child();
    for (const clause of clauses.slice(start)) {
      const body = clause.statements.flatMap((s) => (this.ts.isBlock(s) ? [...s.statements] : [s]));
      for (const clauseStatement of body) {
        if (this.ts.isBreakStatement(clauseStatement)) return true;
        if (!this.inLoop("switch", () => this.statement(clauseStatement, inner))) return false;
      }
    }
    return true;
  }

  protected expressionStatement(node: ts.Expression, scope: Scope): void {
    const ts = this.ts;
    if (ts.isParenthesizedExpression(node)) {
      this.expressionStatement(node.expression, scope);
      return;
    }
    if (ts.isBinaryExpression(node)) {
      const operator = node.operatorToken.getText();
      if (operator === "=") {
        this.assign(node.left, scope, (type) => this.expression(node.right, scope, type));
        return;
      }
      const compound = binaryOperators[operator.slice(0, -1)];
      if (operator.endsWith("=") && compound !== undefined) {
        this.assign(node.left, scope, (type, current) => {
          const before = current();
          const position = this.block.length;
          const right = this.expression(node.right, scope, type);
          return binaryOperation(node, compound, this.keepOrder(before, position, "value"), right);
        });
        return;
      }
    }
    if (ts.isPostfixUnaryExpression(node) || ts.isPrefixUnaryExpression(node)) {
      const { PlusPlusToken, MinusMinusToken } = ts.SyntaxKind;
      if (node.operator === PlusPlusToken || node.operator === MinusMinusToken) {
        const operator = node.operator === PlusPlusToken ? "add" : "sub";
        this.assign(node.operand, scope, (type, current) => {
          const one = numberLiteral(type, 1);
          if (one === undefined) throw typeError(node, "only numbers can be stepped", { received: type });
          return binaryOperation(node, operator, current(), one);
        });
        return;
      }
    }
    if (!ts.isCallExpression(node)) throw syntaxError(node, "this expression has no effect");
    this.call(node, scope, undefined);
  }

  /** Assigns to a local, a register or a buffer element; `value` gets the type and how to read the target. */
  protected assign(
    target: ts.Expression,
    scope: Scope,
    value: (type: ValueType, current: () => Expr) => Expr,
  ): void {
    const place = this.strip(target);
    if (this.ts.isElementAccessExpression(place)) {
      const base = this.evaluate(place.expression, scope);
      if (base.kind === "buffer") {
        let index = this.expression(place.argumentExpression, scope, "i32");
        const type = loadedType(base.element);
        const before = this.block.length;
        const stored = value(type, () => {
          if (index.kind !== "ref" && index.kind !== "literal") index = this.spill("index", index);
          return { kind: "load", type, buffer: base.name, index };
        });
        index = this.keepOrder(index, before, "index");
        this.emit({ kind: "store", buffer: base.name, index, value: stored });
        return;
      }
    }
    const binding = this.evaluate(place, scope);
    if (binding.kind !== "value" || !binding.assignable || binding.expression.kind !== "ref") {
      throw syntaxError(target, "only let variables, registers and buffer elements can be assigned");
    }
    const { expression } = binding;
    this.emit({ kind: "assign", name: expression.name, value: value(expression.type, () => expression) });
  }

  protected override lowerHelper(
    callee: FunctionBinding,
    annotations: readonly Annotation[],
  ): KernelFunction {
    const lowerer = new Lowerer(this.ts, this.helpers);
    const scope = new Scope(callee.module);
    const parameters = callee.node.parameters.map((node, i) =>
      bindParameter(this.ts, lowerer, scope, node, annotations[i]!, callee.node),
    );
    const name = `${callee.module.name}_${callee.name}`;
    const helper = lowerer.lowerFunction(callee.node, name, scope, parameters, docOf(this.ts, callee.node));
    if (helper.shared !== undefined) {
      throw syntaxError(callee.node, `${callee.name} is a function of its own and declares shared memory`, {
        hint: "Declare it in the kernel and pass it as Shared<…>.",
      });
    }
    return helper;
  }
}

/** Declares a run-time parameter and binds its name in the function's scope. */
export function bindParameter(
  typescript: typeof ts,
  lowerer: Lowerer,
  scope: Scope,
  node: ts.ParameterDeclaration,
  annotation: Annotation,
  owner: KernelFunctionNode,
): Parameter {
  if (!typescript.isIdentifier(node.name) || node.initializer !== undefined || node.dotDotDotToken) {
    throw syntaxError(node, "a parameter of a kernel is a plain name with a type");
  }
  const source = node.name.text;
  if (owner.body !== undefined && isAssigned(typescript, owner.body, source)) {
    throw syntaxError(node, `the parameter ${source} is assigned`, { hint: "Copy it into a let first." });
  }
  const name = lowerer.fresh(source);
  if (annotation.kind === "buffer") {
    scope.bind(source, { kind: "buffer", name, element: annotation.element });
    return { kind: "buffer", name, element: annotation.element, access: "read" };
  }
  if (annotation.kind !== "value") {
    throw typeError(node, `${source} needs a kernel type`, { expected: "i32, f32, …, v128 or Buffer<…>" });
  }
  scope.bind(source, valueBinding({ kind: "ref", type: annotation.type, name }));
  return { kind: "scalar", name, type: annotation.type };
}

/** The first sentence of a function's doc comment, on one line. */
export function docOf(typescript: typeof ts, node: KernelFunctionNode): string | undefined {
  const comment = typescript.getJSDocCommentsAndTags(node)[0];
  const text = comment === undefined ? undefined : typescript.getTextOfJSDocComment(comment.comment);
  return text?.replaceAll(/\s+/g, " ").match(/^.*?[.:](?= |$)|^.+/)?.[0];
}
