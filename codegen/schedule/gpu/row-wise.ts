import type { NodeOf } from "../../../ir/graph.ts";
import { bufferArgument } from "../draft.ts";
import { prologueOf } from "../epilogue.ts";
import { quantizeWork, type RowWork, rmsNormWork, softmaxWork } from "../row-work.ts";
import type { RuleContext } from "../rules.ts";
import { fittingRows } from "./fit.ts";
import { rowShape, strided } from "./grid.ts";

/** Buffers of the quantizer, and of a norm, without those of the prologue. */
const QUANTIZE_BUFFERS = 5;
const NORM_BUFFERS = 2;

export function quantizeRule(node: NodeOf<"quantize">, context: RuleContext): void {
  const work = quantizeWork(node, context);
  const { norm, perTensor, qmax, dims, rows } = work;
  const shape = rowShape(work.k, context);
  // Two kernels read a tensor's rows.
  const once = shape.held > 0 && !perTensor;
  const fitting = fittingRows(work, context.limits.buffers - QUANTIZE_BUFFERS, once, context);
  const head = prologueOf(fitting.expr, fitting.operands, dims, context);
  const grid = strided(rows, context);
  const options = { ...shape, norm };
  const words = [...head.words, ...(norm ? ["rms_norm"] : [])];
  const magnitudes = perTensor
    ? bufferArgument(context.temporary("magnitudes", "u32", dims.slice(0, -1)))
    : work.arguments.d!;
  if (perTensor) {
    context.call(
      {
        template: "row-magnitudes",
        name: ["row_magnitudes", ...words].join("_"),
        options: { ...options, ...head.options },
        inlineKey: head.inlineKey,
        arguments: { ...work.arguments, magnitudes },
        captured: head.captured,
      },
      grid,
    );
  }
  context.call(
    {
      template: "quantize",
      name: [...work.words, ...words].join("_"),
      options: { ...options, qmax, perTensor, ...head.options },
      inlineKey: head.inlineKey,
      arguments: { ...work.arguments, magnitudes },
      captured: head.captured,
    },
    grid,
  );
}

export function rmsNormRule(node: NodeOf<"rms_norm">, context: RuleContext): void {
  normalize("rms-norm", "rms_norm", rmsNormWork(node, context), context);
}

export function softmaxRule(node: NodeOf<"softmax">, context: RuleContext): void {
  normalize("softmax", "softmax", softmaxWork(node, context), context);
}

function normalize(template: string, name: string, work: RowWork, context: RuleContext): void {
  const { dims, rows } = work;
  const shape = rowShape(dims.at(-1)!, context);
  const fitting = fittingRows(work, context.limits.buffers - NORM_BUFFERS, shape.held > 0, context);
  const head = prologueOf(fitting.expr, fitting.operands, dims, context);
  context.call(
    {
      template,
      name: [name, ...head.words].join("_"),
      options: { ...shape, ...head.options },
      inlineKey: head.inlineKey,
      arguments: work.arguments,
      captured: head.captured,
    },
    strided(rows, context),
  );
}
