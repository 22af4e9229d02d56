import { intrinsics } from "./intrinsic-table.ts";
import type { Access, Expr, KernelFunction, Stmt } from "./ir.ts";

/** How a body uses a buffer; helpers it calls must be among `helpers`. A buffer it never touches is read. */
export function bufferAccess(
  body: readonly Stmt[],
  buffer: string,
  helpers: readonly KernelFunction[],
): Access {
  let reads = false;
  let writes = false;

  const expression = (e: Expr): void => {
    switch (e.kind) {
      case "literal":
      case "ref":
        return;
      case "binary":
      case "compare":
        expression(e.left);
        expression(e.right);
        return;
      case "unary":
      case "convert":
        expression(e.operand);
        return;
      case "select":
      case "conditional":
        expression(e.condition);
        expression(e.ifTrue);
        expression(e.ifFalse);
        return;
      case "load":
        reads ||= e.buffer === buffer;
        expression(e.index);
        return;
      case "intrinsic":
        if (e.buffer === buffer) {
          if (intrinsics.get(e.name)?.result === "void") writes = true;
          else reads = true;
        }
        e.args.forEach(expression);
        return;
      case "call": {
        const callee = helpers.find((helper) => helper.name === e.callee);
        e.args.forEach((argument, i) => {
          if (argument.kind !== "buffer") {
            expression(argument);
            return;
          }
          const parameter = callee?.parameters[i];
          if (argument.name !== buffer || parameter?.kind !== "buffer") return;
          reads ||= parameter.access !== "write";
          writes ||= parameter.access !== "read";
        });
      }
    }
  };

  const statement = (s: Stmt): void => {
    switch (s.kind) {
      case "let":
      case "return":
        if (s.value !== undefined) expression(s.value);
        return;
      case "assign":
        expression(s.value);
        return;
      case "store":
        writes ||= s.buffer === buffer;
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
  return writes ? (reads ? "read-write" : "write") : "read";
}
