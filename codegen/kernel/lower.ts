/**
 * Lowers one kernel function from its syntax tree to kernel IR. Compile-time values never reach the IR:
 * options are folded, branches on constants are decided before the dead side is looked at, `unroll` repeats
 * its body, `registers` become locals, and functions that take compile-time arguments, close over locals or
 * are straight-line are pasted at their calls. Other helpers become functions of the output.
 */
import type { ts } from "ts-morph";
import { bufferAccess } from "./access.ts";
import { containsReturn, isAssigned, isStraightLine } from "./analyze.ts";
import { type Annotation, readAnnotation } from "./annotation.ts";
import { type Binding, type Constant, type KernelFunctionNode, Scope } from "./bindings.ts";
import { constantBinary, constantMath } from "./constants.ts";
import { compareConstants, foldBinary, foldConvert, isPure, numberLiteral } from "./fold.ts";
import { type Intrinsic, intrinsicNamespaces, intrinsics } from "./intrinsic-table.ts";
import {
  type BinaryOperator,
  type CallArgument,
  type CompareOperator,
  type Expr,
  type KernelFunction,
  loadedType,
  type NumericType,
  type Parameter,
  type Stmt,
  type ValueType,
} from "./ir.ts";
import type { SourceModule } from "./load.ts";
import { syntaxError, typeError } from "./source-error.ts";
import { copyExpression, copyStatements, type Renaming } from "./substitute.ts";

/** Helpers that became functions while one kernel was lowered, callees first. */
export class HelperSet {
  readonly #done = new Map<ts.Node, KernelFunction>();
  readonly #active = new Set<ts.Node>();

  get functions(): KernelFunction[] {
    return [...this.#done.values()];
  }
  get(node: ts.Node): KernelFunction | undefined {
    return this.#done.get(node);
  }
  /** Lowers a helper once; a helper that needs itself is an error. */
  define(node: ts.Node, lower: () => KernelFunction): KernelFunction {
    if (this.#active.has(node)) throw syntaxError(node, "kernel functions cannot call themselves");
    this.#active.add(node);
    const fn = lower();
    this.#active.delete(node);
    this.#done.set(node, fn);
    return fn;
  }
}

type ValueBinding = Extract<Binding, { kind: "value" }>;
type FunctionBinding = Extract<Binding, { kind: "function" }>;

const binaryOperators: Record<string, BinaryOperator> = {
  "+": "add",
  "-": "sub",
  "*": "mul",
  "/": "div",
  "%": "rem",
  "&": "and",
  "|": "or",
  "^": "xor",
  "<<": "shl",
  ">>": "shr",
  ">>>": "shr_logical",
};
const compareOperators: Record<string, CompareOperator> = {
  "===": "eq",
  "!==": "ne",
  "<": "lt",
  "<=": "le",
  ">": "gt",
  ">=": "ge",
};

function runtime(expression: Expr): ValueBinding {
  return { kind: "value", expression, assignable: false };
}
function constantOf(value: Constant): Binding {
  return { kind: "constant", value };
}

/** What a binding is, for messages. */
function describe(binding: Binding): string {
  switch (binding.kind) {
    case "constant":
      return `the constant ${JSON.stringify(binding.value)}`;
    case "value":
      return binding.expression.type;
    case "record":
      return "a record of options";
    case "buffer":
      return `Buffer<${binding.element}>`;
    case "list":
      return "a list of registers";
    default:
      return "a function";
  }
}

export class Lowerer {
  readonly #ts: typeof ts;
  readonly #helpers: HelperSet;
  readonly #names = new Set<string>();
  /** Names of locals that statements assign. */
  readonly #mutable = new Set<string>();
  /** Where statements go; lowering an expression may add some ahead of it. */
  #block: Stmt[] = [];
  /** What `break` and `continue` would leave, innermost last. */
  readonly #loops: ("loop" | "unrolled" | "inlined" | "switch")[] = [];
  #result: ValueType | undefined;
  readonly #inlining: ts.Node[] = [];

  constructor(typescript: typeof ts, helpers: HelperSet) {
    this.#ts = typescript;
    this.#helpers = helpers;
  }

  /** A name no other local or parameter of this function has. */
  fresh(name: string): string {
    let unique = name;
    for (let count = 1; this.#names.has(unique); count++) unique = `${name}_${count}`;
    this.#names.add(unique);
    return unique;
  }

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
    const result = node.type === undefined ? { kind: "void" as const } : this.#annotation(node.type);
    if (result.kind === "static" || result.kind === "buffer") {
      throw typeError(node.type ?? node, "a kernel function returns a value or nothing");
    }
    if (result.kind === "value") this.#result = result.type;
    if (node.body === undefined) throw syntaxError(node, "a kernel function needs a body");
    const body = this.#inBlock(() => {
      if (this.#ts.isBlock(node.body!)) this.#statements(node.body.statements, scope.child());
      else this.#return(node.body as ts.Expression, scope);
    });
    return {
      name,
      ...(doc === undefined ? {} : { doc }),
      parameters: parameters.map((parameter) =>
        parameter.kind === "buffer"
          ? { ...parameter, access: bufferAccess(body, parameter.name, this.#helpers.functions) }
          : parameter,
      ),
      ...(result.kind === "value" ? { result: result.type } : {}),
      body,
      helpers: [],
    };
  }

  #annotation(node: ts.TypeNode): Annotation {
    return readAnnotation(this.#ts, node);
  }

  /** Runs `action` with statements going to a block of their own. */
  #inBlock(action: () => void): Stmt[] {
    const outer = this.#block;
    const block: Stmt[] = [];
    this.#block = block;
    try {
      action();
    } finally {
      this.#block = outer;
    }
    return block;
  }

  #emit(statement: Stmt): void {
    this.#block.push(statement);
  }

  /** Stores a value in a new local and gives a reference to it. */
  #spill(name: string, value: Expr, mutable = false): Expr {
    const type = value.type as ValueType;
    const unique = this.fresh(name);
    if (mutable) this.#mutable.add(unique);
    this.#emit({ kind: "let", name: unique, type, value, mutable });
    return { kind: "ref", type, name: unique };
  }

  // Statements

  /** Lowers statements in order; returns false if control cannot reach their end. */
  #statements(statements: readonly ts.Statement[], scope: Scope): boolean {
    for (const statement of statements) {
      if (!this.#statement(statement, scope)) return false;
    }
    return true;
  }

