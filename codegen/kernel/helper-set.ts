import type { ts } from "ts-morph";
import type { KernelFunction } from "./ir.ts";
import { syntaxError } from "./source-error.ts";

/** Helpers that became functions while one kernel was lowered, callees first. */
export class HelperSet {
  readonly #done = new Map<ts.Node, KernelFunction>();
  readonly #active = new Set<ts.Node>();

  get functions(): KernelFunction[] {
    return [...this.#done.values()];
  }
  get(node: ts.Node): KernelFunction | undefined {
    return this.#done.get(node);
  }
  /** Lowers a helper once; a helper that needs itself is an error. */
  define(node: ts.Node, lower: () => KernelFunction): KernelFunction {
    if (this.#active.has(node)) throw syntaxError(node, "kernel functions cannot call themselves");
    this.#active.add(node);
    const fn = lower();
    this.#active.delete(node);
    this.#done.set(node, fn);
    return fn;
  }
}
