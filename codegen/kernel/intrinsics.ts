/**
 * The vocabulary of kernels written in TypeScript. A kernel is an ordinary exported function that uses these
 * types and intrinsics; `codegen/kernel/frontend.ts` reads its source into the kernel IR. Names of v128
 * intrinsics follow the WebAssembly SIMD proposal, each is one instruction on that target; those for GPU
 * kernels, at the end, follow WGSL.
 */
import { BitloomError } from "../../errors/index.ts";

/** Scalar types. They are aliases of number for the editor; the front end gives them their real meaning. */
export type i32 = number;
export type u32 = number;
export type i64 = number;
export type f32 = number;
export type f64 = number;
/** Storage-only element types: loads widen to i32 (i8, i16 sign-extend; u8, u16 zero-extend). */
export type i8 = number;
export type u8 = number;
export type i16 = number;
export type u16 = number;

declare const lanes: unique symbol;
/** A 128-bit vector; the intrinsic, not the type, says how its lanes are read. */
export interface v128 {
  readonly [lanes]: true;
}

declare const words: unique symbol;
/** Four 32-bit words that load and store as one access of 16 bytes. GPU kernels only. */
export interface u32x4 {
  readonly [words]: true;
  readonly x: u32;
  readonly y: u32;
  readonly z: u32;
  readonly w: u32;
}

/** Memory passed to a kernel, indexed in elements of T. `buffer[i]` loads, `buffer[i] = x` stores. */
export interface Buffer<T extends number | u32x4 = number> {
  [index: number]: T;
}

/** A compile-time parameter record: the first parameter of a template. Its fields are constants or functions. */
export type Static<T> = T;

/** An array of locals; every index must be a compile-time constant after unrolling. */
export interface Registers<T> {
  [index: number]: T;
}

function outsideKernel(name: string): never {
  throw new BitloomError("KERNEL_SYNTAX", `${name} has no meaning outside a compiled kernel`);
}

/** `for (const r of unroll(4))`: the body is repeated with r = 0, 1, 2, 3 as constants. */
export function unroll(_count: number): Iterable<number> {
  return outsideKernel("unroll");
}
/** `registers(4, f32x4.splat(0))`: four locals with the same initial value. */
export function registers<T>(_count: number, _initial: T): Registers<T> {
  return outsideKernel("registers");
}
/** Reinterprets bits. */
export const bits = {
  f32ToI32: (_x: f32): i32 => outsideKernel("bits.f32ToI32"),
  i32ToF32: (_x: i32): f32 => outsideKernel("bits.i32ToF32"),
  f32ToU32: (_x: f32): u32 => outsideKernel("bits.f32ToU32"),
  u32ToF32: (_x: u32): f32 => outsideKernel("bits.u32ToF32"),
};
/** Numeric conversions. Between i32 and u32 the bits stay. */
export const convert = {
  i32ToF32: (_x: i32): f32 => outsideKernel("convert.i32ToF32"),
  i32ToF64: (_x: i32): f64 => outsideKernel("convert.i32ToF64"),
  f32ToF64: (_x: f32): f64 => outsideKernel("convert.f32ToF64"),
  f64ToF32: (_x: f64): f32 => outsideKernel("convert.f64ToF32"),
  /** Truncates toward zero and saturates; NaN gives 0. */
  f32ToI32: (_x: f32): i32 => outsideKernel("convert.f32ToI32"),
  u32ToF32: (_x: u32): f32 => outsideKernel("convert.u32ToF32"),
  i32ToU32: (_x: i32): u32 => outsideKernel("convert.i32ToU32"),
  u32ToI32: (_x: u32): i32 => outsideKernel("convert.u32ToI32"),
};
/** Scalar float functions that are single instructions. */
export const math = {
  sqrt: (_x: f32): f32 => outsideKernel("math.sqrt"),
  abs: (_x: f32): f32 => outsideKernel("math.abs"),
  /** Round half to even. */
  nearest: (_x: f32): f32 => outsideKernel("math.nearest"),
  floor: (_x: f32): f32 => outsideKernel("math.floor"),
  min: (_a: f32, _b: f32): f32 => outsideKernel("math.min"),
  max: (_a: f32, _b: f32): f32 => outsideKernel("math.max"),
};
/** `select(condition, a, b)` without a branch. */
export function select<T>(_condition: boolean, _a: T, _b: T): T {
  return outsideKernel("select");
}

