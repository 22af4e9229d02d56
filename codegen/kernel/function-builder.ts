import type { ts } from "ts-morph";
import { type Annotation, readAnnotation } from "./annotation.ts";
import { type Binding, valueBinding } from "./bindings.ts";
import { isPure } from "./fold.ts";
import type { HelperSet } from "./helper-set.ts";
import type { Expr, Stmt, ValueType } from "./ir.ts";

/** The function being made: its names, the block statements go to, and the order of effects. */
export abstract class FunctionBuilder {
  protected readonly ts: typeof ts;
  protected readonly helpers: HelperSet;
  readonly #names = new Set<string>();
  /** Names of locals that statements assign. */
  readonly #mutable = new Set<string>();
  /** Where statements go; lowering an expression may add some ahead of it. */
  protected block: Stmt[] = [];

  constructor(typescript: typeof ts, helpers: HelperSet) {
    this.ts = typescript;
    this.helpers = helpers;
  }

  /** A name no other local or parameter of this function has. */
  fresh(name: string): string {
    let unique = name;
    for (let count = 1; this.#names.has(unique); count++) unique = `${name}_${count}`;
    this.#names.add(unique);
    return unique;
  }

  /** The same for a local that statements assign. */
  protected freshMutable(name: string): string {
    const unique = this.fresh(name);
    this.#mutable.add(unique);
    return unique;
  }

  protected annotation(node: ts.TypeNode): Annotation {
    return readAnnotation(this.ts, node);
  }

  /** Runs `action` with statements going to a block of their own. */
  protected inBlock(action: () => void): Stmt[] {
    const outer = this.block;
    const block: Stmt[] = [];
    this.block = block;
    try {
      action();
    } finally {
      this.block = outer;
    }
    return block;
  }

  protected emit(statement: Stmt): void {
    this.block.push(statement);
  }

  /** Stores a value in a new local and gives a reference to it. */
  protected spill(name: string, value: Expr, mutable = false): Expr {
    const type = value.type as ValueType;
    const unique = mutable ? this.freshMutable(name) : this.fresh(name);
    this.emit({ kind: "let", name: unique, type, value, mutable });
    return { kind: "ref", type, name: unique };
  }

  /** Whether evaluating the expression later gives the same value. */
  protected isStable(value: Expr): boolean {
    return value.kind === "literal" || (value.kind === "ref" && !this.#mutable.has(value.name));
  }

  /** A binding that can be kept: what it reads is read now. */
  protected freeze(binding: Binding): Binding {
    if (binding.kind !== "value" || this.isStable(binding.expression)) return binding;
    return valueBinding(this.spill("value", binding.expression));
  }

  /**
   * If lowering something after `earlier` added statements with effects, `earlier` must be computed before
   * them: it moves to a local at `position` of the block.
   */
  protected keepOrder(earlier: Expr, position: number, name: string): Expr {
    const hasEffect = (statement: Stmt) =>
      statement.kind !== "let" || (statement.value !== undefined && !isPure(statement.value));
    if (this.isStable(earlier) || !this.block.slice(position).some(hasEffect)) return earlier;
    const type = earlier.type as ValueType;
    const unique = this.fresh(name);
    this.block.splice(position, 0, { kind: "let", name: unique, type, value: earlier, mutable: false });
    return { kind: "ref", type, name: unique };
  }

  /** Evaluates nodes left to right, keeping that order at run time. */
  protected sequence(nodes: readonly (() => Binding)[]): Binding[] {
    const results: Binding[] = [];
    for (const evaluate of nodes) {
      const before = this.block.length;
      const binding = evaluate();
      let position = before;
      for (let i = 0; i < results.length; i++) {
        const earlier = results[i]!;
        if (earlier.kind !== "value") continue;
        const kept = this.keepOrder(earlier.expression, position, "value");
        if (kept !== earlier.expression) {
          results[i] = valueBinding(kept);
          position++;
        }
      }
      results.push(binding);
    }
    return results;
  }
}
