import { BitloomError } from "../../errors/index.ts";
import { bf16ToF32, f16ToF32, scaleAt, sizeOf } from "../tensor.ts";
import { dense } from "../types.ts";
import { noAttributes, type Op } from "./define.ts";
import { weightDims } from "./weight.ts";

/** Rows of a table: w [V, H], ids i32 [...] -> f32 [..., H]. */
export const embedding: Op<typeof noAttributes> = {
  summary: "Looks up rows of a table of f32, f16, bf16 or encoded weights; the result is f32.",
  operands: ["w", "ids"],
  attributes: noAttributes,
  infer([w, ids], _attributes, site) {
    const [, width] = weightDims(w!, "w", site);
    site.requireDense(1, "i32");
    return [dense("f32", [...ids!.dims, width])];
  },
  evaluate([w, ids], _attributes, [type]) {
    const [vocabulary = 0, width = 0] = w!.type.dims;
    const data = new Float32Array(sizeOf(type!.dims));
    for (const [row, id] of ids!.data.entries()) {
      if (id < 0 || id >= vocabulary) {
        throw new BitloomError("TOKEN_OUT_OF_RANGE", "embedding: an id is not a row of the table", {
          expected: `0..${vocabulary - 1}`,
          received: `${id} at position ${row}`,
        });
      }
      for (let column = 0; column < width; column++) {
        const element = w!.data[id * width + column]!;
        if (w!.type.encoding) data[row * width + column] = element * scaleAt(w!, id, column);
        else if (w!.type.dtype === "f16") data[row * width + column] = f16ToF32(element);
        else if (w!.type.dtype === "bf16") data[row * width + column] = bf16ToF32(element);
        else data[row * width + column] = element;
      }
    }
    return [{ type: type!, data }];
  },
  gradient({ operands: [w, ids], gradients: [g], emit }) {
    const vocabulary = w!.type.dims[0] as number;
    return [emit.one("embedding_gradient", [g!, ids!], { vocabulary }), undefined];
  },
};