/** Bitwise operations, and loads and stores at an element index of the buffer. */
export const v128 = {
  load: (_a: Buffer, _b: i32): v128 => outsideKernel("v128.load"),
  store: (_a: Buffer, _b: i32, _c: v128): void => outsideKernel("v128.store"),
  load8Splat: (_a: Buffer, _b: i32): v128 => outsideKernel("v128.load8Splat"),
  load16Splat: (_a: Buffer, _b: i32): v128 => outsideKernel("v128.load16Splat"),
  load32Splat: (_a: Buffer, _b: i32): v128 => outsideKernel("v128.load32Splat"),
  load64Splat: (_a: Buffer, _b: i32): v128 => outsideKernel("v128.load64Splat"),
  load32Zero: (_a: Buffer, _b: i32): v128 => outsideKernel("v128.load32Zero"),
  load64Zero: (_a: Buffer, _b: i32): v128 => outsideKernel("v128.load64Zero"),
  and: (_a: v128, _b: v128): v128 => outsideKernel("v128.and"),
  or: (_a: v128, _b: v128): v128 => outsideKernel("v128.or"),
  xor: (_a: v128, _b: v128): v128 => outsideKernel("v128.xor"),
  andnot: (_a: v128, _b: v128): v128 => outsideKernel("v128.andnot"),
  not: (_a: v128): v128 => outsideKernel("v128.not"),
  bitselect: (_a: v128, _b: v128, _c: v128): v128 => outsideKernel("v128.bitselect"),
  anyTrue: (_a: v128): boolean => outsideKernel("v128.anyTrue"),
};
export const i8x16 = {
  splat: (_a: i32): v128 => outsideKernel("i8x16.splat"),
  add: (_a: v128, _b: v128): v128 => outsideKernel("i8x16.add"),
  sub: (_a: v128, _b: v128): v128 => outsideKernel("i8x16.sub"),
  neg: (_a: v128): v128 => outsideKernel("i8x16.neg"),
  abs: (_a: v128): v128 => outsideKernel("i8x16.abs"),
  minS: (_a: v128, _b: v128): v128 => outsideKernel("i8x16.minS"),
  minU: (_a: v128, _b: v128): v128 => outsideKernel("i8x16.minU"),
  maxS: (_a: v128, _b: v128): v128 => outsideKernel("i8x16.maxS"),
  maxU: (_a: v128, _b: v128): v128 => outsideKernel("i8x16.maxU"),
  eq: (_a: v128, _b: v128): v128 => outsideKernel("i8x16.eq"),
  ne: (_a: v128, _b: v128): v128 => outsideKernel("i8x16.ne"),
  ltS: (_a: v128, _b: v128): v128 => outsideKernel("i8x16.ltS"),
  gtS: (_a: v128, _b: v128): v128 => outsideKernel("i8x16.gtS"),
  gtU: (_a: v128, _b: v128): v128 => outsideKernel("i8x16.gtU"),
  shl: (_a: v128, _b: i32): v128 => outsideKernel("i8x16.shl"),
  shrS: (_a: v128, _b: i32): v128 => outsideKernel("i8x16.shrS"),
  shrU: (_a: v128, _b: i32): v128 => outsideKernel("i8x16.shrU"),
  narrowI16x8S: (_a: v128, _b: v128): v128 => outsideKernel("i8x16.narrowI16x8S"),
  narrowI16x8U: (_a: v128, _b: v128): v128 => outsideKernel("i8x16.narrowI16x8U"),
  popcnt: (_a: v128): v128 => outsideKernel("i8x16.popcnt"),
  swizzle: (_a: v128, _b: v128): v128 => outsideKernel("i8x16.swizzle"),
  extractLaneS: (_a: v128, _b: number): i32 => outsideKernel("i8x16.extractLaneS"),
  extractLaneU: (_a: v128, _b: number): i32 => outsideKernel("i8x16.extractLaneU"),
  replaceLane: (_a: v128, _b: number, _c: i32): v128 => outsideKernel("i8x16.replaceLane"),
  bitmask: (_a: v128): i32 => outsideKernel("i8x16.bitmask"),
  allTrue: (_a: v128): boolean => outsideKernel("i8x16.allTrue"),
};
/** `shuffle(a, b, 0, 1, …)`: sixteen constant byte indices, 0..15 from a and 16..31 from b. */
export function shuffle(_a: v128, _b: v128, ..._bytes: number[]): v128 {
  return outsideKernel("shuffle");
}
export const i16x8 = {
  splat: (_a: i32): v128 => outsideKernel("i16x8.splat"),
  add: (_a: v128, _b: v128): v128 => outsideKernel("i16x8.add"),
  sub: (_a: v128, _b: v128): v128 => outsideKernel("i16x8.sub"),
  mul: (_a: v128, _b: v128): v128 => outsideKernel("i16x8.mul"),
  neg: (_a: v128): v128 => outsideKernel("i16x8.neg"),
  abs: (_a: v128): v128 => outsideKernel("i16x8.abs"),
  minS: (_a: v128, _b: v128): v128 => outsideKernel("i16x8.minS"),
  maxS: (_a: v128, _b: v128): v128 => outsideKernel("i16x8.maxS"),
  eq: (_a: v128, _b: v128): v128 => outsideKernel("i16x8.eq"),
  gtS: (_a: v128, _b: v128): v128 => outsideKernel("i16x8.gtS"),
  shl: (_a: v128, _b: i32): v128 => outsideKernel("i16x8.shl"),
  shrS: (_a: v128, _b: i32): v128 => outsideKernel("i16x8.shrS"),
  shrU: (_a: v128, _b: i32): v128 => outsideKernel("i16x8.shrU"),
  narrowI32x4S: (_a: v128, _b: v128): v128 => outsideKernel("i16x8.narrowI32x4S"),
  narrowI32x4U: (_a: v128, _b: v128): v128 => outsideKernel("i16x8.narrowI32x4U"),
  extendLowI8x16S: (_a: v128): v128 => outsideKernel("i16x8.extendLowI8x16S"),
  extendHighI8x16S: (_a: v128): v128 => outsideKernel("i16x8.extendHighI8x16S"),
  extendLowI8x16U: (_a: v128): v128 => outsideKernel("i16x8.extendLowI8x16U"),
  extendHighI8x16U: (_a: v128): v128 => outsideKernel("i16x8.extendHighI8x16U"),
  extmulLowI8x16S: (_a: v128, _b: v128): v128 => outsideKernel("i16x8.extmulLowI8x16S"),
  extmulHighI8x16S: (_a: v128, _b: v128): v128 => outsideKernel("i16x8.extmulHighI8x16S"),
  extaddPairwiseI8x16S: (_a: v128): v128 => outsideKernel("i16x8.extaddPairwiseI8x16S"),
  extaddPairwiseI8x16U: (_a: v128): v128 => outsideKernel("i16x8.extaddPairwiseI8x16U"),
  load8x8S: (_a: Buffer, _b: i32): v128 => outsideKernel("i16x8.load8x8S"),
  load8x8U: (_a: Buffer, _b: i32): v128 => outsideKernel("i16x8.load8x8U"),
  extractLaneS: (_a: v128, _b: number): i32 => outsideKernel("i16x8.extractLaneS"),
  extractLaneU: (_a: v128, _b: number): i32 => outsideKernel("i16x8.extractLaneU"),
  replaceLane: (_a: v128, _b: number, _c: i32): v128 => outsideKernel("i16x8.replaceLane"),
};
export const i32x4 = {
  splat: (_a: i32): v128 => outsideKernel("i32x4.splat"),
  add: (_a: v128, _b: v128): v128 => outsideKernel("i32x4.add"),
  sub: (_a: v128, _b: v128): v128 => outsideKernel("i32x4.sub"),
  mul: (_a: v128, _b: v128): v128 => outsideKernel("i32x4.mul"),
  neg: (_a: v128): v128 => outsideKernel("i32x4.neg"),
  abs: (_a: v128): v128 => outsideKernel("i32x4.abs"),
  minS: (_a: v128, _b: v128): v128 => outsideKernel("i32x4.minS"),
  minU: (_a: v128, _b: v128): v128 => outsideKernel("i32x4.minU"),
  maxS: (_a: v128, _b: v128): v128 => outsideKernel("i32x4.maxS"),
  maxU: (_a: v128, _b: v128): v128 => outsideKernel("i32x4.maxU"),
  eq: (_a: v128, _b: v128): v128 => outsideKernel("i32x4.eq"),
  ne: (_a: v128, _b: v128): v128 => outsideKernel("i32x4.ne"),
  gtS: (_a: v128, _b: v128): v128 => outsideKernel("i32x4.gtS"),
  gtU: (_a: v128, _b: v128): v128 => outsideKernel("i32x4.gtU"),
  ltS: (_a: v128, _b: v128): v128 => outsideKernel("i32x4.ltS"),
  shl: (_a: v128, _b: i32): v128 => outsideKernel("i32x4.shl"),
  shrS: (_a: v128, _b: i32): v128 => outsideKernel("i32x4.shrS"),
  shrU: (_a: v128, _b: i32): v128 => outsideKernel("i32x4.shrU"),
  dotI16x8S: (_a: v128, _b: v128): v128 => outsideKernel("i32x4.dotI16x8S"),
  extendLowI16x8S: (_a: v128): v128 => outsideKernel("i32x4.extendLowI16x8S"),
  extendHighI16x8S: (_a: v128): v128 => outsideKernel("i32x4.extendHighI16x8S"),
  extendLowI16x8U: (_a: v128): v128 => outsideKernel("i32x4.extendLowI16x8U"),
  extendHighI16x8U: (_a: v128): v128 => outsideKernel("i32x4.extendHighI16x8U"),
  extaddPairwiseI16x8S: (_a: v128): v128 => outsideKernel("i32x4.extaddPairwiseI16x8S"),
  extaddPairwiseI16x8U: (_a: v128): v128 => outsideKernel("i32x4.extaddPairwiseI16x8U"),
  truncSatF32x4S: (_a: v128): v128 => outsideKernel("i32x4.truncSatF32x4S"),
  load16x4S: (_a: Buffer, _b: i32): v128 => outsideKernel("i32x4.load16x4S"),
  load16x4U: (_a: Buffer, _b: i32): v128 => outsideKernel("i32x4.load16x4U"),
  extractLane: (_a: v128, _b: number): i32 => outsideKernel("i32x4.extractLane"),
  replaceLane: (_a: v128, _b: number, _c: i32): v128 => outsideKernel("i32x4.replaceLane"),
  bitmask: (_a: v128): i32 => outsideKernel("i32x4.bitmask"),
  relaxedDotI8x16I7x16AddS: (_a: v128, _b: v128, _c: v128): v128 =>
    outsideKernel("i32x4.relaxedDotI8x16I7x16AddS"),
};
export const f32x4 = {
  splat: (_a: f32): v128 => outsideKernel("f32x4.splat"),
  add: (_a: v128, _b: v128): v128 => outsideKernel("f32x4.add"),
  sub: (_a: v128, _b: v128): v128 => outsideKernel("f32x4.sub"),
  mul: (_a: v128, _b: v128): v128 => outsideKernel("f32x4.mul"),
  div: (_a: v128, _b: v128): v128 => outsideKernel("f32x4.div"),
  neg: (_a: v128): v128 => outsideKernel("f32x4.neg"),
  abs: (_a: v128): v128 => outsideKernel("f32x4.abs"),
  sqrt: (_a: v128): v128 => outsideKernel("f32x4.sqrt"),
  min: (_a: v128, _b: v128): v128 => outsideKernel("f32x4.min"),
  max: (_a: v128, _b: v128): v128 => outsideKernel("f32x4.max"),
  pmin: (_a: v128, _b: v128): v128 => outsideKernel("f32x4.pmin"),
  pmax: (_a: v128, _b: v128): v128 => outsideKernel("f32x4.pmax"),
  nearest: (_a: v128): v128 => outsideKernel("f32x4.nearest"),
  floor: (_a: v128): v128 => outsideKernel("f32x4.floor"),
  eq: (_a: v128, _b: v128): v128 => outsideKernel("f32x4.eq"),
  lt: (_a: v128, _b: v128): v128 => outsideKernel("f32x4.lt"),
  gt: (_a: v128, _b: v128): v128 => outsideKernel("f32x4.gt"),
  le: (_a: v128, _b: v128): v128 => outsideKernel("f32x4.le"),
  ge: (_a: v128, _b: v128): v128 => outsideKernel("f32x4.ge"),
  convertI32x4S: (_a: v128): v128 => outsideKernel("f32x4.convertI32x4S"),
  convertI32x4U: (_a: v128): v128 => outsideKernel("f32x4.convertI32x4U"),
  demoteF64x2Zero: (_a: v128): v128 => outsideKernel("f32x4.demoteF64x2Zero"),
  extractLane: (_a: v128, _b: number): f32 => outsideKernel("f32x4.extractLane"),
  replaceLane: (_a: v128, _b: number, _c: f32): v128 => outsideKernel("f32x4.replaceLane"),
};
export const f64x2 = {
  splat: (_a: f64): v128 => outsideKernel("f64x2.splat"),
  add: (_a: v128, _b: v128): v128 => outsideKernel("f64x2.add"),
  sub: (_a: v128, _b: v128): v128 => outsideKernel("f64x2.sub"),
  mul: (_a: v128, _b: v128): v128 => outsideKernel("f64x2.mul"),
  div: (_a: v128, _b: v128): v128 => outsideKernel("f64x2.div"),
  abs: (_a: v128): v128 => outsideKernel("f64x2.abs"),
  promoteLowF32x4: (_a: v128): v128 => outsideKernel("f64x2.promoteLowF32x4"),
  extractLane: (_a: v128, _b: number): f64 => outsideKernel("f64x2.extractLane"),
  replaceLane: (_a: v128, _b: number, _c: f64): v128 => outsideKernel("f64x2.replaceLane"),
};
export const i64x2 = {
  splat: (_a: i64): v128 => outsideKernel("i64x2.splat"),
  add: (_a: v128, _b: v128): v128 => outsideKernel("i64x2.add"),
  sub: (_a: v128, _b: v128): v128 => outsideKernel("i64x2.sub"),
};

