import { z } from "zod";
import { BitloomError } from "../../errors/index.ts";
import { dense, sameDims } from "../types.ts";
import { leading, literalLastDim, type Op } from "./define.ts";

const attributes = z.strictObject({
  /** Rows of the table. */
  vocabulary: z.int().min(1),
});

/** g f32 [..., H], ids i32 [...] -> f32 [vocabulary, H]. */
export const embeddingGradient: Op<typeof attributes> = {
  summary:
    "Adds each row of g to the row of a table that its id names, from zero on; ids may repeat. " +
    "The reference sums in f64 and rounds once.",
  operands: ["g", "ids"],
  attributes,
  infer([g, ids], { vocabulary }, site) {
    site.requireDense(0, "f32");
    site.requireDense(1, "i32");
    const width = literalLastDim(g!, "g", site);
    if (!sameDims(leading(g!.dims), ids!.dims)) site.shape("g [..., H] for ids [...]");
    return [dense("f32", [vocabulary, width])];
  },
  evaluate([g, ids], { vocabulary }, [type]) {
    const width = type!.dims[1]!;
    const sums = new Float64Array(vocabulary * width);
    for (const [row, id] of ids!.data.entries()) {
      if (id < 0 || id >= vocabulary) {
        throw new BitloomError("TOKEN_OUT_OF_RANGE", "embedding_gradient: an id is not a row of the table", {
          expected: `0..${vocabulary - 1}`,
          received: `${id} at position ${row}`,
        });
      }
      for (let i = 0; i < width; i++) sums[id * width + i]! += g!.data[row * width + i]!;
    }
    return [{ type: type!, data: Float32Array.from(sums) }];
  },
  gradient: ({ operands: [, ids], gradients: [h], emit }) => [
    emit.one("embedding", [h!, ids!], {}),
    undefined,
  ],
};
