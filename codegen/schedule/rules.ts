import type { Node, NodeOf, Value } from "../../ir/graph.ts";
import type { OpName } from "../../ir/ops/index.ts";
import type { Dim, DType } from "../../ir/types.ts";
import type { SymbolExpr } from "../../runtime/manifest.ts";
import type { KernelFunction } from "../kernel/ir.ts";
import type { Computed, DraftStep, GeneratedCall, Grid, Place, Storage } from "./draft.ts";
import type { TargetCode } from "./lanes.ts";
import type { TemplateCall } from "./library.ts";
import type { TargetLimits } from "./limits.ts";
import type { WeightLayout } from "./plan.ts";

/** How a target computes one op: emits steps and says where the results lie. */
export type ScheduleRule<Op extends OpName> = (node: NodeOf<Op>, context: RuleContext) => void;

/** Why a target has no rule for an op. */
export interface Uncovered {
  readonly uncovered: string;
}

/** A target class' rules. The type makes every op either covered or explained. */
export type RuleTable = { readonly [Op in OpName]: ScheduleRule<Op> | Uncovered };

/** What a rule can ask for while a graph's nodes are scheduled in order. */
export interface RuleContext {
  /** What generated code is made of. */
  readonly code: TargetCode;
  readonly limits: TargetLimits;

  /** A value's dims; symbols that can only be 1 are 1. */
  dims(value: Value): readonly Dim[];
  /** The largest value of an expression over this entry's symbols. */
  upperBound(expr: SymbolExpr): number;
  /**
   * Says that an axis must have this many elements: calls with fewer are refused.
   * @throws INVALID_ATTRIBUTE if it never has
   */
  requireLength(dim: Dim, least: number): void;
  /** The nodes that read a value. */
  readers(value: Value): readonly Node[];
  /** Where a value lies. Build-time values are placed in the weights region, dense. */
  place(value: Value): Place;
  /** The same elements row-major and without gaps, copied if need be. */
  contiguous(value: Value): Place;
  /** A copy of a place, row-major and without gaps. */
  copy(place: Place, name: string): Place;
  /** Where a weight lies in a packed layout: among the artifact's weights, or where a step of the run packed it. */
  weight(value: Value, layout: WeightLayout): Storage;
  /** Memory for a weight that the run packs. */
  allocateWeight(value: Value, layout: WeightLayout): Storage;

  /** Takes a value's place: memory for it, row-major without gaps. */
  allocate(value: Value): Place;
  /** A temporary of this shape. */
  temporary(name: string, dtype: DType, dims: readonly Dim[]): Place;
  /** Says that a value lies in a place made by hand. */
  assign(value: Value, place: Place): void;
  /** Says that a value is a view of another value's memory. */
  view(value: Value, place: Place): void;
  /** Whether this node alone reads a value that owns its memory, so that the node may overwrite it. */
  mayOverwrite(value: Value): boolean;

  /**
   * Says that a value is computed where it is read: by `computed` in the one kernel that can, or else by what `store`
   * emits before the first step that has its place among its arguments. A value that is read once gains by it.
   */
  defer(value: Value, computed: Computed, store: (place: Place) => void): void;
  /** How this node, its only reader, may compute the elements of the buffer in which a value lies, if that is deferred. */
  computed(value: Value): Computed | undefined;
  /** A template without options, as a function for other kernels to call. */
  helper(template: string): KernelFunction;

  /** Makes each thread's scratch memory at least this large. */
  needScratch(bytes: number): void;
  /** Emits one step of a generated kernel. */
  generate(call: GeneratedCall): void;
  /** Emits one step of a template's specialization, over items or on a grid of workgroups. */
  call(call: TemplateCall, range: SymbolExpr | Grid, guard?: DraftStep["guard"]): void;
}
