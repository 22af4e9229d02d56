import { isPure } from "./fold.ts";
import type { Stmt } from "./ir.ts";
import { walk } from "./walk.ts";

/** The statements without locals that nothing reads. What their values do besides is kept. */
export function withoutDeadLocals(body: readonly Stmt[]): readonly Stmt[] {
  const read = new Set<string>();
  walk(body, {
    expression: (e) => {
      if (e.kind === "ref") read.add(e.name);
    },
  });
  let dropped = false;
  const keep = (statement: Stmt): readonly Stmt[] => {
    switch (statement.kind) {
      case "let":
      case "assign": {
        if (read.has(statement.name)) return [statement];
        dropped = true;
        const { value } = statement;
        return value === undefined || isPure(value) ? [] : [{ kind: "expr", expression: value }];
      }
      case "if":
        return [
          { ...statement, ifTrue: statement.ifTrue.flatMap(keep), ifFalse: statement.ifFalse.flatMap(keep) },
        ];
      case "for":
      case "while":
        return [{ ...statement, body: statement.body.flatMap(keep) }];
      default:
        return [statement];
    }
  };
  const kept = body.flatMap(keep);
  return dropped ? withoutDeadLocals(kept) : kept;
}
