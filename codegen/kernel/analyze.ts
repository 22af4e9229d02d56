/** Questions about a function's syntax that decide how it is lowered. */
import type { ts } from "ts-morph";
import type { KernelFunctionNode } from "./bindings.ts";

/** Whether some node below (functions inside excluded) satisfies the predicate; the root itself is asked too. */
function some(typescript: typeof ts, root: ts.Node, predicate: (node: ts.Node) => boolean): boolean {
  if (predicate(root)) return true;
  return (
    typescript.forEachChild(
      root,
      (child) => !typescript.isFunctionLike(child) && some(typescript, child, predicate),
    ) ?? false
  );
}

export function containsReturn(typescript: typeof ts, node: ts.Node): boolean {
  return some(typescript, node, (child) => typescript.isReturnStatement(child));
}

/** No loops and no branches, except loops that unroll: such a helper is inlined at its calls. */
export function isStraightLine(typescript: typeof ts, fn: KernelFunctionNode): boolean {
  return (
    fn.body !== undefined &&
    !some(
      typescript,
      fn.body,
      (node) =>
        typescript.isIfStatement(node) ||
        typescript.isForStatement(node) ||
        typescript.isWhileStatement(node) ||
        typescript.isSwitchStatement(node),
    )
  );
}

/** Whether `name` is assigned anywhere in the body, nested functions included. */
export function isAssigned(typescript: typeof ts, body: ts.Node, name: string): boolean {
  const { SyntaxKind } = typescript;
  const isTarget = (node: ts.Node): boolean => typescript.isIdentifier(node) && node.text === name;
  const visit = (node: ts.Node): boolean => {
    if (
      typescript.isBinaryExpression(node) &&
      node.operatorToken.kind >= SyntaxKind.FirstAssignment &&
      node.operatorToken.kind <= SyntaxKind.LastAssignment &&
      isTarget(node.left)
    ) {
      return true;
    }
    if (
      (typescript.isPrefixUnaryExpression(node) || typescript.isPostfixUnaryExpression(node)) &&
      (node.operator === SyntaxKind.PlusPlusToken || node.operator === SyntaxKind.MinusMinusToken) &&
      isTarget(node.operand)
    ) {
      return true;
    }
    return typescript.forEachChild(node, (child) => visit(child)) ?? false;
  };
  return visit(body);
}
