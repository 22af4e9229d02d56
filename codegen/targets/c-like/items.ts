/** What a kernel's body names, and how one invocation computes one item of a kernel over a range. */
import { BitloomError } from "../../../errors/index.ts";
import { type Expr, type KernelFunction, type Parameter, type Stmt, storageBytes } from "../../kernel/ir.ts";
import { walk } from "../../kernel/walk.ts";

/** Buffers and values that statements name. */
export function usedNames(body: readonly Stmt[]): ReadonlySet<string> {
  const names = new Set<string>();
  walk(body, {
    statement: (s) => {
      if (s.kind === "store") names.add(s.buffer);
    },
    expression: (e) => {
      if (e.kind === "ref") names.add(e.name);
      else if (e.kind === "load" || (e.kind === "intrinsic" && e.buffer !== undefined)) names.add(e.buffer!);
      else if (e.kind === "call") {
        for (const argument of e.args) if (argument.kind === "buffer") names.add(argument.name);
      }
    },
  });
  return names;
}

export interface ItemBody {
  /** `begin` and `end`. */
  readonly parameters: readonly Parameter[];
  /** The local that holds the item, and the one that holds the next item if the body names it. */
  readonly index: string;
  readonly next: string | undefined;
  readonly body: readonly Stmt[];
}

/**
 * The body of a kernel over a range for one item; undefined for a kernel for workgroups.
 * @throws UNSUPPORTED_OP for a kernel that is neither
 */
export function rangeOf(kernel: KernelFunction): ItemBody | undefined {
  if (kernel.workgroupSize !== undefined) return undefined;
  const parameters = kernel.parameters.slice(-2);
  if (parameters[0]?.name !== "begin" || parameters[1]?.name !== "end") {
    throw new BitloomError("UNSUPPORTED_OP", `no GPU runs ${kernel.name} as it is`, {
      hint: "A kernel has a workgroupSize, or `begin, end` as last parameters.",
    });
  }
  const [loop, ...others] = kernel.body;
  if (loop?.kind === "for" && others.length === 0 && isOverItems(loop)) {
    const inner = usedNames(loop.body);
    if (!inner.has("begin") && !inner.has("end")) {
      return { parameters, index: loop.variable, next: undefined, body: loop.body.map(leaveOnExit) };
    }
  }
  return { parameters, index: "begin", next: "end", body: kernel.body };
}

/** `for (let i = begin; i < end; i += 1)`. */
function isOverItems({ variable, start, condition, next }: Extract<Stmt, { kind: "for" }>): boolean {
  const isRef = (e: Expr, name: string) => e.kind === "ref" && e.name === name;
  return (
    isRef(start, "begin") &&
    condition.kind === "compare" &&
    condition.operator === "lt" &&
    isRef(condition.left, variable) &&
    isRef(condition.right, "end") &&
    next.kind === "binary" &&
    next.operator === "add" &&
    isRef(next.left, variable) &&
    next.right.kind === "literal" &&
    next.right.value === 1
  );
}

/** `break` and `continue` of a loop that became one pass of a function. */
function leaveOnExit(statement: Stmt): Stmt {
  switch (statement.kind) {
    case "break":
    case "continue":
      return { kind: "return" };
    case "if":
      return {
        ...statement,
        ifTrue: statement.ifTrue.map(leaveOnExit),
        ifFalse: statement.ifFalse.map(leaveOnExit),
      };
    default:
      return statement;
  }
}

/** Bytes of a kernel's shared arrays; each starts at a multiple of 16. */
export function sharedBytes({ shared = [] }: KernelFunction): number {
  return shared
    .map(({ element, length }) => Math.ceil((storageBytes(element) * length) / 16) * 16)
    .reduce((sum, size) => sum + size, 0);
}
