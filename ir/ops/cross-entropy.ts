import { z } from "zod";
import { BitloomError } from "../../errors/index.ts";
import { toFloat32 } from "../tensor.ts";
import { dense, sameDims, type TensorType } from "../types.ts";
import { leading, literalLastDim, type Op, type Site } from "./define.ts";

const attributes = z.strictObject({
  /** Rows with this target count for nothing. */
  ignore_index: z.int(),
});

/** logits f32 [..., V], targets i32 [...] -> loss f32 [...], log_sum f32 [..., 1]. */
export const crossEntropy: Op<typeof attributes> = {
  summary:
    "Cross-entropy of each row with its target: log_sum = max + ln(sum e^(x - max)), loss = log_sum - x[target], " +
    "or 0 where the target is ignore_index. The reference sums in f64.",
  operands: ["logits", "targets"],
  attributes,
  infer([logits, targets], _attributes, site) {
    requireTargets(logits!, targets!, site);
    const rows = leading(logits!.dims);
    return [dense("f32", rows), dense("f32", [...rows, 1])];
  },
  evaluate([logits, targets], { ignore_index }, [lossType, sumType]) {
    const vocabulary = logits!.type.dims.at(-1)!;
    const x = toFloat32(logits!);
    const losses = new Float32Array(targets!.data.length);
    const logSums = new Float32Array(losses.length);
    for (const [row, target] of targets!.data.entries()) {
      requireTarget("cross_entropy", target, row, vocabulary, ignore_index);
      const values = x.subarray(row * vocabulary, (row + 1) * vocabulary);
      let largest = Number.NEGATIVE_INFINITY;
      for (const value of values) largest = Math.max(largest, value);
      let sum = 0;
      for (const value of values) sum += Math.exp(value - largest);
      const logSum = largest + Math.log(sum);
      logSums[row] = logSum;
      losses[row] = target === ignore_index ? 0 : logSum - values[target]!;
    }
    return [
      { type: lossType!, data: losses },
      { type: sumType!, data: logSums },
    ];
  },
  gradient({ operands: [logits, targets], results: [, logSum], attributes, gradients: [g, h], emit }) {
    const ofLoss = g && emit.one("cross_entropy_gradient", [logits!, targets!, logSum!, g], attributes);
    const ofLogSum = h && emit.one("mul", [emit.one("softmax", [logits!], {}), h], {});
    return [ofLoss && ofLogSum ? emit.one("add", [ofLoss, ofLogSum], {}) : (ofLoss ?? ofLogSum), undefined];
  },
};

/** Checks logits f32 [..., V] and targets i32 [...]. */
export function requireTargets(logits: TensorType, targets: TensorType, site: Site): void {
  site.requireDense(0, "f32");
  site.requireDense(1, "i32");
  literalLastDim(logits, "logits", site);
  if (!sameDims(leading(logits.dims), targets.dims)) site.shape("targets [...] for logits [..., V]");
}

/** Throws unless a target is a class or the one that is ignored. */
export function requireTarget(
  op: string,
  target: number,
  row: number,
  vocabulary: number,
  ignored: number,
): void {
  if (target === ignored || (target >= 0 && target < vocabulary)) return;
  throw new BitloomError("TOKEN_OUT_OF_RANGE", `${op}: a target is not one of the logits`, {
    expected: `0..${vocabulary - 1}, or ${ignored} to ignore the row`,
    received: `${target} at position ${row}`,
  });
}
