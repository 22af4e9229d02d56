import { z } from "zod";
import { sizeOf, toFloat32 } from "../tensor.ts";
import { sameDims } from "../types.ts";
import { requireTarget, requireTargets } from "./cross-entropy.ts";
import { firstDerivativeOnly, leading, type Op } from "./define.ts";

const attributes = z.strictObject({
  /** Rows with this target have no gradient. */
  ignore_index: z.int(),
});

/** logits f32 [..., V], targets i32 [...], log_sum f32 [..., 1], g f32 [...] -> f32 [..., V]. */
export const crossEntropyGradient: Op<typeof attributes> = {
  summary:
    "Gradient of `cross_entropy` by the logits from that of its losses: (e^(x - log_sum) - [target]) * g, " +
    "or 0 where the target is ignore_index.",
  operands: ["logits", "targets", "log_sum", "g"],
  attributes,
  infer([logits, targets, logSum, g], _attributes, site) {
    requireTargets(logits!, targets!, site);
    site.requireDense(2, "f32");
    site.requireDense(3, "f32");
    const rows = leading(logits!.dims);
    if (!sameDims(logSum!.dims, [...rows, 1]) || !sameDims(g!.dims, rows)) {
      site.shape("log_sum [..., 1] and g [...] for logits [..., V]");
    }
    return [logits!];
  },
  evaluate([logits, targets, logSum, g], { ignore_index }, [type]) {
    const vocabulary = type!.dims.at(-1)!;
    const x = toFloat32(logits!);
    const data = new Float32Array(sizeOf(type!.dims));
    for (const [row, target] of targets!.data.entries()) {
      requireTarget("cross_entropy_gradient", target, row, vocabulary, ignore_index);
      if (target === ignore_index) continue;
      for (let i = 0; i < vocabulary; i++) {
        const at = row * vocabulary + i;
        const probability = Math.exp(x[at]! - logSum!.data[row]!);
        data[at] = (probability - (i === target ? 1 : 0)) * g!.data[row]!;
      }
    }
    return [{ type: type!, data }];
  },
  gradient: firstDerivativeOnly,
};
