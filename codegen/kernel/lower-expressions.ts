import type { ts } from "ts-morph";
import { type Binding, constantBinding, describe, Scope, valueBinding } from "./bindings.ts";
import { constantBinary } from "./constants.ts";
import { numberLiteral } from "./fold.ts";
import { FunctionBuilder } from "./function-builder.ts";
import { intrinsics } from "./intrinsic-table.ts";
import { type Expr, loadedType, type Stmt, type ValueType } from "./ir.ts";
import type { SourceModule } from "./load.ts";
import { binaryOperation, binaryOperators, compareOperation, compareOperators } from "./operators.ts";
import { syntaxError, typeError } from "./source-error.ts";

/** Expressions: what is known at compile time is a binding without code, the rest becomes IR. */
export abstract class ExpressionLowerer extends FunctionBuilder {
  /** The value of a call, or undefined if it returns nothing (then its statement is already emitted). */
  protected abstract call(
    node: ts.CallExpression,
    scope: Scope,
    wanted: ValueType | undefined,
  ): Binding | undefined;

  /** A run-time value; a constant takes the type wanted. */
  protected expression(node: ts.Expression, scope: Scope, wanted?: ValueType): Expr {
    return this.coerce(this.evaluate(node, scope, wanted), node, wanted);
  }

  protected coerce(binding: Binding, node: ts.Node, wanted: ValueType | undefined): Expr {
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

  protected evaluate(original: ts.Expression, scope: Scope, wanted?: ValueType): Binding {
    const ts = this.ts;
    const node = this.strip(original);
    if (ts.isNumericLiteral(node)) return constantBinding(Number(node.text.replaceAll("_", "")));
    if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node))
      return constantBinding(node.text);
    if (node.kind === ts.SyntaxKind.TrueKeyword) return constantBinding(true);
    if (node.kind === ts.SyntaxKind.FalseKeyword) return constantBinding(false);
    if (ts.isIdentifier(node)) return this.identifier(node, scope);
    if (ts.isPropertyAccessExpression(node)) return this.property(node, scope);
    if (ts.isElementAccessExpression(node)) return this.element(node, scope);
    if (ts.isBinaryExpression(node)) return this.binaryExpression(node, scope, wanted);
    if (ts.isPrefixUnaryExpression(node)) return this.prefix(node, scope, wanted);
    if (ts.isConditionalExpression(node)) return this.conditional(node, scope, wanted);
    if (ts.isCallExpression(node)) {
      const result = this.call(node, scope, wanted);
      if (result === undefined) throw typeError(node, "this call returns nothing");
      return result;
    }
    if (ts.isArrowFunction(node) || ts.isFunctionExpression(node)) {
      return { kind: "function", node, name: "inner", module: scope.module, scope };
    }
    if (ts.isObjectLiteralExpression(node)) return this.record(node, scope);
    if (ts.isArrayLiteralExpression(node)) {
      return { kind: "list", elements: node.elements.map((e) => this.freeze(this.evaluate(e, scope))) };
    }
    throw syntaxError(node, "this expression is not part of the kernel language", {
      received: ts.SyntaxKind[node.kind] ?? "",
    });
  }

  /** A decided condition, or a bool expression. */
  protected condition(node: ts.Expression, scope: Scope): boolean | Expr {
    const binding = this.evaluate(node, scope);
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

  /** A non-negative integer known at compile time. */
  protected count(node: ts.Expression, scope: Scope): number {
    const binding = this.evaluate(node, scope);
    const value = binding.kind === "value" ? literalNumber(binding.expression) : constantNumber(binding);
    if (value === undefined || !Number.isInteger(value) || value < 0) {
      throw typeError(node, "this must be a whole number known at compile time", {
        received: describe(binding),
      });
    }
    return value;
  }

  protected isCallOf(node: ts.Expression, intrinsic: string, scope: Scope): node is ts.CallExpression {
    if (!this.ts.isCallExpression(node) || !this.ts.isIdentifier(node.expression)) return false;
    const callee = this.lookup(node.expression.text, scope);
    return callee?.kind === "intrinsic" && callee.name === intrinsic;
  }

  /** Removes parentheses, `!`, `as` and `satisfies`, which say nothing at run time. */
  protected strip(node: ts.Expression): ts.Expression {
    const ts = this.ts;
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

  protected lookup(name: string, scope: Scope): Binding | undefined {
    return scope.find(name) ?? this.moduleBinding(name, scope.module);
  }

  protected moduleBinding(name: string, module: SourceModule): Binding | undefined {
    const declared = module.functions.get(name);
    if (declared !== undefined) return { kind: "function", node: declared, name, module, scope: undefined };
    const constant = module.constants.get(name);
    if (constant !== undefined) return this.evaluate(constant, new Scope(module));
    const imported = module.imports.get(name);
    if (imported === undefined) return undefined;
    if (imported.kind === "intrinsic") return imported;
    return this.moduleBinding(imported.name, imported.module);
  }

  protected identifier(node: ts.Identifier, scope: Scope): Binding {
    const binding = this.lookup(node.text, scope);
    if (binding !== undefined) return binding;
    if (node.text === "undefined") return constantBinding(undefined);
    if (node.text === "Infinity") return constantBinding(Number.POSITIVE_INFINITY);
    if (node.text === "NaN") return constantBinding(Number.NaN);
    throw syntaxError(node, `${node.text} is not known in this kernel`);
  }

  protected property(node: ts.PropertyAccessExpression, scope: Scope): Binding {
    const field = node.name.text;
    const base = this.evaluate(node.expression, scope);
    // An option that was not given is undefined, as in TypeScript.
    if (base.kind === "record") return base.fields.get(field) ?? constantBinding(undefined);
    if (base.kind === "intrinsic") {
      const name = `${base.name}.${field}`;
      if (intrinsics.has(name)) return { kind: "intrinsic", name };
      throw syntaxError(node, `there is no intrinsic ${name}`);
    }
    if (base.kind === "value" && base.expression.type === "u32x4" && "xyzw".includes(field)) {
      const immediates = ["xyzw".indexOf(field)];
      const args = [base.expression];
      return valueBinding({ kind: "intrinsic", type: "u32", name: "component", args, immediates });
    }
    throw typeError(node, "only compile-time records have fields", { received: describe(base) });
  }

  protected element(node: ts.ElementAccessExpression, scope: Scope): Binding {
    const base = this.evaluate(node.expression, scope);
    if (base.kind === "buffer") {
      const index = this.expression(node.argumentExpression, scope, "i32");
      return valueBinding({ kind: "load", type: loadedType(base.element), buffer: base.name, index });
    }
    if (base.kind === "list") {
      const index = this.count(node.argumentExpression, scope);
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

  protected record(node: ts.ObjectLiteralExpression, scope: Scope): Binding {
    const fields = new Map<string, Binding>();
    for (const property of node.properties) {
      if (this.ts.isSpreadAssignment(property)) {
        const spread = this.evaluate(property.expression, scope);
        if (spread.kind !== "record") throw typeError(property, "only a record can be spread");
        for (const [name, field] of spread.fields) fields.set(name, field);
      } else if (this.ts.isPropertyAssignment(property) && this.ts.isIdentifier(property.name)) {
        fields.set(property.name.text, this.freeze(this.evaluate(property.initializer, scope)));
      } else if (this.ts.isShorthandPropertyAssignment(property)) {
        fields.set(property.name.text, this.freeze(this.identifier(property.name, scope)));
      } else {
        throw syntaxError(property, "a compile-time record holds plain fields");
      }
    }
    return { kind: "record", fields };
  }

  protected binaryExpression(
    node: ts.BinaryExpression,
    scope: Scope,
    wanted: ValueType | undefined,
  ): Binding {
    const operator = node.operatorToken.getText();
    if (operator === "&&" || operator === "||") return this.logical(node, operator, scope);
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
    const [left, right] = this.sequence([
      () => this.evaluate(node.left, scope, inner),
      () => this.evaluate(node.right, scope, inner),
    ]) as [Binding, Binding];
    if (left.kind === "constant" && right.kind === "constant") {
      return constantBinding(constantBinary(node, operator, left.value, right.value));
    }
    if (comparison !== undefined && (isCompileTime(left) || isCompileTime(right))) {
      return constantBinding(this.compareCompileTime(node, operator, left, right));
    }
    const leftType = left.kind === "value" ? (left.expression.type as ValueType) : undefined;
    const rightType = right.kind === "value" ? (right.expression.type as ValueType) : undefined;
    const a = this.coerce(left, node.left, leftType ?? rightType);
    const b = this.coerce(right, node.right, rightType ?? leftType);
    if (comparison !== undefined) return valueBinding(compareOperation(node, comparison, a, b));
    if (arithmetic === undefined) throw typeError(node, "** works on compile-time constants only");
    return valueBinding(binaryOperation(node, arithmetic, a, b));
  }

  /** `options.epilogue === undefined`. */
  protected compareCompileTime(node: ts.Node, operator: string, left: Binding, right: Binding): boolean {
    const isUndefined = (binding: Binding) => binding.kind === "constant" && binding.value === undefined;
    if ((operator === "===" || operator === "!==") && (isUndefined(left) || isUndefined(right))) {
      return (isUndefined(left) && isUndefined(right)) === (operator === "===");
    }
    throw typeError(node, "these cannot be compared", {
      received: `${describe(left)} and ${describe(right)}`,
    });
  }

  protected logical(node: ts.BinaryExpression, operator: "&&" | "||", scope: Scope): Binding {
    const left = this.condition(node.left, scope);
    const decides = operator === "||";
    if (typeof left === "boolean") {
      return left === decides ? constantBinding(decides) : this.conditionBinding(node.right, scope);
    }
    let right: boolean | Expr = false;
    const ahead = this.inBlock(() => {
      right = this.condition(node.right, scope);
    });
    const other = right as boolean | Expr;
    if (ahead.length === 0) {
      if (other === !decides) return valueBinding(left);
      if (typeof other === "boolean") return constantBinding(decides);
      const name = decides ? "logical_or" : "logical_and";
      return valueBinding({ kind: "binary", type: "bool", operator: name, left, right: other });
    }
    const result = this.spill("condition", left, true) as Expr & { kind: "ref" };
    const value: Expr = typeof other === "boolean" ? { kind: "literal", type: "bool", value: other } : other;
    const undecided: Expr = decides
      ? { kind: "unary", type: "bool", operator: "not", operand: result }
      : result;
    this.emit({
      kind: "if",
      condition: undecided,
      ifTrue: [...ahead, { kind: "assign", name: result.name, value }],
      ifFalse: [],
    });
    return valueBinding(result);
  }

  protected conditionBinding(node: ts.Expression, scope: Scope): Binding {
    const condition = this.condition(node, scope);
    return typeof condition === "boolean" ? constantBinding(condition) : valueBinding(condition);
  }

  protected prefix(node: ts.PrefixUnaryExpression, scope: Scope, wanted: ValueType | undefined): Binding {
    const { SyntaxKind } = this.ts;
    if (node.operator === SyntaxKind.ExclamationToken) {
      const condition = this.condition(node.operand, scope);
      if (typeof condition === "boolean") return constantBinding(!condition);
      return valueBinding({ kind: "unary", type: "bool", operator: "not", operand: condition });
    }
    const negate = node.operator === SyntaxKind.MinusToken;
    const complement = node.operator === SyntaxKind.TildeToken;
    if (!negate && !complement) {
      throw syntaxError(node, "this operator is not accepted inside an expression", {
        hint: "Step variables in a statement of their own.",
      });
    }
    const binding = this.evaluate(node.operand, scope, wanted);
    if (binding.kind === "constant" && typeof binding.value === "number") {
      return constantBinding(negate ? -binding.value : ~binding.value);
    }
    const operand = this.coerce(binding, node.operand, undefined);
    const { type } = operand;
    if (
      type === "bool" ||
      type === "v128" ||
      type === "u32x4" ||
      type === "void" ||
      (complement && (type === "f32" || type === "f64"))
    ) {
      throw typeError(node, `${negate ? "-" : "~"} does not take ${type}`);
    }
    const value = literalNumber(operand);
    if (value !== undefined) {
      const isFloat = type === "f32" || type === "f64";
      return valueBinding(numberLiteral(type, isFloat ? -value : negate ? -value | 0 : ~value)!);
    }
    return valueBinding({ kind: "unary", type, operator: negate ? "neg" : "complement", operand });
  }

  protected conditional(
    node: ts.ConditionalExpression,
    scope: Scope,
    wanted: ValueType | undefined,
  ): Binding {
    const condition = this.condition(node.condition, scope);
    if (typeof condition === "boolean") {
      return this.evaluate(condition ? node.whenTrue : node.whenFalse, scope, wanted);
    }
    let sides: [Binding, Binding] | undefined;
    let falseAhead: Stmt[] = [];
    const trueAhead = this.inBlock(() => {
      const left = this.evaluate(node.whenTrue, scope, wanted);
      let right: Binding | undefined;
      falseAhead = this.inBlock(() => {
        right = this.evaluate(node.whenFalse, scope, wanted);
      });
      sides = [left, right!];
    });
    const [left, right] = sides!;
    const type =
      (left.kind === "value" ? (left.expression.type as ValueType) : undefined) ??
      (right.kind === "value" ? (right.expression.type as ValueType) : wanted);
    const ifTrue = this.coerce(left, node.whenTrue, type);
    const ifFalse = this.coerce(right, node.whenFalse, type);
    const known = ifTrue.type as ValueType;
    if (trueAhead.length === 0 && falseAhead.length === 0) {
      return valueBinding({ kind: "conditional", type: known, condition, ifTrue, ifFalse });
    }
    const name = this.fresh("chosen");
    this.emit({ kind: "let", name, type: known, mutable: true });
    this.emit({
      kind: "if",
      condition,
      ifTrue: [...trueAhead, { kind: "assign", name, value: ifTrue }],
      ifFalse: [...falseAhead, { kind: "assign", name, value: ifFalse }],
    });
    return valueBinding({ kind: "ref", type: known, name });
  }
}

function literalNumber(expression: Expr): number | undefined {
  return expression.kind === "literal" && typeof expression.value === "number" ? expression.value : undefined;
}
function constantNumber(binding: Binding): number | undefined {
  return binding.kind === "constant" && typeof binding.value === "number" ? binding.value : undefined;
}
function isCompileTime(binding: Binding): boolean {
  return binding.kind !== "value" && binding.kind !== "constant";
}