// GPU kernels: templates/gpu. Such a kernel has no `begin, end`; it runs once for each invocation of each
// workgroup, and its option `workgroupSize` says how many invocations a workgroup has.

/** A 32-bit scalar: f32, i32 or u32. A signature that says it more than once means the same one. */
export type word = number;

/** Memory that the invocations of one workgroup share; its content is undefined when the kernel starts. */
export interface Shared<T extends number | u32x4 = number> {
  [index: number]: T;
}
/** `const tile = shared<f32>(256)`: the length is a compile-time constant, elements are f32, i32, u32 or u32x4. */
export function shared<T extends number | u32x4>(_length: number): Shared<T> {
  return outsideKernel("shared");
}

/** Which workgroup this is along the grid's first axis. */
export const workgroupId = (): i32 => outsideKernel("workgroupId");
/** The same along the second axis. */
export const workgroupIdY = (): i32 => outsideKernel("workgroupIdY");
/** How many workgroups the grid has along its first axis: the stride of a loop over more work than that. */
export const workgroupCount = (): i32 => outsideKernel("workgroupCount");
/** Which invocation of its workgroup this is. */
export const localId = (): i32 => outsideKernel("localId");

/**
 * Waits until every invocation of the workgroup is here; what they stored in shared memory before is visible
 * after. Must be reached by all or none: not under a condition that differs within the workgroup, including
 * one that depends on a buffer the kernel also writes.
 */
