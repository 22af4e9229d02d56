import type { NodeOf, Value } from "../../../ir/graph.ts";
import { arg } from "../../../ir/scalar.ts";
import { codesPlace, paddedColumns } from "../activation-codes.ts";
import { bufferArgument, type DraftArgument, i32Argument } from "../draft.ts";
import { prologueOf } from "../epilogue.ts";
import { rowOperands } from "../inline.ts";
import { leadingRows } from "../operands.ts";
import type { RuleContext } from "../rules.ts";
import { fittingRows } from "./fit.ts";
import { rowShape, strided } from "./grid.ts";

/** Buffers of the quantizer without those of its prologue. */
const QUANTIZE_BUFFERS = 5;

export function quantizeRule(node: NodeOf<"quantize">, context: RuleContext): void {
  const { bits, granularity, prologue, eps } = node.attributes;
  const [codes, d, sums] = node.results as [Value, Value, Value];
  const norm = eps !== undefined;
  const perTensor = granularity === "tensor";
  const own = norm ? node.operands.slice(0, -1) : node.operands;
  const dims = context.dims(codes);
  const k = dims.at(-1) as number;
  const { expr, operands } = fittingRows(
    prologue ?? arg(0),
    own,
    dims,
    context.limits.buffers - QUANTIZE_BUFFERS,
    context,
  );
  const head = prologueOf(expr, operands, dims, context);
  const place = codesPlace(codes, context);
  context.assign(codes, place);
  const perRow = bufferArgument(context.allocate(d));
  const rows = leadingRows(codes, context);
  const grid = strided(rows, context);
  const words = [...head.words, ...(norm ? ["rms_norm"] : [])];
  const shared = {
    normWeight: norm ? bufferArgument(context.contiguous(node.operands.at(-1)!)) : perRow,
    rows: i32Argument(rows),
    k: i32Argument(k),
    eps: { kind: "f32", value: eps ?? 0 },
  } as const;
  const options = { ...rowShape(k, context), norm };
  const magnitudes = perTensor
    ? bufferArgument(context.temporary("magnitudes", "u32", dims.slice(0, -1)))
    : perRow;
  if (perTensor) {
    context.call(
      {
        template: "row-magnitudes",
        name: ["row_magnitudes", ...words].join("_"),
        options: { ...options, ...head.options },
        inlineKey: head.inlineKey,
        arguments: { ...shared, magnitudes },
        captured: head.captured,
      },
      grid,
    );
  }
  context.call(
    {
      template: "quantize",
      name: [
        "quantize",
        ...(bits === 8 ? [] : [`int${bits}`]),
        ...(perTensor ? ["tensor"] : []),
        ...words,
      ].join("_"),
      options: { ...options, qmax: 2 ** (bits - 1) - 1, perTensor, ...head.options },
      inlineKey: head.inlineKey,
      arguments: {
        ...shared,
        magnitudes,
        codes: bufferArgument(place),
        d: perRow,
        sums: bufferArgument(context.allocate(sums)),
        kPadded: i32Argument(paddedColumns(k)),
      },
      captured: head.captured,
    },
    grid,
  );
}

export function rmsNormRule(node: NodeOf<"rms_norm">, context: RuleContext): void {
  const [x, w] = node.operands as [Value, Value];
  normalize(node.results[0]!, x, "rms-norm", "rms_norm", context, {
    weight: bufferArgument(context.contiguous(w)),
    eps: { kind: "f32", value: node.attributes.eps },
  });
}

export function softmaxRule(node: NodeOf<"softmax">, context: RuleContext): void {
  normalize(node.results[0]!, node.operands[0]!, "softmax", "softmax", context, {});
}

/** A template over rows of one operand. */
function normalize(
  result: Value,
  x: Value,
  template: string,
  name: string,
  context: RuleContext,
  own: Readonly<Record<string, DraftArgument>>,
): void {
  const dims = context.dims(result);
  const k = dims.at(-1)!;
  const head = prologueOf(arg(0), rowOperands([x], dims, context), dims, context);
  const rows = leadingRows(result, context);
  context.call(
    {
      template,
      name,
      options: { ...rowShape(k, context), ...head.options },
      inlineKey: head.inlineKey,
      arguments: {
        ...own,
        out: bufferArgument(context.allocate(result)),
        rows: i32Argument(rows),
        k: i32Argument(k),
      },
      captured: head.captured,
    },
    strided(rows, context),
  );
}
