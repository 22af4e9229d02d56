/**
 * Node's built-in modules, or undefined elsewhere. `process.getBuiltinModule` keeps "node:" specifiers out of
 * the import graph, so that bundlers for browsers have nothing to resolve.
 */
const { process } = globalThis as unknown as {
  process?: { getBuiltinModule?<Id extends keyof Builtins>(id: Id): Builtins[Id] };
};

interface Builtins {
  "node:fs/promises": typeof import("node:fs/promises");
  "node:os": typeof import("node:os");
  "node:path": typeof import("node:path");
  "node:url": typeof import("node:url");
  "node:worker_threads": typeof import("node:worker_threads");
}

export const isNode: boolean = process?.getBuiltinModule !== undefined;

/** A built-in module of Node. Call it only where `isNode`. */
export function nodeModule<Id extends keyof Builtins>(id: Id): Builtins[Id] {
  return process!.getBuiltinModule!(id);
}

/** Threads that may run at once here. */
export const availableCores = (): number =>
  isNode ? nodeModule("node:os").availableParallelism() : (navigator.hardwareConcurrency ?? 1);