export const workgroupBarrier = (): void => outsideKernel("workgroupBarrier");
/** `array[index]` for all invocations alike, between two barriers; conditions on it may guard barriers. */
export const workgroupUniformLoad = (_a: Shared, _b: i32): word => outsideKernel("workgroupUniformLoad");

/**
 * Invocations of a workgroup that run in lockstep: a subgroup or warp of `subgroupSize()`, a power of two that
 * differs from device to device (4 to 128). Subgroup s holds the local ids from s * subgroupSize() on. What
 * combines them must be reached by all or none of a subgroup.
 */
export const subgroupSize = (): i32 => outsideKernel("subgroupSize");
export const subgroupId = (): i32 => outsideKernel("subgroupId");
/** Which invocation of its subgroup this is. */
export const subgroupLane = (): i32 => outsideKernel("subgroupLane");
/** The sum over the subgroup; of f32 in an order the device chooses. */
export const subgroupAdd = (_x: word): word => outsideKernel("subgroupAdd");
export const subgroupMax = (_x: word): word => outsideKernel("subgroupMax");
export const subgroupMin = (_x: word): word => outsideKernel("subgroupMin");
/** The value that the invocation `lane ^ mask` has. */
export const subgroupShuffleXor = (_x: word, _mask: u32): word => outsideKernel("subgroupShuffleXor");
/** The value that a constant lane has. */
export const subgroupBroadcast = (_x: word, _lane: number): word => outsideKernel("subgroupBroadcast");

