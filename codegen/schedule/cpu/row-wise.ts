import type { NodeOf, Value } from "../../../ir/graph.ts";
import { arg } from "../../../ir/scalar.ts";
import type { SymbolExpr } from "../../../runtime/manifest.ts";
import { codesPlace, paddedColumns } from "../activation-codes.ts";
import { bufferArgument, type DraftArgument, i32Argument } from "../draft.ts";
import { prologueOf } from "../epilogue.ts";
import { rowOperands } from "../inline.ts";
import { leadingRows } from "../operands.ts";
import type { RuleContext } from "../rules.ts";

const F32_BYTES = 4;

export function quantizeRule(node: NodeOf<"quantize">, context: RuleContext): void {
  const { bits, granularity, prologue, eps } = node.attributes;
  const [codes, d, sums] = node.results as [Value, Value, Value];
  const norm = eps !== undefined;
  const operands = norm ? node.operands.slice(0, -1) : node.operands;
  const dims = context.dims(codes);
  const k = dims.at(-1) as number;
  const head = prologueOf(prologue ?? arg(0), rowOperands(operands, dims, context), dims, context);
  const place = codesPlace(codes, context);
  context.assign(codes, place);
  const perRow = bufferArgument(context.allocate(d));
  const rows = leadingRows(codes, context);
  context.needScratch(paddedColumns(k) * F32_BYTES);
  context.call(
    {
      template: "quantize",
      name: [
        "quantize",
        ...(bits === 8 ? [] : [`int${bits}`]),
        ...(granularity === "tensor" ? ["tensor"] : []),
        ...head.words,
        ...(norm ? ["rms_norm"] : []),
      ].join("_"),
      options: { qmax: 2 ** (bits - 1) - 1, norm, perTensor: granularity === "tensor", ...head.options },
      inlineKey: head.inlineKey,
      arguments: {
        normWeight: norm ? bufferArgument(context.contiguous(node.operands.at(-1)!)) : perRow,
        codes: bufferArgument(place),
        d: perRow,
        sums: bufferArgument(context.allocate(sums)),
        scratch: { kind: "scratch" },
        rows: i32Argument(rows),
        k: i32Argument(k),
        kPadded: i32Argument(paddedColumns(k)),
        eps: { kind: "f32", value: eps ?? 0 },
      },
      captured: head.captured,
    },
    rows,
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
  const head = prologueOf(arg(0), rowOperands([x], dims, context), dims, context);
  const rows: SymbolExpr = leadingRows(result, context);
  context.call(
    {
      template,
      name,
      options: head.options,
      inlineKey: head.inlineKey,
      arguments: { ...own, out: bufferArgument(context.allocate(result)), k: i32Argument(dims.at(-1)!) },
      captured: head.captured,
    },
    rows,
  );
}
