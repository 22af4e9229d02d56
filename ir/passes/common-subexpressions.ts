/**
 * common-subexpressions: nodes with the same op, operands and attributes become one node. It runs early, so
 * that every later pass sees sharing where it is, and after passes that may repeat themselves.
 *
 *   %a: f32[batch, 8] = exp(%x)
 *   %b: f32[batch, 8] = exp(%x)
 *   %y: f32[batch, 8] = add(%a, %b)
 * becomes
 *   %a: f32[batch, 8] = exp(%x)
 *   %y: f32[batch, 8] = add(%a, %a)
 */
import type { Node, Value } from "../graph.ts";
import { type OpName, ops } from "../ops/index.ts";
import { definePass, type Rule, rule } from "../rewrite.ts";
import { formatNumber } from "../scalar.ts";

/** Gives equal values equal numbers. */
class Numbering {
  readonly #numbers = new Map<Value, number>();

  of(value: Value): number {
    let number = this.#numbers.get(value);
    if (number === undefined) {
      number = this.#numbers.size;
      this.#numbers.set(value, number);
    }
    return number;
  }
}

/** Two nodes with the same key compute the same. JSON alone would confuse -0 with 0 and NaN with null. */
function keyOf(node: Node, numbering: Numbering): string {
  const attributes = JSON.stringify(node.attributes, (_, value: unknown) =>
    typeof value === "number" ? formatNumber(value) : value,
  );
  return `${node.op}(${node.operands.map((operand) => numbering.of(operand)).join()})${attributes}`;
}

/** A rule that replaces a node by an equal one seen before. Make a new one for every run. */
export function uniqueNodes(names: readonly OpName[]): Rule {
  const numbering = new Numbering();
  const seen = new Map<string, Node>();
  return rule(names, (node) => {
    const key = keyOf(node, numbering);
    const first = seen.get(key);
    if (first && first !== node) return first.results;
    seen.set(key, node);
    return undefined;
  });
}

export const commonSubexpressions = definePass("common-subexpressions", () => [
  uniqueNodes(Object.keys(ops) as OpName[]),
]);
