import { BitloomError } from "../../errors/index.ts";
import { sameDims } from "../types.ts";
import { noAttributes, type Op } from "./define.ts";

const RN = Math.fround;

/** x f32 [batch, seq, heads, D], cos and sin f32 [T, D/2], positions i32 [batch] -> x's type. */
export const rope: Op<typeof noAttributes> = {
  summary:
    "Rotary position embedding on NeoX halves: (x1*cos - x2*sin, x2*cos + x1*sin) for the two halves of D. " +
    "Row t of batch b reads table row positions[b] + t.",
  operands: ["x", "cos", "sin", "positions"],
  attributes: noAttributes,
  infer([x, cos, sin, positions], _attributes, site) {
    for (const index of [0, 1, 2]) site.requireDense(index, "f32");
    site.requireDense(3, "i32");
    site.requireRank(0, 4);
    site.requireRank(1, 2);
    const [batch, , , width] = x!.dims;
    if (typeof width !== "number" || width % 2 !== 0)
      site.shape("x [batch, seq, heads, D] with an even literal D");
    if (!sameDims(cos!.dims, sin!.dims) || cos!.dims[1] !== (width as number) / 2) {
      site.shape("cos and sin [T, D/2] for x [..., D]");
    }
    if (!sameDims(positions!.dims, [batch!])) site.shape("positions [batch] with the batch of x");
    return [x!];
  },
  evaluate([x, cos, sin, positions], _attributes, [type]) {
    const [batch = 0, seq = 0, heads = 0, width = 0] = x!.type.dims;
    const [length = 0, half = 0] = cos!.type.dims;
    const data = new Float32Array(x!.data.length);
    for (let b = 0; b < batch; b++) {
      const first = positions!.data[b]!;
      if (first < 0 || first + seq > length) {
        throw new BitloomError("CONTEXT_OVERFLOW", "rope: positions beyond the table", {
          expected: `rows 0..${length - 1}`,
          received: `rows ${first}..${first + seq - 1} for sequence ${b}`,
        });
      }
      for (let t = 0; t < seq; t++) {
        for (let head = 0; head < heads; head++) {
          const row = ((b * seq + t) * heads + head) * width;
          for (let i = 0; i < half; i++) {
            const c = cos!.data[(first + t) * half + i]!;
            const s = sin!.data[(first + t) * half + i]!;
            const x1 = x!.data[row + i]!;
            const x2 = x!.data[row + half + i]!;
            data[row + i] = RN(x1 * c) - RN(x2 * s);
            data[row + half + i] = RN(x2 * c) + RN(x1 * s);
          }
        }
      }
    }
    return [{ type: type!, data }];
  },
  // A turn by the opposite angle; the tables are constants.
  gradient({ operands: [, cos, sin, positions], gradients: [g], emit }) {
    const opposite = emit.one("neg", [sin!], {});
    return [emit.one("rope", [g!, cos!, opposite, positions!], {}), undefined, undefined, undefined];
  },
};
