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

/** Every element type, in the order documentation lists them. */
export const dtypes: readonly DType[] = ["f32", "f16", "bf16", "i8", "u8", "i32", "u32", "bool"];

/** Bytes of one element in memory. */
export function elementBytes(dtype: DType): number {
  switch (dtype) {
    case "f32":
    case "i32":
    case "u32":
      return 4;
    case "f16":
    case "bf16":
      return 2;
    case "i8":
    case "u8":
    case "bool":
      return 1;
  }
}

/** What a symbol may be called; dims print as bare words. */
export const symbolPattern = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** A dense (not encoded) type. */
export function dense(dtype: DType, dims: readonly Dim[]): TensorType {
  return { dtype, dims };
}

/** A quantized weight of logical dtype f32. */
export function encoded(dims: readonly Dim[], encoding: Encoding): TensorType {
  return { dtype: "f32", dims, encoding };
}

/** Why a type cannot be, or undefined: dims are positive integers or declared symbols, encodings are of weights. */
export function typeProblem(type: TensorType, isSymbol: (name: string) => boolean): string | undefined {
  if (!dtypes.includes(type.dtype)) return `an unknown dtype ${type.dtype}`;
  for (const dim of type.dims) {
    if (typeof dim === "string" ? !isSymbol(dim) : !Number.isSafeInteger(dim) || dim < 1) {
      return `dimension ${dim}, which is neither a positive integer nor a declared symbol`;
    }
  }
  if (type.encoding && (type.dtype !== "f32" || type.dims.length !== 2)) {
    return `an encoding, which only weights f32 [N, K] have`;
  }
  return undefined;
}

/** `[batch, 256]` */
export function formatDims(dims: readonly Dim[]): string {
  return `[${dims.join(", ")}]`;
}

/** `ternary(row)`, `ternary(group 64)`, `int8(row)` */
export function formatEncoding(encoding: Encoding): string {
  const { kind, scale } = encoding;
  return `${kind}(${typeof scale === "string" ? scale : `group ${scale.group}`})`;
}

/** `f32[batch, 256]`, `f32[256, 688] ternary(row)` */
export function formatType(type: TensorType): string {
  const base = `${type.dtype}${formatDims(type.dims)}`;
  return type.encoding ? `${base} ${formatEncoding(type.encoding)}` : base;
}

export function sameDims(a: readonly Dim[], b: readonly Dim[]): boolean {
  return a.length === b.length && a.every((dim, axis) => dim === b[axis]);
}

export function sameScale(a: ScaleGranularity, b: ScaleGranularity): boolean {
  if (typeof a === "string" || typeof b === "string") return a === b;
  return a.group === b.group;
}

export function sameEncoding(a: Encoding | undefined, b: Encoding | undefined): boolean {
  if (!a || !b) return a === b;
  return a.kind === b.kind && sameScale(a.scale, b.scale);
}

export function sameType(a: TensorType, b: TensorType): boolean {
  return a.dtype === b.dtype && sameDims(a.dims, b.dims) && sameEncoding(a.encoding, b.encoding);
}

/**
 * The numpy broadcast of several shapes: aligned at the last axis, an axis of 1 stretches. A symbol only meets
 * itself or 1. Undefined when they do not fit.
 */
export function broadcast(...shapes: (readonly Dim[])[]): readonly Dim[] | undefined {
  const rank = Math.max(0, ...shapes.map((dims) => dims.length));
  const result: Dim[] = new Array<Dim>(rank).fill(1);
  for (const dims of shapes) {
    for (const [axis, dim] of dims.entries()) {
      const target = rank - dims.length + axis;
      if (dim === 1 || dim === result[target]) continue;
      if (result[target] !== 1) return undefined;
      result[target] = dim;
    }
  }
  return result;
}

/** Whether `dims` broadcasts to exactly `target`. */
export function broadcastsTo(dims: readonly Dim[], target: readonly Dim[]): boolean {
  const result = broadcast(dims, target);
  return result !== undefined && sameDims(result, target);
}

/** A number of elements: `literal` times the product of `symbols` (sorted, repeated for powers). */
export interface ElementCount {
  readonly literal: number;
  readonly symbols: readonly string[];
}

export function elementCount(dims: readonly Dim[]): ElementCount {
  let literal = 1;
  const symbols: string[] = [];
  for (const dim of dims) {
    if (typeof dim === "number") literal *= dim;
    else symbols.push(dim);
  }
  return { literal, symbols: symbols.sort() };
}

/** The dims with every symbol replaced by its value; a symbol without one stays. */
export function substituteDims(dims: readonly Dim[], values: ReadonlyMap<string, number>): readonly Dim[] {
  return dims.map((dim) => (typeof dim === "string" ? (values.get(dim) ?? dim) : dim));
}

/** How many scales a weight [n, k] of this granularity carries. */
export function scaleCount(scale: ScaleGranularity, n: number, k: number): number {
  if (scale === "tensor") return 1;
  return scale === "row" ? n : n * Math.ceil(k / scale.group);
}
