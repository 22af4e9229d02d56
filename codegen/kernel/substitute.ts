import type { Expr, Stmt } from "./ir.ts";
import { mapOperands } from "./walk.ts";

/** How the names of a copied body change. */
export interface Renaming {
  /** Values for parameters and locals. */
  readonly values: Map<string, Expr>;
  readonly buffers: ReadonlyMap<string, string>;
  /** A name nothing else in the target function has. */
  readonly fresh: (name: string) => string;
}

/** Copies statements with every local renamed, so that one inline function can be pasted many times. */
export function copyStatements(statements: readonly Stmt[], renaming: Renaming): Stmt[] {
  return statements.map((statement) => copyStatement(statement, renaming));
}

function declare(name: string, type: Expr["type"], renaming: Renaming): string {
  const fresh = renaming.fresh(name);
  if (type !== "void") renaming.values.set(name, { kind: "ref", type, name: fresh });
  return fresh;
}

function targetName(name: string, renaming: Renaming): string {
  const value = renaming.values.get(name);
  return value?.kind === "ref" ? value.name : name;
}

function copyStatement(statement: Stmt, renaming: Renaming): Stmt {
  const copy = (expression: Expr) => copyExpression(expression, renaming);
  switch (statement.kind) {
    case "let": {
      const value = statement.value === undefined ? {} : { value: copy(statement.value) };
      return { ...statement, ...value, name: declare(statement.name, statement.type, renaming) };
    }
    case "assign":
      return { kind: "assign", name: targetName(statement.name, renaming), value: copy(statement.value) };
    case "store":
      return {
        kind: "store",
        buffer: renaming.buffers.get(statement.buffer) ?? statement.buffer,
        index: copy(statement.index),
        value: copy(statement.value),
      };
    case "if":
      return {
        kind: "if",
        condition: copy(statement.condition),
        ifTrue: copyStatements(statement.ifTrue, renaming),
        ifFalse: copyStatements(statement.ifFalse, renaming),
      };
    case "for": {
      const start = copy(statement.start);
      const variable = declare(statement.variable, statement.type, renaming);
      return {
        ...statement,
        variable,
        start,
        condition: copy(statement.condition),
        next: copy(statement.next),
        body: copyStatements(statement.body, renaming),
      };
    }
    case "while":
      return {
        kind: "while",
        condition: copy(statement.condition),
        body: copyStatements(statement.body, renaming),
      };
    case "expr":
      return { kind: "expr", expression: copy(statement.expression) };
    case "return":
      return statement.value === undefined ? statement : { kind: "return", value: copy(statement.value) };
    case "break":
    case "continue":
      return statement;
  }
}

export function copyExpression(expression: Expr, renaming: Renaming): Expr {
  const buffer = (name: string) => renaming.buffers.get(name) ?? name;
  const copied = mapOperands(expression, (operand) => copyExpression(operand, renaming));
  switch (copied.kind) {
    case "ref":
      return renaming.values.get(copied.name) ?? copied;
    case "load":
      return { ...copied, buffer: buffer(copied.buffer) };
    case "intrinsic":
      return copied.buffer === undefined ? copied : { ...copied, buffer: buffer(copied.buffer) };
    case "call":
      return {
        ...copied,
        args: copied.args.map((argument) =>
          argument.kind === "buffer" ? { ...argument, name: buffer(argument.name) } : argument,
        ),
      };
    default:
      return copied;
  }
}
