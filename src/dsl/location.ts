import type { SourceLocation } from "../../ir/graph.ts";

/**
 * Where the user's model called into Bitloom: the innermost stack frame that is no package's. The
 * text of the stack is read, rather than V8's call sites, because it is what source maps, TypeScript
 * loaders and test runners have already mapped back to the source. `undefined` when no frame is the
 * user's, as when a bundler has mixed Bitloom with other code.
 */
export function callerLocation(): SourceLocation | undefined {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 24;
  const stack = new Error("location").stack ?? "";
  Error.stackTraceLimit = limit;
  return userFrame(stack, import.meta.url);
}

/** The first frame of `stack` outside of the package that the module `self` belongs to, and of any other. */
export function userFrame(stack: string, self: string): SourceLocation | undefined {
  const root = /^(?<root>.*\/)(?:src\/dsl|dist)\/[^/]*$/.exec(toPath(self))?.groups?.root;
  for (const line of stack.split("\n").slice(1)) {
    const frame = parseFrame(line);
    if (frame === undefined || frame.file.includes("/node_modules/")) continue;
    if (root !== undefined && isOwn(frame.file, root)) continue;
    return frame;
  }
  return undefined;
}

/** `    at name (file:///model.ts:12:5)` or `    at /model.ts:12:5`; Node's and the engine's own frames have no place. */
function parseFrame(line: string): SourceLocation | undefined {
  const match = /(?:\(|at (?:async )?)(?<file>[^()]+):(?<line>\d+):(?<column>\d+)\)?$/.exec(line.trim());
  if (match?.groups === undefined) return undefined;
  const file = toPath(match.groups.file!);
  if (file.startsWith("node:")) return undefined;
  return { file, line: Number(match.groups.line), column: Number(match.groups.column) };
}

/**
 * Bitloom's frames lie in `dist/` or, with source maps or in the repository, in the source folders. The
 * model families and the tests are written like a user's model, so their lines are worth naming.
 */
function isOwn(file: string, root: string): boolean {
  if (!file.startsWith(root)) return false;
  const path = file.slice(root.length);
  return /^(?:dist|src|ir|errors)\//.test(path) && !/^src\/dsl\/families\/|\.test(?:-d)?\.ts$/.test(path);
}

function toPath(file: string): string {
  const url = file.replace(/[?#].*$/, "");
  return url.startsWith("file://") ? decodeURIComponent(new URL(url).pathname) : url;
}