/**
 * Sums and the products of 16 rows with 8 columns of 32 signed bytes each, exact and wrapping, by the 32 lanes of an
 * NVIDIA warp together. Lane 4 g + t gives bytes 4 t to 4 t + 3 of row g, of row g + 8, and bytes 16 + 4 t on of both;
 * of column g the same bytes; and has the sums of columns 2 t and 2 t + 1 in row g, then in row g + 8, as their bits.
 */
export const subgroupMatrixMultiply = (_rows: u32x4, _low: u32, _high: u32, _sums: u32x4): u32x4 =>
  outsideKernel("subgroupMatrixMultiply");

/** Four products of signed bytes, summed: exact. Where the device lacks the instruction it is spelled out. */
export const dot4I8Packed = (_a: u32, _b: u32): i32 => outsideKernel("dot4I8Packed");
/** 1 / sqrt(x) within 2 ulp. */
export const inverseSqrt = (_x: f32): f32 => outsideKernel("inverseSqrt");

export const u32x4 = (_x: u32, _y: u32, _z: u32, _w: u32): u32x4 => outsideKernel("u32x4");
/** Component 0, 1, 2 or 3; the same as `.x`, `.y`, `.z` or `.w`. */
export const component = (_a: u32x4, _b: number): u32 => outsideKernel("component");
