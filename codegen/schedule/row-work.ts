/** What the templates that go over rows take, on every target alike. */
import type { NodeOf, Value } from "../../ir/graph.ts";
import { arg, type ScalarExpr } from "../../ir/scalar.ts";
import type { Dim } from "../../ir/types.ts";
import type { SymbolExpr } from "../../runtime/manifest.ts";
import { codesPlace, paddedColumns } from "./activation-codes.ts";
import { bufferArgument, type DraftArgument, f32Argument, i32Argument } from "./draft.ts";
import { leadingRows } from "./operands.ts";
import type { RuleContext } from "./rules.ts";

type Arguments = Readonly<Record<string, DraftArgument>>;

/** What a template makes of each row of an expression. */
export interface RowWork {
  readonly expr: ScalarExpr;
  readonly operands: readonly Value[];
  readonly dims: readonly Dim[];
  readonly rows: SymbolExpr;
  readonly arguments: Arguments;
}

export interface QuantizeWork extends RowWork {
  readonly k: number;
  readonly norm: boolean;
  readonly perTensor: boolean;
  /** The largest code. */
  readonly qmax: number;
  /** What kind of quantizer it is, for the kernel's name. */
  readonly words: readonly string[];
}

export function quantizeWork(node: NodeOf<"quantize">, context: RuleContext): QuantizeWork {
  const { bits, granularity, prologue, eps } = node.attributes;
  const [codes, d, sums] = node.results as [Value, Value, Value];
  const norm = eps !== undefined;
  const perTensor = granularity === "tensor";
  const dims = context.dims(codes);
  const k = dims.at(-1) as number;
  const place = codesPlace(codes, context);
  context.assign(codes, place);
  const perRow = bufferArgument(context.allocate(d));
  const rows = leadingRows(codes, context);
  return {
    expr: prologue ?? arg(0),
    operands: norm ? node.operands.slice(0, -1) : node.operands,
    dims,
    k,
    rows,
    norm,
    perTensor,
    qmax: 2 ** (bits - 1) - 1,
    words: ["quantize", ...(bits === 8 ? [] : [`int${bits}`]), ...(perTensor ? ["tensor"] : [])],
    arguments: {
      normWeight: norm ? bufferArgument(context.contiguous(node.operands.at(-1)!)) : perRow,
      codes: bufferArgument(place),
      d: perRow,
      sums: bufferArgument(context.allocate(sums)),
      rows: i32Argument(rows),
      k: i32Argument(k),
      kPadded: i32Argument(paddedColumns(k)),
      eps: f32Argument(eps ?? 0),
    },
  };
}

export function rmsNormWork(node: NodeOf<"rms_norm">, context: RuleContext): RowWork {
  const [x, w] = node.operands as [Value, Value];
  const own = { weight: bufferArgument(context.contiguous(w)), eps: f32Argument(node.attributes.eps) };
  return rowWork(x, node.results[0]!, own, context);
}

export function softmaxWork(node: NodeOf<"softmax">, context: RuleContext): RowWork {
  return rowWork(node.operands[0]!, node.results[0]!, {}, context);
}

function rowWork(x: Value, result: Value, own: Arguments, context: RuleContext): RowWork {
  const dims = context.dims(result);
  const rows = leadingRows(result, context);
  return {
    expr: arg(0),
    operands: [x],
    dims,
    rows,
    arguments: {
      ...own,
      out: bufferArgument(context.allocate(result)),
      rows: i32Argument(rows),
      k: i32Argument(dims.at(-1)!),
    },
  };
}
