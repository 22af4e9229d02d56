import { z } from "zod";
import { allocate, encodedTensor, sizeOf, type Tensor } from "../tensor.ts";
import {
  dense,
  type Encoding,
  encoded,
  type ScaleGranularity,
  sameDims,
  sameScale,
  type TensorType,
} from "../types.ts";
import { axisSchema, type Op, resolveAxis, type Site } from "./define.ts";

const attributes = z.strictObject({ axis: axisSchema });

/** Operands of one dtype, equal but for the literal lengths of one axis -> their join along it. */
export const concat: Op<typeof attributes> = {
  summary:
    "Joins tensors along an axis. Encoded weights join along axis 0, their output rows; per-tensor scales " +
    "become one scale a row.",
  operands: ["tensors..."],
  attributes,
  infer(operands, { axis }, site) {
    const [first] = operands;
    if (first === undefined) return site.shape("at least one tensor");
    const resolved = resolveAxis(axis, first.dims.length, site);
    let length = 0;
    for (const { dtype, dims } of operands) {
      const own = dims[resolved];
      if (dtype !== first.dtype) site.dtype("operands of one dtype");
      if (typeof own !== "number") return site.shape(`operands with a literal axis ${resolved}`);
      if (!sameDims(dims.toSpliced(resolved, 1), first.dims.toSpliced(resolved, 1))) {
        site.shape(`operands that differ in axis ${resolved} only`);
      }
      length += own;
    }
    const dims = first.dims.with(resolved, length);
    const encoding = joinedEncoding(operands, resolved, site);
    return [encoding ? encoded(dims, encoding) : dense(first.dtype, dims)];
  },
  evaluate(operands, { axis }, [type]) {
    if (type!.encoding) {
      const codes = new Int8Array(sizeOf(type!.dims));
      const scales = operands.flatMap((weight) => [...stackedScales(weight, type!.encoding!.scale)]);
      let offset = 0;
      for (const { data } of operands) {
        codes.set(data, offset);
        offset += data.length;
      }
      return [encodedTensor(type!, codes, Float32Array.from(scales))];
    }
    const resolved = axis < 0 ? axis + type!.dims.length : axis;
    const inner = sizeOf(type!.dims.slice(resolved + 1));
    const stride = type!.dims[resolved]! * inner;
    const data = allocate(type!.dtype, sizeOf(type!.dims));
    let begin = 0;
    for (const operand of operands) {
      const span = operand.type.dims[resolved]! * inner;
      for (let outer = 0; outer * span < operand.data.length; outer++) {
        data.set(operand.data.subarray(outer * span, (outer + 1) * span), outer * stride + begin);
      }
      begin += span;
    }
    return [{ type: type!, data }];
  },
  gradient({ operands, attributes: { axis }, gradients: [g], emit }) {
    let start = 0;
    return operands.map(({ type }) => {
      const size = type.dims.at(axis) as number;
      const part = emit.one("slice", [g!], { axis, start, size });
      start += size;
      return part;
    });
  },
};

function joinedEncoding(operands: readonly TensorType[], axis: number, site: Site): Encoding | undefined {
  const kind = operands[0]!.encoding?.kind;
  if (operands.some((operand) => operand.encoding?.kind !== kind)) site.dtype("operands of one encoding");
  if (!kind) return undefined;
  if (axis !== 0 || operands[0]!.dims.length !== 2)
    site.attribute("axis 0 for encoded weights [N, K]", `axis ${axis}`);
  if (kind === "int8") return { kind, scale: "row" };
  const scales = operands.map((operand) => operand.encoding!.scale);
  const grouped = scales.find((scale) => typeof scale === "object");
  if (!grouped) return { kind, scale: "row" };
  if (!scales.every((scale) => sameScale(scale, grouped))) site.dtype("ternary weights of one group size");
  return { kind, scale: grouped };
}

/** The scales of a weight at the granularity of the join. */
function stackedScales(weight: Tensor, scale: ScaleGranularity): Float32Array {
  if (scale === "row" && weight.type.encoding!.scale === "tensor") {
    return new Float32Array(weight.type.dims[0]!).fill(weight.scales![0]!);
  }
  return weight.scales!;
}
