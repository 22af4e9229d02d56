/** Element types a tensor can have in the graph. */
export type DType = "f32" | "f16" | "bf16" | "i8" | "u8" | "i32" | "u32" | "bool";

/** A dimension is a literal number or a named symbol (`batch`, `seq`) bound when the graph runs. */
export type Dim = number | string;

/** How many scales a quantized weight [N, K] has: one, one a row, or one for each `group` columns of a row. */
export type ScaleGranularity = "tensor" | "row" | { readonly group: number };

/**
 * How a weight of logical dtype f32 and dims [N, K] is stored. Its value is always code * scale, so the
 * same `linear` takes any of them.
 * - `ternary`: codes in {-1, 0, +1}; f32 scales [1], [N] or [N, ceil(K / group)].
 * - `int8`: codes in -127..127; f32 scales, one a row.
 */
export type Encoding =
  | { readonly kind: "ternary"; readonly scale: ScaleGranularity }
  | { readonly kind: "int8"; readonly scale: "row" };

/** The type of a value: `f32[batch, seq, 256]`, or for an encoded weight `f32[256, 688] ternary(row)`. */
export interface TensorType {
  readonly dtype: DType;
  readonly dims: readonly Dim[];
  readonly encoding?: Encoding;
}