  /** A statement or block in a scope of its own. */
  #nested(statement: ts.Statement, scope: Scope): boolean {
    const inner = scope.child();
    return this.#ts.isBlock(statement)
      ? this.#statements(statement.statements, inner)
      : this.#statement(statement, inner);
  }

  #statement(statement: ts.Statement, scope: Scope): boolean {
    const ts = this.#ts;
    if (ts.isVariableStatement(statement)) {
      this.#variables(statement.declarationList, scope);
      return true;
    }
    if (ts.isExpressionStatement(statement)) {
      this.#expressionStatement(statement.expression, scope);
      return true;
    }
    if (ts.isBlock(statement)) return this.#nested(statement, scope);
    if (ts.isIfStatement(statement)) return this.#if(statement, scope);
    if (ts.isForStatement(statement)) return this.#for(statement, scope);
    if (ts.isForOfStatement(statement)) return this.#unroll(statement, scope);
    if (ts.isWhileStatement(statement)) return this.#while(statement, scope);
    if (ts.isSwitchStatement(statement)) return this.#switch(statement, scope);
    if (ts.isReturnStatement(statement)) {
      if (this.#loops.includes("inlined")) {
        throw syntaxError(
          statement,
          "a function pasted at its call cannot return from inside a loop or switch",
          {
            hint: "Assign to a local and break, and return it after the loop.",
          },
        );
      }
      this.#return(statement.expression, scope, statement);
      return false;
    }
    if (ts.isBreakStatement(statement) || ts.isContinueStatement(statement)) {
      const word = ts.isBreakStatement(statement) ? "break" : "continue";
      if (statement.label !== undefined) throw syntaxError(statement, "labels are not part of the language");
      const around = word === "break" ? this.#loops : this.#loops.filter((kind) => kind !== "switch");
      if (around.at(-1) !== "loop") {
        throw syntaxError(statement, `${word} needs a loop that is not unrolled directly around it`);
      }
      this.#emit({ kind: word });
      return false;
    }
    if (ts.isEmptyStatement(statement)) return true;
    throw syntaxError(statement, "this statement is not part of the kernel language", {
      received: ts.SyntaxKind[statement.kind] ?? "",
    });
  }

  #return(value: ts.Expression | undefined, scope: Scope, at: ts.Node | undefined = value): void {
    if (this.#result === undefined) {
      if (value !== undefined) {
        throw typeError(value, "this function returns nothing", { hint: "Annotate its return type." });
      }
      this.#emit({ kind: "return" });
    } else if (value === undefined) {
      throw typeError(at!, `this function returns ${this.#result}`);
    } else {
      this.#emit({ kind: "return", value: this.#expression(value, scope, this.#result) });
    }
  }

  #variables(list: ts.VariableDeclarationList, scope: Scope): void {
    const ts = this.#ts;
    const isConst = (list.flags & ts.NodeFlags.Const) !== 0;
    if (!isConst && (list.flags & ts.NodeFlags.Let) === 0)
      throw syntaxError(list, "declare with let or const");
    for (const declaration of list.declarations) {
      if (ts.isIdentifier(declaration.name)) {
        this.#variable(declaration, declaration.name.text, isConst, scope);
      } else if (ts.isObjectBindingPattern(declaration.name) && declaration.initializer !== undefined) {
        const record = this.#evaluate(declaration.initializer, scope);
        for (const element of declaration.name.elements) this.#destructure(element, record, scope);
      } else {
        throw syntaxError(declaration, "only a name or the fields of a compile-time record can be declared");
      }
    }
  }

  #destructure(element: ts.BindingElement, record: Binding, scope: Scope): void {
    if (record.kind !== "record") {
      throw typeError(element, "only compile-time records have fields", { received: describe(record) });
    }
    const field = element.propertyName ?? element.name;
    if (!this.#ts.isIdentifier(element.name) || !this.#ts.isIdentifier(field) || element.dotDotDotToken) {
      throw syntaxError(element, "only plain fields can be taken from a record");
    }
    scope.bind(element.name.text, record.fields.get(field.text) ?? constantOf(undefined));
  }

  #variable(declaration: ts.VariableDeclaration, name: string, isConst: boolean, scope: Scope): void {
    const annotation = declaration.type === undefined ? undefined : this.#annotation(declaration.type);
    const wanted = annotation?.kind === "value" ? annotation.type : undefined;
    const { initializer } = declaration;
    if (initializer === undefined) {
      if (wanted === undefined) {
        throw typeError(declaration, `${name} needs a type or a value`, { expected: `let ${name}: i32` });
      }
      const unique = this.fresh(name);
      this.#mutable.add(unique);
      this.#emit({ kind: "let", name: unique, type: wanted, mutable: true });
      scope.bind(name, {
        kind: "value",
        expression: { kind: "ref", type: wanted, name: unique },
        assignable: true,
      });
      return;
    }
    if (this.#isCallOf(initializer, "registers", scope)) {
      scope.bind(name, this.#registers(name, initializer as ts.CallExpression, scope));
      return;
    }
    const binding = this.#evaluate(initializer, scope, wanted);
    if (isConst && (binding.kind !== "value" || binding.expression.kind === "literal")) {
      if (wanted === undefined) scope.bind(name, binding);
      else scope.bind(name, runtime(this.#coerce(binding, initializer, wanted)));
      return;
    }
    if (binding.kind === "constant" && wanted === undefined && typeof binding.value === "number") {
      throw typeError(declaration, `${name} needs a type, since a number alone has none`, {
        expected: `let ${name}: i32 = …`,
      });
    }
    const value = this.#coerce(binding, initializer, wanted);
    const expression = this.#spill(name, value, !isConst);
    scope.bind(name, { kind: "value", expression, assignable: !isConst });
  }

  /** `registers(4, x)`: locals name_0 … name_3; an inner `registers` makes two dimensions. */
  #registers(name: string, call: ts.CallExpression, scope: Scope): Binding {
    const [countNode, initialNode] = call.arguments;
    if (countNode === undefined || initialNode === undefined) {
      throw syntaxError(call, "registers takes a count and an initial value");
    }
    const count = this.#count(countNode, scope);
    if (this.#isCallOf(initialNode, "registers", scope)) {
      const inner = initialNode as ts.CallExpression;
      return {
        kind: "list",
        elements: Array.from({ length: count }, (_, i) => this.#registers(`${name}_${i}`, inner, scope)),
      };
    }
    const binding = this.#evaluate(initialNode, scope);
    if (binding.kind === "constant" && typeof binding.value === "number") {
      throw typeError(initialNode, "registers need a typed initial value", {
        hint: "Declare it first: const zero: i32 = 0.",
      });
    }
    let initial = this.#coerce(binding, initialNode, undefined);
    if (!isPure(initial)) initial = this.#spill(name, initial);
    const elements = Array.from({ length: count }, (_, i): Binding => {
      return { kind: "value", expression: this.#spill(`${name}_${i}`, initial, true), assignable: true };
    });
    return { kind: "list", elements };
  }

  /** A non-negative integer known at compile time. */
  #count(node: ts.Expression, scope: Scope): number {
    const binding = this.#evaluate(node, scope);
    const value = binding.kind === "value" ? literalNumber(binding.expression) : constantNumber(binding);
    if (value === undefined || !Number.isInteger(value) || value < 0) {
      throw typeError(node, "this must be a whole number known at compile time", {
        received: describe(binding),
      });
    }
    return value;
  }

  #isCallOf(node: ts.Expression, intrinsic: string, scope: Scope): node is ts.CallExpression {
    if (!this.#ts.isCallExpression(node) || !this.#ts.isIdentifier(node.expression)) return false;
    const callee = this.#lookup(node.expression.text, scope);
    return callee?.kind === "intrinsic" && callee.name === intrinsic;
  }

  #if(statement: ts.IfStatement, scope: Scope): boolean {
    const condition = this.#condition(statement.expression, scope);
    const { thenStatement, elseStatement } = statement;
    if (typeof condition === "boolean") {
      const chosen = condition ? thenStatement : elseStatement;
      return chosen === undefined ? true : this.#nested(chosen, scope);
    }
    let trueEnds = true;
    let falseEnds = true;
    const ifTrue = this.#inBlock(() => {
      trueEnds = this.#nested(thenStatement, scope);
    });
    const ifFalse = this.#inBlock(() => {
      if (elseStatement !== undefined) falseEnds = this.#nested(elseStatement, scope);
    });
    this.#emit({ kind: "if", condition, ifTrue, ifFalse });
    return trueEnds || falseEnds;
  }

  /** A decided condition, or a bool expression. */
  #condition(node: ts.Expression, scope: Scope): boolean | Expr {
    const binding = this.#evaluate(node, scope);
    switch (binding.kind) {
      case "constant":
        if (typeof binding.value === "boolean" || binding.value === undefined) return binding.value === true;
        throw typeError(node, "a condition is a boolean", { received: describe(binding) });
      case "inline":
      case "function":
        return true;
      case "value": {
        const { expression } = binding;
        if (expression.type === "bool")
          return expression.kind === "literal" ? expression.value === true : expression;
        throw typeError(node, "a condition is a boolean", {
          received: expression.type,
          hint: "Compare explicitly: x !== 0.",
        });
      }
      default:
        throw typeError(node, "a condition is a boolean", { received: describe(binding) });
    }
  }

  #inLoop<T>(kind: "loop" | "unrolled" | "inlined" | "switch", action: () => T): T {
    this.#loops.push(kind);
    try {
      return action();
    } finally {
      this.#loops.pop();
    }
  }

  #while(statement: ts.WhileStatement, scope: Scope): boolean {
    let condition: boolean | Expr = true;
    const ahead = this.#inBlock(() => {
      condition = this.#condition(statement.expression, scope);
    });
    const test = condition as boolean | Expr;
    if (test === false) return true;
    const always: Expr = { kind: "literal", type: "bool", value: true };
    const body = this.#inBlock(() => {
      if (ahead.length > 0 && test !== true) {
        for (const inner of ahead) this.#emit(inner);
        const leave: Expr = { kind: "unary", type: "bool", operator: "not", operand: test };
        this.#emit({ kind: "if", condition: leave, ifTrue: [{ kind: "break" }], ifFalse: [] });
      }
      this.#inLoop("loop", () => this.#nested(statement.statement, scope));
    });
    this.#emit({
      kind: "while",
      condition: ahead.length > 0 || test === true ? always : test,
      body,
    });
    return true;
  }

  #for(statement: ts.ForStatement, outer: Scope): boolean {
    const { initializer, condition, incrementor } = statement;
    const declaration =
      initializer !== undefined && this.#ts.isVariableDeclarationList(initializer)
        ? initializer.declarations[0]
        : undefined;
    if (
      declaration?.initializer === undefined ||
      (initializer as ts.VariableDeclarationList).declarations.length !== 1 ||
      !this.#ts.isIdentifier(declaration.name) ||
      condition === undefined ||
      incrementor === undefined
    ) {
      throw syntaxError(statement, "a for loop declares one variable, tests it and steps it", {
        expected: "for (let i = begin; i < end; i += 1)",
      });
    }
    const name = declaration.name.text;
    const annotation = declaration.type === undefined ? undefined : this.#annotation(declaration.type);
    const start = this.#forStart(declaration.initializer, annotation, outer);
    const type = start.type as "i32" | "u32";
    const scope = outer.child();
    const variable = this.fresh(name);
    const induction: Expr = { kind: "ref", type, name: variable };
    scope.bind(name, { kind: "value", expression: induction, assignable: false });
    if (isAssigned(this.#ts, statement.statement, name)) {
      throw syntaxError(statement.statement, `the loop variable ${name} is stepped by the loop only`, {
        hint: "Use while with a let of its own.",
      });
    }
    let test: boolean | Expr = true;
    let next: Expr = induction;
    const ahead = this.#inBlock(() => {
      test = this.#condition(condition, scope);
      next = this.#step(incrementor, name, induction, scope);
    });
    if (ahead.length > 0) {
      throw syntaxError(condition, "the test and step of a for loop cannot call functions with statements", {
        hint: "Compute the value before the loop.",
      });
    }
    const decided = test as boolean | Expr;
    if (decided === false) return true;
    const body = this.#inBlock(() => {
      this.#inLoop("loop", () => this.#nested(statement.statement, scope));
    });
    this.#emit({
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

  #forStart(initializer: ts.Expression, annotation: Annotation | undefined, scope: Scope): Expr {
    const binding = this.#evaluate(initializer, scope);
    const wanted =
      annotation?.kind === "value" ? annotation.type : binding.kind === "value" ? undefined : "i32";
    const start = this.#coerce(binding, initializer, wanted);
    if (start.type !== "i32" && start.type !== "u32") {
      throw typeError(initializer, "a loop variable is i32 or u32", { received: start.type });
    }
    return start;
  }

  /** The value after `i += 4`, `i++` or `i = i + 4`. */
  #step(node: ts.Expression, name: string, induction: Expr, scope: Scope): Expr {
    const { SyntaxKind } = this.#ts;
    const isVariable = (target: ts.Expression) => this.#ts.isIdentifier(target) && target.text === name;
    const type = induction.type as ValueType;
    if (this.#ts.isPostfixUnaryExpression(node) || this.#ts.isPrefixUnaryExpression(node)) {
      if (isVariable(node.operand)) {
        const operator = node.operator === SyntaxKind.PlusPlusToken ? "add" : "sub";
        return this.#binary(node, operator, induction, numberLiteral(type, 1)!);
      }
    } else if (this.#ts.isBinaryExpression(node) && isVariable(node.left)) {
      const operator = node.operatorToken.getText();
      if (operator === "=") return this.#expression(node.right, scope, type);
      const compound = binaryOperators[operator.slice(0, -1)];
      if (compound !== undefined && operator.endsWith("=")) {
        return this.#binary(node, compound, induction, this.#expression(node.right, scope, type));
      }
    }
    throw syntaxError(node, `the step of this loop must change ${name}`, { expected: `${name} += 1` });
  }

  /** `for (const r of unroll(n))`. */
  #unroll(statement: ts.ForOfStatement, scope: Scope): boolean {
    const { initializer, expression } = statement;
    const name =
      this.#ts.isVariableDeclarationList(initializer) &&
      initializer.declarations[0] !== undefined &&
      this.#ts.isIdentifier(initializer.declarations[0].name)
        ? initializer.declarations[0].name.text
        : undefined;
    if (name === undefined || !this.#isCallOf(expression, "unroll", scope)) {
      throw syntaxError(statement, "for…of is for unrolling only", {
        expected: "for (const i of unroll(4))",
      });
    }
    const countNode = expression.arguments[0];
    if (countNode === undefined) throw syntaxError(expression, "unroll takes a count");
    const count = this.#count(countNode, scope);
    for (let i = 0; i < count; i++) {
      const inner = scope.child();
      inner.bind(name, constantOf(i));
      if (!this.#inLoop("unrolled", () => this.#nested(statement.statement, inner))) return false;
    }
    return true;
  }

  /** A `switch` on a constant: only the clause it selects is lowered. */
  #switch(statement: ts.SwitchStatement, scope: Scope): boolean {
    const subject = this.#evaluate(statement.expression, scope);
    if (subject.kind !== "constant") {
      throw syntaxError(statement, "switch works on compile-time constants; use if for values");
    }
    const { clauses } = statement.caseBlock;
    const matches = (clause: ts.CaseOrDefaultClause): boolean => {
      if (this.#ts.isDefaultClause(clause)) return false;
      const label = this.#evaluate(clause.expression, scope);
      return label.kind === "constant" && label.value === subject.value;
    };
    let start = clauses.findIndex(matches);
    if (start < 0) start = clauses.findIndex((clause) => this.#ts.isDefaultClause(clause));
    if (start < 0) return true;
    const inner = scope.child();
    for (const clause of clauses.slice(start)) {
      const body = clause.statements.flatMap((s) => (this.#ts.isBlock(s) ? [...s.statements] : [s]));
      for (const clauseStatement of body) {
        if (this.#ts.isBreakStatement(clauseStatement)) return true;
        if (!this.#inLoop("switch", () => this.#statement(clauseStatement, inner))) return false;
      }
    }
    return true;
  }

  #expressionStatement(node: ts.Expression, scope: Scope): void {
    const ts = this.#ts;
    if (ts.isParenthesizedExpression(node)) {
      this.#expressionStatement(node.expression, scope);
      return;
    }
    if (ts.isBinaryExpression(node)) {
      const operator = node.operatorToken.getText();
      if (operator === "=") {
        this.#assign(node.left, scope, (type) => this.#expression(node.right, scope, type));
        return;
      }
      const compound = binaryOperators[operator.slice(0, -1)];
      if (operator.endsWith("=") && compound !== undefined && compareOperators[operator] === undefined) {
        this.#assign(node.left, scope, (type, current) => {
          return this.#binary(node, compound, current(), this.#expression(node.right, scope, type));
        });
        return;
      }
    }
    if (ts.isPostfixUnaryExpression(node) || ts.isPrefixUnaryExpression(node)) {
      const { PlusPlusToken, MinusMinusToken } = ts.SyntaxKind;
      if (node.operator === PlusPlusToken || node.operator === MinusMinusToken) {
        const operator = node.operator === PlusPlusToken ? "add" : "sub";
        this.#assign(node.operand, scope, (type, current) => {
          const one = numberLiteral(type, 1);
          if (one === undefined) throw typeError(node, "only numbers can be stepped", { received: type });
          return this.#binary(node, operator, current(), one);
        });
        return;
      }
    }
    if (!ts.isCallExpression(node)) throw syntaxError(node, "this expression has no effect");
    this.#call(node, scope, undefined);
  }

  /** Assigns to a local, a register or a buffer element; `value` gets the type and how to read the target. */
  #assign(target: ts.Expression, scope: Scope, value: (type: ValueType, current: () => Expr) => Expr): void {
    const place = this.#strip(target);
    if (this.#ts.isElementAccessExpression(place)) {
      const base = this.#evaluate(place.expression, scope);
      if (base.kind === "buffer") {
        let index = this.#expression(place.argumentExpression, scope, "i32");
        const type = loadedType(base.element);
        const before = this.#block.length;
        const stored = value(type, () => {
          if (index.kind !== "ref" && index.kind !== "literal") index = this.#spill("index", index);
          return { kind: "load", type, buffer: base.name, index };
        });
        index = this.#keepOrder(index, before, "index");
        this.#emit({ kind: "store", buffer: base.name, index, value: stored });
        return;
      }
    }
    const binding = this.#evaluate(place, scope);
    if (binding.kind !== "value" || !binding.assignable || binding.expression.kind !== "ref") {
      throw syntaxError(target, "only let variables, registers and buffer elements can be assigned");
    }
    const { expression } = binding;
    this.#emit({ kind: "assign", name: expression.name, value: value(expression.type, () => expression) });
  }

  // Expressions

  /** Removes parentheses, `!`, `as` and `satisfies`, which say nothing at run time. */
  #strip(node: ts.Expression): ts.Expression {
    const ts = this.#ts;
    while (
      ts.isParenthesizedExpression(node) ||
      ts.isNonNullExpression(node) ||
      ts.isAsExpression(node) ||
      ts.isSatisfiesExpression(node)
    ) {
      node = node.expression;
    }
    return node;
  }

  /** A run-time value; a constant takes the type wanted. */
  #expression(node: ts.Expression, scope: Scope, wanted?: ValueType): Expr {
    return this.#coerce(this.#evaluate(node, scope, wanted), node, wanted);
  }

  #coerce(binding: Binding, node: ts.Node, wanted: ValueType | undefined): Expr {
    if (binding.kind === "value") {
      const { expression } = binding;
      if (wanted !== undefined && expression.type !== wanted) {
        throw typeError(node, "the types differ", { expected: wanted, received: expression.type });
      }
      return expression;
    }
    if (binding.kind === "constant") {
      const { value } = binding;
      if (typeof value === "boolean" && (wanted === undefined || wanted === "bool")) {
        return { kind: "literal", type: "bool", value };
      }
      if (typeof value === "number") {
        if (wanted === undefined) {
          throw typeError(node, "the type of this number is not known here", {
            hint: "Declare it with a type first: const x: i32 = …",
          });
        }
        const literal = numberLiteral(wanted, value);
        if (literal !== undefined) return literal;
      }
    }
    throw typeError(node, "this cannot be used as a run-time value here", {
      expected: wanted ?? "a value",
      received: describe(binding),
    });
  }

  #lookup(name: string, scope: Scope): Binding | undefined {
    return scope.find(name) ?? this.#moduleBinding(name, scope.module);
  }

  #moduleBinding(name: string, module: SourceModule): Binding | undefined {
    const declared = module.functions.get(name);
    if (declared !== undefined) return { kind: "function", node: declared, name, module, scope: undefined };
    const constant = module.constants.get(name);
    if (constant !== undefined) return this.#evaluate(constant, new Scope(module));
    const imported = module.imports.get(name);
    if (imported === undefined) return undefined;
    if (imported.kind === "intrinsic") return imported;
    return this.#moduleBinding(imported.name, imported.module);
  }

  #evaluate(original: ts.Expression, scope: Scope, wanted?: ValueType): Binding {
    const ts = this.#ts;
    const node = this.#strip(original);
    if (ts.isNumericLiteral(node)) return constantOf(Number(node.text.replaceAll("_", "")));
    if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node)) return constantOf(node.text);
    if (node.kind === ts.SyntaxKind.TrueKeyword) return constantOf(true);
    if (node.kind === ts.SyntaxKind.FalseKeyword) return constantOf(false);
    if (ts.isIdentifier(node)) return this.#identifier(node, scope);
    if (ts.isPropertyAccessExpression(node)) return this.#property(node, scope);
    if (ts.isElementAccessExpression(node)) return this.#element(node, scope);
    if (ts.isBinaryExpression(node)) return this.#binaryExpression(node, scope, wanted);
    if (ts.isPrefixUnaryExpression(node)) return this.#prefix(node, scope, wanted);
    if (ts.isConditionalExpression(node)) return this.#conditional(node, scope, wanted);
    if (ts.isCallExpression(node)) {
      const result = this.#call(node, scope, wanted);
      if (result === undefined) throw typeError(node, "this call returns nothing");
      return result;
    }
    if (ts.isArrowFunction(node) || ts.isFunctionExpression(node)) {
      return { kind: "function", node, name: "inner", module: scope.module, scope };
    }
    if (ts.isObjectLiteralExpression(node)) return this.#record(node, scope);
    if (ts.isArrayLiteralExpression(node)) {
      return { kind: "list", elements: node.elements.map((e) => this.#freeze(this.#evaluate(e, scope))) };
    }
    throw syntaxError(node, "this expression is not part of the kernel language", {
      received: ts.SyntaxKind[node.kind] ?? "",
    });
  }

  #identifier(node: ts.Identifier, scope: Scope): Binding {
    const binding = this.#lookup(node.text, scope);
    if (binding !== undefined) return binding;
    if (node.text === "undefined") return constantOf(undefined);
    if (node.text === "Infinity") return constantOf(Number.POSITIVE_INFINITY);
    if (node.text === "NaN") return constantOf(Number.NaN);
    throw syntaxError(node, `${node.text} is not known in this kernel`);
  }

  #property(node: ts.PropertyAccessExpression, scope: Scope): Binding {
    const field = node.name.text;
    const base = this.#evaluate(node.expression, scope);
    // An option that was not given is undefined, as in TypeScript.
    if (base.kind === "record") return base.fields.get(field) ?? constantOf(undefined);
    if (base.kind === "intrinsic") {
      const name = `${base.name}.${field}`;
      if (intrinsics.has(name)) return { kind: "intrinsic", name };
      throw syntaxError(node, `there is no intrinsic ${name}`);
    }
    throw typeError(node, "only compile-time records have fields", { received: describe(base) });
  }

  #element(node: ts.ElementAccessExpression, scope: Scope): Binding {
    const base = this.#evaluate(node.expression, scope);
    if (base.kind === "buffer") {
      const index = this.#expression(node.argumentExpression, scope, "i32");
      return runtime({ kind: "load", type: loadedType(base.element), buffer: base.name, index });
    }
    if (base.kind === "list") {
      const index = this.#count(node.argumentExpression, scope);
      const element = base.elements[index];
      if (element === undefined) {
        throw typeError(node, "the index is out of range", {
          expected: `0..${base.elements.length - 1}`,
          received: `${index}`,
        });
      }
      return element;
    }
    throw typeError(node, "only buffers and registers are indexed", { received: describe(base) });
  }

  #record(node: ts.ObjectLiteralExpression, scope: Scope): Binding {
    const fields = new Map<string, Binding>();
    for (const property of node.properties) {
      if (this.#ts.isSpreadAssignment(property)) {
        const spread = this.#evaluate(property.expression, scope);
        if (spread.kind !== "record") throw typeError(property, "only a record can be spread");
        for (const [name, field] of spread.fields) fields.set(name, field);
      } else if (this.#ts.isPropertyAssignment(property) && this.#ts.isIdentifier(property.name)) {
        fields.set(property.name.text, this.#freeze(this.#evaluate(property.initializer, scope)));
      } else if (this.#ts.isShorthandPropertyAssignment(property)) {
        fields.set(property.name.text, this.#freeze(this.#identifier(property.name, scope)));
      } else {
        throw syntaxError(property, "a compile-time record holds plain fields");
      }
    }
    return { kind: "record", fields };
  }

  /**
   * If lowering something after `earlier` added statements with effects, `earlier` must be computed before
   * them: it moves to a local at `position` of the block.
   */
  #keepOrder(earlier: Expr, position: number, name: string): Expr {
    const hasEffect = (statement: Stmt) =>
      statement.kind !== "let" || (statement.value !== undefined && !isPure(statement.value));
    if (this.#isStable(earlier) || !this.#block.slice(position).some(hasEffect)) return earlier;
    const type = earlier.type as ValueType;
    const unique = this.fresh(name);
    this.#block.splice(position, 0, { kind: "let", name: unique, type, value: earlier, mutable: false });
    return { kind: "ref", type, name: unique };
  }

  /** Evaluates nodes left to right, keeping that order at run time. */
  #sequence(nodes: readonly (() => Binding)[]): Binding[] {
    const results: Binding[] = [];
    for (const evaluate of nodes) {
      const before = this.#block.length;
      const binding = evaluate();
      let position = before;
      for (let i = 0; i < results.length; i++) {
        const earlier = results[i]!;
        if (earlier.kind !== "value") continue;
        const kept = this.#keepOrder(earlier.expression, position, "value");
        if (kept !== earlier.expression) {
          results[i] = runtime(kept);
          position++;
        }
      }
      results.push(binding);
    }
    return results;
  }

  #binaryExpression(node: ts.BinaryExpression, scope: Scope, wanted: ValueType | undefined): Binding {
    const operator = node.operatorToken.getText();
    if (operator === "&&" || operator === "||") return this.#logical(node, operator, scope);
    const comparison = compareOperators[operator];
    const arithmetic = binaryOperators[operator];
    if (comparison === undefined && arithmetic === undefined && operator !== "**") {
      const reason =
        operator === "==" || operator === "!="
          ? `write ${operator}= for comparisons`
          : `${operator} is not accepted here`;
      throw syntaxError(node, reason);
    }
    const inner = comparison === undefined ? wanted : undefined;
    const [left, right] = this.#sequence([
      () => this.#evaluate(node.left, scope, inner),
      () => this.#evaluate(node.right, scope, inner),
    ]) as [Binding, Binding];
    if (left.kind === "constant" && right.kind === "constant") {
      return constantOf(constantBinary(node, operator, left.value, right.value));
    }
    if (comparison !== undefined && (isCompileTime(left) || isCompileTime(right))) {
      return constantOf(this.#compareCompileTime(node, operator, left, right));
    }
    const leftType = left.kind === "value" ? (left.expression.type as ValueType) : undefined;
    const rightType = right.kind === "value" ? (right.expression.type as ValueType) : undefined;
    const a = this.#coerce(left, node.left, leftType ?? rightType);
    const b = this.#coerce(right, node.right, rightType ?? leftType);
    if (comparison !== undefined) return runtime(this.#compare(node, comparison, a, b));
    if (arithmetic === undefined) throw typeError(node, "** works on compile-time constants only");
    return runtime(this.#binary(node, arithmetic, a, b));
  }

  /** `options.epilogue === undefined`. */
  #compareCompileTime(node: ts.Node, operator: string, left: Binding, right: Binding): boolean {
    const isUndefined = (binding: Binding) => binding.kind === "constant" && binding.value === undefined;
    if ((operator === "===" || operator === "!==") && (isUndefined(left) || isUndefined(right))) {
      return (isUndefined(left) && isUndefined(right)) === (operator === "===");
    }
    throw typeError(node, "these cannot be compared", {
      received: `${describe(left)} and ${describe(right)}`,
    });
  }

  #binary(node: ts.Node, operator: BinaryOperator, left: Expr, right: Expr): Expr {
    const shift = operator === "shl" || operator === "shr" || operator === "shr_logical";
    if (shift && left.type !== right.type && isWord(left.type) && isWord(right.type)) {
      return this.#binary(node, operator, left, {
        kind: "convert",
        type: left.type as NumericType,
        operand: right,
      });
    }
    if (left.type !== right.type) {
      throw typeError(node, "the two sides have different types", {
        received: `${left.type} and ${right.type}`,
        hint: "Convert one with convert.*.",
      });
    }
    const type = left.type as ValueType;
    const isInteger = type === "i32" || type === "u32" || type === "i64";
    const isFloat = type === "f32" || type === "f64";
    const floatOperator =
      operator === "add" || operator === "sub" || operator === "mul" || operator === "div";
    if (!isInteger && !(isFloat && floatOperator)) {
      throw typeError(node, `${operator} does not take ${type}`, {
        hint:
          type === "v128"
            ? "Lanes are combined with intrinsics such as i32x4.add."
            : "Convert with convert.*.",
      });
    }
    return foldBinary(operator, type, left, right) ?? { kind: "binary", type, operator, left, right };
  }

  #compare(node: ts.Node, operator: CompareOperator, left: Expr, right: Expr): Expr {
    if (left.type !== right.type || left.type === "v128") {
      throw typeError(node, "only values of one scalar type compare", {
        received: `${left.type} and ${right.type}`,
      });
    }
    if (left.type === "bool" && operator !== "eq" && operator !== "ne") {
      throw typeError(node, "booleans have no order");
    }
    if (left.kind === "literal" && right.kind === "literal" && typeof left.value === typeof right.value) {
      return { kind: "literal", type: "bool", value: compareConstants(operator, left.value, right.value) };
    }
    return { kind: "compare", type: "bool", operator, left, right };
  }

  #logical(node: ts.BinaryExpression, operator: "&&" | "||", scope: Scope): Binding {
    const left = this.#condition(node.left, scope);
    const decides = operator === "||";
    if (typeof left === "boolean") {
      return left === decides ? constantOf(decides) : this.#conditionBinding(node.right, scope);
    }
    let right: boolean | Expr = false;
    const ahead = this.#inBlock(() => {
      right = this.#condition(node.right, scope);
    });
    const other = right as boolean | Expr;
    if (ahead.length === 0) {
      if (other === !decides) return runtime(left);
      if (typeof other === "boolean") return constantOf(decides);
      const name = decides ? "logical_or" : "logical_and";
      return runtime({ kind: "binary", type: "bool", operator: name, left, right: other });
    }
    const result = this.#spill("condition", left, true) as Expr & { kind: "ref" };
    const value: Expr = typeof other === "boolean" ? { kind: "literal", type: "bool", value: other } : other;
    const undecided: Expr = decides
      ? { kind: "unary", type: "bool", operator: "not", operand: result }
      : result;
    this.#emit({
      kind: "if",
      condition: undecided,
      ifTrue: [...ahead, { kind: "assign", name: result.name, value }],
      ifFalse: [],
    });
    return runtime(result);
  }

  #conditionBinding(node: ts.Expression, scope: Scope): Binding {
    const condition = this.#condition(node, scope);
    return typeof condition === "boolean" ? constantOf(condition) : runtime(condition);
  }

  #prefix(node: ts.PrefixUnaryExpression, scope: Scope, wanted: ValueType | undefined): Binding {
    const { SyntaxKind } = this.#ts;
    if (node.operator === SyntaxKind.ExclamationToken) {
      const condition = this.#condition(node.operand, scope);
      if (typeof condition === "boolean") return constantOf(!condition);
      return runtime({ kind: "unary", type: "bool", operator: "not", operand: condition });
    }
    const negate = node.operator === SyntaxKind.MinusToken;
    const complement = node.operator === SyntaxKind.TildeToken;
    if (!negate && !complement) {
      throw syntaxError(node, "this operator is not accepted inside an expression", {
        hint: "Step variables in a statement of their own.",
      });
    }
    const binding = this.#evaluate(node.operand, scope, wanted);
    if (binding.kind === "constant" && typeof binding.value === "number") {
      return constantOf(negate ? -binding.value : ~binding.value);
    }
    const operand = this.#coerce(binding, node.operand, undefined);
    const { type } = operand;
    if (
      type === "bool" ||
      type === "v128" ||
      type === "void" ||
      (complement && (type === "f32" || type === "f64"))
    ) {
      throw typeError(node, `${negate ? "-" : "~"} does not take ${type}`);
    }
    const value = literalNumber(operand);
    if (value !== undefined) {
      const isFloat = type === "f32" || type === "f64";
      return runtime(numberLiteral(type, isFloat ? -value : negate ? -value | 0 : ~value)!);
    }
    return runtime({ kind: "unary", type, operator: negate ? "neg" : "complement", operand });
  }

  #conditional(node: ts.ConditionalExpression, scope: Scope, wanted: ValueType | undefined): Binding {
    const condition = this.#condition(node.condition, scope);
    if (typeof condition === "boolean") {
      return this.#evaluate(condition ? node.whenTrue : node.whenFalse, scope, wanted);
    }
    let sides: [Binding, Binding] | undefined;
    let falseAhead: Stmt[] = [];
    const trueAhead = this.#inBlock(() => {
      const left = this.#evaluate(node.whenTrue, scope, wanted);
      let right: Binding | undefined;
      falseAhead = this.#inBlock(() => {
        right = this.#evaluate(node.whenFalse, scope, wanted);
      });
      sides = [left, right!];
    });
    const [left, right] = sides!;
    const type =
      (left.kind === "value" ? (left.expression.type as ValueType) : undefined) ??
      (right.kind === "value" ? (right.expression.type as ValueType) : wanted);
    const ifTrue = this.#coerce(left, node.whenTrue, type);
    const ifFalse = this.#coerce(right, node.whenFalse, type);
    const known = ifTrue.type as ValueType;
    if (trueAhead.length === 0 && falseAhead.length === 0) {
      return runtime({ kind: "conditional", type: known, condition, ifTrue, ifFalse });
    }
    const name = this.fresh("chosen");
    this.#emit({ kind: "let", name, type: known, mutable: true });
    this.#emit({
      kind: "if",
      condition,
      ifTrue: [...trueAhead, { kind: "assign", name, value: ifTrue }],
      ifFalse: [...falseAhead, { kind: "assign", name, value: ifFalse }],
    });
    return runtime({ kind: "ref", type: known, name });
  }

  // Calls

  /** The value of a call, or undefined if it returns nothing (then its statement is already emitted). */
  #call(node: ts.CallExpression, scope: Scope, wanted: ValueType | undefined): Binding | undefined {
    const callee = this.#strip(node.expression);
    if (
      this.#ts.isPropertyAccessExpression(callee) &&
      this.#ts.isIdentifier(callee.expression) &&
      callee.expression.text === "Math" &&
      this.#lookup("Math", scope) === undefined
    ) {
      const values = node.arguments.map((argument) => {
        const binding = this.#evaluate(argument, scope);
        return binding.kind === "constant" ? binding.value : "not a constant";
      });
      return constantOf(constantMath(node, callee.name.text, values));
    }
    const binding = this.#evaluate(callee, scope);
    switch (binding.kind) {
      case "intrinsic":
        return this.#intrinsic(node, binding.name, scope, wanted);
      case "inline":
        return this.#callInline(node, binding, scope);
      case "function":
        return this.#callFunction(node, binding, scope);
      default:
        throw typeError(node, "this is not a function", { received: describe(binding) });
    }
  }

  #intrinsic(
    node: ts.CallExpression,
    name: string,
    scope: Scope,
    wanted: ValueType | undefined,
  ): Binding | undefined {
    if (name === "select") return this.#select(node, scope, wanted);
    const entry = intrinsics.get(name);
    if (entry === undefined) {
      const reason =
        name === "registers"
          ? "registers(…) initialises a const of its own"
          : name === "unroll"
            ? "unroll(…) belongs in for (const i of unroll(…))"
            : intrinsicNamespaces.has(name)
              ? `${name} is a type or a namespace, not a function`
              : `there is no intrinsic ${name}`;
      throw syntaxError(node, reason);
    }
    const { immediates } = entry;
    const bufferCount = entry.memory ? 1 : 0;
    const expected = bufferCount + entry.parameters.length + immediates.count;
    if (node.arguments.length !== expected) {
      throw typeError(node, `${name} takes ${expected} arguments`, { received: `${node.arguments.length}` });
    }
    const isImmediate = (i: number) => i >= immediates.start && i < immediates.start + immediates.count;
    const values = node.arguments.filter((_, i) => !isImmediate(i)).slice(bufferCount);
    const constants = node.arguments.filter((_, i) => isImmediate(i));
    const buffer = entry.memory ? this.#bufferArgument(node.arguments[0]!, scope) : undefined;
    const args = this.#sequence(
      values.map((argument, i) => () => runtime(this.#expression(argument, scope, entry.parameters[i]!))),
    ).map((binding) => (binding as ValueBinding).expression);
    if (entry.conversion) return runtime(this.#convert(entry, args[0]!));
    const expression: Expr = {
      kind: "intrinsic",
      type: entry.result,
      name,
      ...(buffer === undefined ? {} : { buffer: buffer.name }),
      args,
      immediates: constants.map((argument) => {
        const value = this.#count(argument, scope);
        if (value < immediates.below) return value;
        throw typeError(argument, `${name} takes constants below ${immediates.below}`, {
          received: `${value}`,
        });
      }),
    };
    if (entry.result !== "void") return runtime(expression);
    this.#emit({ kind: "expr", expression });
    return undefined;
  }

  #convert(entry: Intrinsic, operand: Expr): Expr {
    const type = entry.result as NumericType;
    return foldConvert(type, operand) ?? { kind: "convert", type, operand };
  }

  #bufferArgument(node: ts.Expression, scope: Scope): Extract<Binding, { kind: "buffer" }> {
    const binding = this.#evaluate(node, scope);
    if (binding.kind !== "buffer")
      throw typeError(node, "this must be a buffer", { received: describe(binding) });
    return binding;
  }

  #select(node: ts.CallExpression, scope: Scope, wanted: ValueType | undefined): Binding {
    const [test, yes, no] = node.arguments;
    if (test === undefined || yes === undefined || no === undefined || node.arguments.length !== 3) {
      throw typeError(node, "select takes a condition and two values");
    }
    const [condition, left, right] = this.#sequence([
      () => this.#conditionBinding(test, scope),
      () => this.#evaluate(yes, scope, wanted),
      () => this.#evaluate(no, scope, wanted),
    ]) as [Binding, Binding, Binding];
    if (condition.kind === "constant") return condition.value === true ? left : right;
    const type =
      (left.kind === "value" ? (left.expression.type as ValueType) : undefined) ??
      (right.kind === "value" ? (right.expression.type as ValueType) : wanted);
    const ifTrue = this.#coerce(left, yes, type);
    const ifFalse = this.#coerce(right, no, type);
    const test_ = (condition as ValueBinding).expression;
    return runtime({ kind: "select", type: ifTrue.type as ValueType, condition: test_, ifTrue, ifFalse });
  }

  #callInline(node: ts.CallExpression, binding: Extract<Binding, { kind: "inline" }>, scope: Scope): Binding {
    const { inline, names } = binding;
    if (node.arguments.length !== inline.parameters.length) {
      throw typeError(node, `this option function takes ${inline.parameters.length} arguments`, {
        received: `${node.arguments.length}`,
      });
    }
    const args = this.#sequence(
      node.arguments.map(
        (argument, i) => () => runtime(this.#expression(argument, scope, inline.parameters[i]!.type)),
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
      values.set(parameter.name, this.#isStable(argument) ? argument : this.#spill(parameter.name, argument));
    });
    const renaming: Renaming = { values, buffers, fresh: (name) => this.fresh(name) };
    for (const statement of copyStatements(inline.body, renaming)) this.#emit(statement);
    return runtime(copyExpression(inline.result, renaming));
  }

  #callFunction(node: ts.CallExpression, callee: FunctionBinding, scope: Scope): Binding | undefined {
    const annotations = callee.node.parameters.map((parameter) =>
      parameter.type === undefined ? { kind: "static" as const } : this.#annotation(parameter.type),
    );
    const compileTime = annotations.some((annotation) => annotation.kind === "static");
    const pasted = callee.scope !== undefined || compileTime || isStraightLine(this.#ts, callee.node);
    const required = callee.node.parameters.filter(
      (p) => p.initializer === undefined && !p.questionToken,
    ).length;
    if (node.arguments.length < required || node.arguments.length > callee.node.parameters.length) {
      throw typeError(node, `${callee.name} takes ${callee.node.parameters.length} arguments`, {
        received: `${node.arguments.length}`,
      });
    }
    const args = this.#sequence(
      node.arguments.map((argument, i) => () => {
        const annotation = annotations[i]!;
        return annotation.kind === "value"
          ? runtime(this.#expression(argument, scope, annotation.type))
          : this.#evaluate(argument, scope);
      }),
    );
    return pasted
      ? this.#paste(node, callee, annotations, args)
      : this.#callHelper(node, callee, annotations, args);
  }

  #parameterName(parameter: ts.ParameterDeclaration): string {
    if (this.#ts.isIdentifier(parameter.name) && !parameter.dotDotDotToken) return parameter.name.text;
    throw syntaxError(parameter, "a parameter of a kernel function is a plain name");
  }

  /** Lowers the callee's body here, with its parameters bound to the arguments. */
  #paste(
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
      const name = this.#parameterName(parameter);
      const given = args[i] ?? (parameter.initializer && this.#evaluate(parameter.initializer, scope));
      const bound = this.#argument(node, name, annotations[i]!, given ?? constantOf(undefined), body);
      scope.bind(name, bound);
    });
    const annotation = callee.node.type === undefined ? undefined : this.#annotation(callee.node.type);
    const wanted = annotation?.kind === "value" ? annotation.type : undefined;
    this.#inlining.push(callee.node);
    const result = this.#inLoop("inlined", () =>
      this.#ts.isBlock(body)
        ? this.#tail(body.statements, scope.child(), wanted)
        : this.#pastedExpression(body, scope, wanted),
    );
    this.#inlining.pop();
    if (result === undefined || wanted === undefined) return result;
    return runtime(this.#coerce(result, node, wanted));
  }

  /** `() => v128.store(…)` returns nothing, `() => a + b` a value. */
  #pastedExpression(body: ts.Expression, scope: Scope, wanted: ValueType | undefined): Binding | undefined {
    const stripped = this.#strip(body);
    return this.#ts.isCallExpression(stripped)
      ? this.#call(stripped, scope, wanted)
      : this.#evaluate(body, scope, wanted);
  }

  #argument(node: ts.Node, name: string, annotation: Annotation, given: Binding, body: ts.Node): Binding {
    if (annotation.kind === "buffer") {
      if (given.kind === "buffer" && given.element === annotation.element) return given;
      throw typeError(node, `the argument for ${name} is not the buffer it takes`, {
        expected: `Buffer<${annotation.element}>`,
        received: describe(given),
      });
    }
    if (annotation.kind !== "value") return given;
    const value = this.#coerce(given, node, annotation.type);
    if (isAssigned(this.#ts, body, name)) {
      return { kind: "value", expression: this.#spill(name, value, true), assignable: true };
    }
    // A let that changes later must be read now.
    return runtime(this.#isStable(value) ? value : this.#spill(name, value));
  }

  /** Whether evaluating the expression later gives the same value. */
  #isStable(value: Expr): boolean {
    return value.kind === "literal" || (value.kind === "ref" && !this.#mutable.has(value.name));
  }

  /** A binding that can be kept: what it reads is read now. */
  #freeze(binding: Binding): Binding {
    if (binding.kind !== "value" || this.#isStable(binding.expression)) return binding;
    return runtime(this.#spill("value", binding.expression));
  }

  /** Statements of a pasted body: gives the value of the `return` that control reaches. */
  #tail(
    statements: readonly ts.Statement[],
    scope: Scope,
    wanted: ValueType | undefined,
  ): Binding | undefined {
    const ts = this.#ts;
    for (const [i, statement] of statements.entries()) {
      if (ts.isReturnStatement(statement)) {
        return statement.expression && this.#pastedExpression(statement.expression, scope, wanted);
      }
      if (ts.isIfStatement(statement) && containsReturn(ts, statement)) {
        return this.#tailIf(statement, statements.slice(i + 1), scope, wanted);
      }
      if (ts.isBlock(statement) && containsReturn(ts, statement)) {
        return this.#tail([...statement.statements, ...statements.slice(i + 1)], scope.child(), wanted);
      }
      if (!this.#statement(statement, scope)) return undefined;
    }
    return undefined;
  }

  #tailIf(
    statement: ts.IfStatement,
    rest: readonly ts.Statement[],
    scope: Scope,
    wanted: ValueType | undefined,
  ): Binding | undefined {
    const path = (branch: ts.Statement | undefined): Binding | undefined => {
      const own = branch === undefined ? [] : this.#ts.isBlock(branch) ? branch.statements : [branch];
      return this.#tail([...own, ...rest], scope.child(), wanted);
    };
    const condition = this.#condition(statement.expression, scope);
    if (typeof condition === "boolean")
      return path(condition ? statement.thenStatement : statement.elseStatement);
    const result = wanted === undefined ? undefined : this.fresh("result");
    if (result !== undefined) this.#emit({ kind: "let", name: result, type: wanted!, mutable: true });
    const side = (branch: ts.Statement | undefined): Stmt[] =>
      this.#inBlock(() => {
        const value = path(branch);
        if (result !== undefined && value !== undefined) {
          this.#emit({ kind: "assign", name: result, value: this.#coerce(value, statement, wanted) });
        } else if (value !== undefined || result !== undefined) {
          throw typeError(statement, "every path of this function returns a value of its annotated type", {
            hint: "Annotate the return type, and return at the end.",
          });
        }
      });
    const ifTrue = side(statement.thenStatement);
    const ifFalse = side(statement.elseStatement);
    this.#emit({ kind: "if", condition, ifTrue, ifFalse });
    return result === undefined ? undefined : runtime({ kind: "ref", type: wanted!, name: result });
  }

  #callHelper(
    node: ts.CallExpression,
    callee: FunctionBinding,
    annotations: readonly Annotation[],
    given: readonly Binding[],
  ): Binding | undefined {
    const helper =
      this.#helpers.get(callee.node) ??
      this.#helpers.define(callee.node, () => lowerHelper(this.#ts, this.#helpers, callee, annotations));
    const args = given.map((binding, i): CallArgument => {
      const annotation = annotations[i]!;
      if (annotation.kind === "value") return this.#coerce(binding, node.arguments[i]!, annotation.type);
      const bound = this.#argument(node, helper.parameters[i]!.name, annotation, binding, node);
      return { kind: "buffer", name: (bound as Extract<Binding, { kind: "buffer" }>).name };
    });
    const expression: Expr = { kind: "call", type: helper.result ?? "void", callee: helper.name, args };
    if (helper.result !== undefined) return runtime(this.#spill(callee.name, expression));
    this.#emit({ kind: "expr", expression });
    return undefined;
  }
}

