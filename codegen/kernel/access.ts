import { intrinsics } from "./intrinsic-table.ts";
import type { Access, KernelFunction, Stmt } from "./ir.ts";
import { walk } from "./walk.ts";

/** How a body uses a buffer; helpers it calls must be among `helpers`. A buffer it never touches is read. */
export function bufferAccess(
  body: readonly Stmt[],
  buffer: string,
  helpers: readonly KernelFunction[],
): Access {
  let reads = false;
  let writes = false;
  walk(body, {
    statement: (s) => {
      if (s.kind === "store") writes ||= s.buffer === buffer;
    },
    expression: (e) => {
      if (e.kind === "load") reads ||= e.buffer === buffer;
      else if (e.kind === "intrinsic" && e.buffer === buffer) {
        if (intrinsics.get(e.name)?.result === "void") writes = true;
        else reads = true;
      } else if (e.kind === "call") {
        const callee = helpers.find((helper) => helper.name === e.callee);
        e.args.forEach((argument, i) => {
          const parameter = callee?.parameters[i];
          if (argument.kind !== "buffer" || argument.name !== buffer || parameter?.kind !== "buffer") return;
          reads ||= parameter.access !== "write";
          writes ||= parameter.access !== "read";
        });
      }
    },
  });
  return writes ? (reads ? "read-write" : "write") : "read";
}
