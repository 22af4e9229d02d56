import type { Tensor } from "../tensor.ts";
import { sizeOf } from "../tensor.ts";
import { sameDims } from "../types.ts";

/** Row-major strides of a shape, in elements. */
export function stridesOf(dims: readonly number[]): number[] {
  const strides = new Array<number>(dims.length).fill(1);
  for (let axis = dims.length - 2; axis >= 0; axis--) strides[axis] = strides[axis + 1]! * dims[axis + 1]!;
  return strides;
}

/** A function from an element's index in `target` to the element of `from` that broadcasts there. */
export function broadcastReader(from: Tensor, target: readonly number[]): (index: number) => number {
  const { data } = from;
  const { dims } = from.type;
  if (sameDims(dims, target)) return (index) => data[index]!;
  if (sizeOf(dims) === 1) return () => data[0]!;
  const targetStrides = stridesOf(target);
  const strides = stridesOf(dims);
  const axes = dims.map((dim, axis) => {
    const place = target.length - dims.length + axis;
    return { dim, stride: strides[axis]!, targetStride: targetStrides[place]! };
  });
  return (index) => {
    let offset = 0;
    for (const { dim, stride, targetStride } of axes) {
      offset += (Math.floor(index / targetStride) % dim) * stride;
    }
    return data[offset]!;
  };
}