/** A helper with loops or branches, as a function `file_name` of the output. */
function lowerHelper(
  typescript: typeof ts,
  helpers: HelperSet,
  callee: FunctionBinding,
  annotations: readonly Annotation[],
): KernelFunction {
  const lowerer = new Lowerer(typescript, helpers);
  const scope = new Scope(callee.module);
  const parameters = callee.node.parameters.map((node, i) =>
    bindParameter(typescript, lowerer, scope, node, annotations[i]!, callee.node),
  );
  return lowerer.lowerFunction(
    callee.node,
    `${callee.module.name}_${callee.name}`,
    scope,
    parameters,
    docOf(typescript, callee.node),
  );
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
  scope.bind(source, runtime({ kind: "ref", type: annotation.type, name }));
  return { kind: "scalar", name, type: annotation.type };
}

/** The first line of a function's doc comment. */
export function docOf(typescript: typeof ts, node: KernelFunctionNode): string | undefined {
  const comment = typescript.getJSDocCommentsAndTags(node)[0];
  const text = comment === undefined ? undefined : typescript.getTextOfJSDocComment(comment.comment);
  return text?.split("\n")[0]?.trim() || undefined;
}

function literalNumber(expression: Expr): number | undefined {
  return expression.kind === "literal" && typeof expression.value === "number" ? expression.value : undefined;
}
function constantNumber(binding: Binding): number | undefined {
  return binding.kind === "constant" && typeof binding.value === "number" ? binding.value : undefined;
}
function isWord(type: Expr["type"]): boolean {
  return type === "i32" || type === "u32";
}
function isCompileTime(binding: Binding): boolean {
  return binding.kind !== "value" && binding.kind !== "constant";
}
