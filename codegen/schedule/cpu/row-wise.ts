import type { NodeOf } from "../../../ir/graph.ts";
import { paddedColumns } from "../activation-codes.ts";
import { prologueOf } from "../epilogue.ts";
import { rowOperands } from "../inline.ts";
import { quantizeWork, type RowWork, rmsNormWork, softmaxWork } from "../row-work.ts";
import type { RuleContext } from "../rules.ts";

const F32_BYTES = 4;

export function quantizeRule(node: NodeOf<"quantize">, context: RuleContext): void {
  const work = quantizeWork(node, context);
  const { norm, perTensor, qmax, dims, rows } = work;
  const head = prologueOf(work.expr, rowOperands(work.operands, dims, context), dims, context);
  context.needScratch(paddedColumns(work.k) * F32_BYTES);
  context.call(
    {
      template: "quantize",
      name: [...work.words, ...head.words, ...(norm ? ["rms_norm"] : [])].join("_"),
      options: { qmax, norm, perTensor, ...head.options },
      inlineKey: head.inlineKey,
      arguments: { ...work.arguments, scratch: { kind: "scratch" } },
      captured: head.captured,
    },
    rows,
  );
}

export function rmsNormRule(node: NodeOf<"rms_norm">, context: RuleContext): void {
  normalize("rms-norm", "rms_norm", rmsNormWork(node, context), context);
}

export function softmaxRule(node: NodeOf<"softmax">, context: RuleContext): void {
  normalize("softmax", "softmax", softmaxWork(node, context), context);
}

function normalize(template: string, name: string, work: RowWork, context: RuleContext): void {
  const { expr, operands, dims, rows } = work;
  const head = prologueOf(expr, rowOperands(operands, dims, context), dims, context);
  context.call(
    {
      template,
      name,
      options: head.options,
      inlineKey: head.inlineKey,
      arguments: work.arguments,
      captured: head.captured,
    },
    rows,
  );
}
