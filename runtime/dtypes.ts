import type { TensorSlot } from "./manifest.ts";

export type DType = TensorSlot["dtype"];

/** The typed array that holds each dtype; f16 and bf16 travel as their bits. */
export const arrays = {
  f32: Float32Array,
  f16: Uint16Array,
  bf16: Uint16Array,
  i8: Int8Array,
  u8: Uint8Array,
  i32: Int32Array,
  u32: Uint32Array,
} as const satisfies Record<DType, unknown>;

export type TypedArrayOf<D extends DType> = InstanceType<(typeof arrays)[D]>;
export type TypedArray = TypedArrayOf<DType>;
