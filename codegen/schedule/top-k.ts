import type { NodeOf, Value } from "../../ir/graph.ts";
import type { SymbolExpr } from "../../runtime/manifest.ts";
import { bufferArgument, type Grid, i32Argument } from "./draft.ts";
import type { Option } from "./library.ts";
import { leadingRows, unitRows } from "./operands.ts";
import type { RuleContext, ScheduleRule } from "./rules.ts";
import { product } from "./symbols.ts";

/** How a target class runs its template of top-k. */
export interface TopKTarget {
  /** Candidates that one item or workgroup chooses from; more where many are kept. */
  readonly chunk: number;
  readonly options: Readonly<Record<string, Option>>;
  /** Work for this many chunks. */
  readonly range: (chunks: SymbolExpr, context: RuleContext) => SymbolExpr | Grid;
}

/**
 * A rule that cuts rows into chunks and keeps the largest of each, round by round, until one chunk has all that are
 * left of its row.
 */
export function topKRuleFor({ chunk: smallest, options, range }: TopKTarget): ScheduleRule<"top_k"> {
  return (node: NodeOf<"top_k">, context: RuleContext) => {
    const [x] = node.operands as [Value];
    const [values, indices] = node.results as [Value, Value];
    const { k } = node.attributes;
    const dims = context.dims(values).slice(0, -1);
    const rows = leadingRows(values, context);
    // At least halves what is left, so that there is an end.
    const chunk = Math.max(smallest, 2 * k);
    const input = unitRows(x, context);
    let from = { values: input.place, indices: undefined as typeof input.place | undefined };
    let stride = input.rowStride;
    let candidates = context.dims(x).at(-1) as number;
    for (;;) {
      const chunks = Math.ceil(candidates / chunk);
      const isLast = chunks === 1;
      const kept = chunks * k;
      const to = isLast
        ? { values: context.allocate(values), indices: context.allocate(indices) }
        : {
            values: context.temporary("candidates", "f32", [...dims, kept]),
            indices: context.temporary("candidates' indices", "i32", [...dims, kept]),
          };
      const all = from.indices === undefined;
      context.call(
        {
          template: "top-k",
          name: all ? "top_k" : "top_k_of_candidates",
          options: { ...options, all },
          arguments: {
            values: bufferArgument(from.values),
            // Never read where all are candidates.
            indices: bufferArgument(from.indices ?? to.indices),
            outValues: bufferArgument(to.values),
            outIndices: bufferArgument(to.indices),
            rows: i32Argument(rows),
            candidates: i32Argument(candidates),
            stride: i32Argument(stride),
            chunk: i32Argument(chunk),
            count: i32Argument(k),
          },
        },
        range(product(rows, chunks), context),
      );
      if (isLast) return;
      from = to;
      stride = candidates = kept;
    }
  };
}
