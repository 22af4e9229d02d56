/** Neighbouring nodes that one rule computes together. */
import type { Node, Value } from "../../ir/graph.ts";
import type { RuleContext } from "./rules.ts";

/** Nodes of a graph, the last of which reads all others, directly or not. Nobody else reads these in between. */
export interface Group {
  readonly nodes: readonly Node[];
  /** Emits what all of them compute; or nothing and gives false, for each node to follow its own rule. */
  readonly schedule: (context: RuleContext) => boolean;
}

/** Who reads the values of a graph. */
export interface Readers {
  /** The nodes that read a value. */
  of(value: Value): readonly Node[];
  /** Whether it is an output or a next state. */
  isResult(value: Value): boolean;
}

/** The group that ends with a node, if it is the end of one. */
export type Pattern = (last: Node, readers: Readers) => Group | undefined;

/** The group of each node that is in one; no node is in two. */
export function findGroups(
  order: readonly Node[],
  patterns: readonly Pattern[],
  readers: Readers,
): ReadonlyMap<Node, Group> {
  const groups = new Map<Node, Group>();
  for (const node of order) {
    for (const pattern of patterns) {
      const group = pattern(node, readers);
      if (group === undefined || group.nodes.some((member) => groups.has(member))) continue;
      for (const member of group.nodes) groups.set(member, group);
    }
  }
  return groups;
}
