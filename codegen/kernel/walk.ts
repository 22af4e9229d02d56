import type { Expr, Stmt } from "./ir.ts";

/** Calls `see` with every statement and every expression of a body, outer ones first. */
export function walk(
  body: readonly Stmt[],
  see: { readonly statement?: (s: Stmt) => void; readonly expression?: (e: Expr) => void },
): void {
  const expression = (e: Expr): void => {
    see.expression?.(e);
    for (const inner of operandsOf(e)) expression(inner);
  };
  const statement = (s: Stmt): void => {
    see.statement?.(s);
    switch (s.kind) {
      case "let":
      case "return":
        if (s.value !== undefined) expression(s.value);
        return;
      case "assign":
        expression(s.value);
        return;
      case "store":
        expression(s.index);
        expression(s.value);
        return;
      case "if":
        expression(s.condition);
        s.ifTrue.forEach(statement);
        s.ifFalse.forEach(statement);
        return;
      case "for":
        expression(s.start);
        expression(s.condition);
        expression(s.next);
        s.body.forEach(statement);
        return;
      case "while":
        expression(s.condition);
        s.body.forEach(statement);
        return;
      case "expr":
        expression(s.expression);
    }
  };
  body.forEach(statement);
}

/** The expressions an expression is made of. */
function operandsOf(e: Expr): readonly Expr[] {
  switch (e.kind) {
    case "literal":
    case "ref":
      return [];
    case "binary":
    case "compare":
      return [e.left, e.right];
    case "unary":
    case "convert":
      return [e.operand];
    case "select":
    case "conditional":
      return [e.condition, e.ifTrue, e.ifFalse];
    case "load":
      return [e.index];
    case "intrinsic":
      return e.args;
    case "call":
      return e.args.filter((argument) => argument.kind !== "buffer");
  }
}

/** The expression with each expression that it is made of changed. */
export function mapOperands(e: Expr, change: (operand: Expr) => Expr): Expr {
  switch (e.kind) {
    case "literal":
    case "ref":
      return e;
    case "binary":
    case "compare":
      return { ...e, left: change(e.left), right: change(e.right) };
    case "unary":
    case "convert":
      return { ...e, operand: change(e.operand) };
    case "select":
    case "conditional":
      return {
        ...e,
        condition: change(e.condition),
        ifTrue: change(e.ifTrue),
        ifFalse: change(e.ifFalse),
      };
    case "load":
      return { ...e, index: change(e.index) };
    case "intrinsic":
      return { ...e, args: e.args.map(change) };
    case "call":
      return {
        ...e,
        args: e.args.map((argument) => (argument.kind === "buffer" ? argument : change(argument))),
      };
  }
}
