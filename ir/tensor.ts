import { BitloomError } from "../errors/index.ts";
import type { DType, TensorType } from "./types.ts";
import { formatType, scaleCount } from "./types.ts";

/** A tensor type whose symbols are bound. */
export interface ConcreteType extends TensorType {
  readonly dims: readonly number[];
}

export type TensorData = Float32Array | Uint16Array | Int8Array | Uint8Array | Int32Array | Uint32Array;

/**
 * A tensor in memory, row-major and contiguous. f16 and bf16 are held as their 16 bits, bool as 0 or 1.
 * An encoded weight holds its codes (one Int8 each) in `data` and its multiplicative f32 scales in `scales`:
 * [1], [N], or [N, ceil(K / group)].
 */
export interface Tensor {
  readonly type: ConcreteType;
  readonly data: TensorData;
  readonly scales?: Float32Array;
}

/** The number of elements of a concrete shape. */
export function sizeOf(dims: readonly number[]): number {
  return dims.reduce((product, dim) => product * dim, 1);
}

/** A zeroed array for elements of this dtype. */
export function allocate(dtype: DType, size: number): TensorData {
  switch (dtype) {
    case "f32":
      return new Float32Array(size);
    case "f16":
    case "bf16":
      return new Uint16Array(size);
    case "i8":
      return new Int8Array(size);
    case "u8":
    case "bool":
      return new Uint8Array(size);
    case "i32":
      return new Int32Array(size);
    case "u32":
      return new Uint32Array(size);
  }
}

/** A zeroed tensor of a dense or encoded type. */
export function zeros(type: ConcreteType): Tensor {
  const size = sizeOf(type.dims);
  if (!type.encoding) return { type, data: allocate(type.dtype, size) };
  const [n = 0, k = 0] = type.dims;
  return { type, data: new Int8Array(size), scales: new Float32Array(scaleCount(type.encoding.scale, n, k)) };
}

/** A dense tensor from numbers in row-major order; each is rounded to the dtype (f16 and bf16 to nearest even). */
export function tensor(dtype: DType, dims: readonly number[], values: ArrayLike<number>): Tensor {
  const type: ConcreteType = { dtype, dims };
  if (values.length !== sizeOf(dims)) {
    throw new BitloomError("INVALID_INPUT", `A tensor ${formatType(type)} needs as many values as elements`, {
      expected: `${sizeOf(dims)} values`,
      received: `${values.length} values`,
    });
  }
  const data = allocate(dtype, values.length);
  if (dtype === "f16") for (let i = 0; i < values.length; i++) data[i] = f32ToF16(values[i]!);
  else if (dtype === "bf16") for (let i = 0; i < values.length; i++) data[i] = f32ToBf16(values[i]!);
  else data.set(values);
  return { type, data };
}

/** An encoded weight [N, K] from its codes and scales. */
export function encodedTensor(type: ConcreteType, codes: Int8Array, scales: Float32Array): Tensor {
  const [n = 0, k = 0] = type.dims;
  const count = type.encoding ? scaleCount(type.encoding.scale, n, k) : 0;
  if (codes.length !== n * k || scales.length !== count) {
    throw new BitloomError("INVALID_TENSOR", `Codes or scales do not fit ${formatType(type)}`, {
      expected: `${n * k} codes and ${count} scales`,
      received: `${codes.length} codes and ${scales.length} scales`,
    });
  }
  return { type, data: codes, scales };
}

/**
 * The elements as f32 numbers: f16 and bf16 widened, encoded weights as RN(code * scale), integers converted.
 * An f32 tensor's own array is returned, not a copy.
 */
export function toFloat32(from: Tensor): Float32Array {
  const { data, type } = from;
  if (data instanceof Float32Array) return data;
  const out = new Float32Array(data.length);
  if (type.encoding) {
    const [n = 0, k = 0] = type.dims;
    for (let row = 0; row < n; row++)
      for (let column = 0; column < k; column++)
        out[row * k + column] = data[row * k + column]! * scaleAt(from, row, column);
  } else if (type.dtype === "f16") for (let i = 0; i < data.length; i++) out[i] = f16ToF32(data[i]!);
  else if (type.dtype === "bf16") for (let i = 0; i < data.length; i++) out[i] = bf16ToF32(data[i]!);
  else out.set(data);
  return out;
}

/** The scale of one element of an encoded weight. */
export function scaleAt(weight: Tensor, row: number, column: number): number {
  const { scale } = weight.type.encoding!;
  if (scale === "tensor") return weight.scales![0]!;
  if (scale === "row") return weight.scales![row]!;
  return weight.scales![
    row * Math.ceil(weight.type.dims[1]! / scale.group) + Math.floor(column / scale.group)
  ]!;
}

const word = new DataView(new ArrayBuffer(4));

/** The IEEE bits of RN(value). */
export function f32Bits(value: number): number {
  word.setFloat32(0, value);
  return word.getUint32(0);
}

/** The f32 with these bits. */
export function f32FromBits(bits: number): number {
  word.setUint32(0, bits);
  return word.getFloat32(0);
}

/** Widen a binary16; exact. */
export function f16ToF32(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Round an f32 to the nearest binary16, ties to even; beyond 65519 becomes infinity. */
export function f32ToF16(value: number): number {
  const bits = f32Bits(value);
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    // Subnormal: a multiple of 2^-24, and the scaling is exact.
    return sign | roundHalfEven(f32FromBits(magnitude) * 2 ** 24);
  }
  const rebiased = magnitude - (112 << 23);
  const odd = (rebiased >> 13) & 1;
  return sign | ((rebiased + 0xfff + odd) >> 13);
}

/** Widen a bfloat16; exact. */
export function bf16ToF32(bits: number): number {
  return f32FromBits((bits << 16) >>> 0);
}

/** Round an f32 to the nearest bfloat16, ties to even. */
export function f32ToBf16(value: number): number {
  const bits = f32Bits(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  const odd = (bits >>> 16) & 1;
  return ((bits + 0x7fff + odd) >>> 16) & 0xffff;
}

/** Round to the nearest integer, ties to even. `Math.round` sends ties up, so it is never right here. */
export function roundHalfEven(value: number): number {
  const below = Math.floor(value);
  const distance = value - below;
  if (distance < 0.5) return below;
  if (distance > 0.5) return below + 1;
  return below % 2 === 0 ? below : below + 1;
}
