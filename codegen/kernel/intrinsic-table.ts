/**
 * What every intrinsic of `intrinsics.ts` takes, gives and is called on each target. One row each; a test
 * holds the table and the vocabulary together.
 */
import type { Expr, StorageType, ValueType } from "./ir.ts";

/** `word` is f32, i32 or u32: the same one wherever one row says it, the element's for a memory intrinsic. */
export type WordOr<T> = T | "word";

export interface Intrinsic {
  /** As written in a kernel: `i32x4.dotI16x8S`. */
  readonly name: string;
  /** Types of the run-time arguments. For a memory intrinsic: the element index, then the value stored. */
  readonly parameters: readonly WordOr<ValueType>[];
  readonly result: WordOr<ValueType | "void">;
  /** What it takes ahead of its arguments: a buffer, or memory shared by the workgroup. */
  readonly memory: "buffer" | "shared" | undefined;
  /** Constant arguments: where they start among the source's arguments, how many, and their bound. */
  readonly immediates: { readonly start: number; readonly count: number; readonly below: number };
  /** A numeric conversion, which the kernel IR has as an expression of its own. */
  readonly conversion: boolean;
  /** Means something only where workgroups run the kernel. */
  readonly workgroup: boolean;
  /** The WebAssembly instruction; conversions and what only GPU kernels use have none. */
  readonly wat: string | undefined;
}

const noImmediates = { start: 0, count: 0, below: 0 };
const rows: Intrinsic[] = [];

/** `i16x8.extendLowI8x16S` -> `i16x8.extend_low_i8x16_s`. */
function instructionName(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function define(
  space: string,
  names: string,
  parameters: readonly ValueType[],
  result: ValueType | "void",
  extra: { memory?: "buffer"; immediates?: Intrinsic["immediates"]; conversion?: boolean; wat?: string } = {},
): void {
  for (const short of names.split(" ")) {
    const name = `${space}.${short}`;
    rows.push({
      name,
      parameters,
      result,
      memory: extra.memory,
      immediates: extra.immediates ?? noImmediates,
      conversion: extra.conversion ?? false,
      workgroup: false,
      wat: extra.conversion === true ? undefined : (extra.wat ?? instructionName(name)),
    });
  }
}

/** A scalar intrinsic whose instruction is not its own name. */
function scalar(name: string, parameters: readonly ValueType[], result: ValueType, wat: string): void {
  const [space, short] = name.split(".") as [string, string];
  define(space, short, parameters, result, { wat });
}
function conversion(name: string, from: ValueType, to: ValueType): void {
  const [space, short] = name.split(".") as [string, string];
  define(space, short, [from], to, { conversion: true });
}

scalar("bits.f32ToI32", ["f32"], "i32", "i32.reinterpret_f32");
scalar("bits.i32ToF32", ["i32"], "f32", "f32.reinterpret_i32");
scalar("bits.f32ToU32", ["f32"], "u32", "i32.reinterpret_f32");
scalar("bits.u32ToF32", ["u32"], "f32", "f32.reinterpret_i32");

conversion("convert.i32ToF32", "i32", "f32");
conversion("convert.i32ToF64", "i32", "f64");
conversion("convert.f32ToF64", "f32", "f64");
conversion("convert.f64ToF32", "f64", "f32");
conversion("convert.f32ToI32", "f32", "i32");
conversion("convert.u32ToF32", "u32", "f32");
conversion("convert.i32ToU32", "i32", "u32");
conversion("convert.u32ToI32", "u32", "i32");

for (const name of ["sqrt", "abs", "nearest", "floor"]) scalar(`math.${name}`, ["f32"], "f32", `f32.${name}`);
for (const name of ["min", "max"]) scalar(`math.${name}`, ["f32", "f32"], "f32", `f32.${name}`);

const unary = ["v128"] as const;
const binary = ["v128", "v128"] as const;
const shift = ["v128", "i32"] as const;
const atIndex = ["i32"] as const;
const memory = { memory: "buffer" } as const;
const lane = (lanes: number) => ({ immediates: { start: 1, count: 1, below: lanes } });

define(
  "v128",
  "load load8Splat load16Splat load32Splat load64Splat load32Zero load64Zero",
  atIndex,
  "v128",
  memory,
);
define("v128", "store", ["i32", "v128"], "void", memory);
define("v128", "and or xor andnot", binary, "v128");
define("v128", "not", unary, "v128");
define("v128", "bitselect", ["v128", "v128", "v128"], "v128");
define("v128", "anyTrue", unary, "bool");

rows.push({
  name: "shuffle",
  parameters: binary,
  result: "v128",
  memory: undefined,
  immediates: { start: 2, count: 16, below: 32 },
  conversion: false,
  workgroup: false,
  wat: "i8x16.shuffle",
});

define("i8x16", "splat", ["i32"], "v128");
define("i8x16", "add sub minS minU maxS maxU eq ne ltS gtS gtU", binary, "v128");
define("i8x16", "narrowI16x8S narrowI16x8U swizzle", binary, "v128");
define("i8x16", "neg abs popcnt", unary, "v128");
define("i8x16", "shl shrS shrU", shift, "v128");
define("i8x16", "extractLaneS extractLaneU", unary, "i32", lane(16));
define("i8x16", "replaceLane", ["v128", "i32"], "v128", lane(16));
define("i8x16", "bitmask", unary, "i32");
define("i8x16", "allTrue", unary, "bool");

define("i16x8", "splat", ["i32"], "v128");
define("i16x8", "add sub mul minS maxS eq gtS narrowI32x4S narrowI32x4U", binary, "v128");
define("i16x8", "extmulLowI8x16S extmulHighI8x16S", binary, "v128");
define("i16x8", "neg abs", unary, "v128");
define("i16x8", "extendLowI8x16S extendHighI8x16S extendLowI8x16U extendHighI8x16U", unary, "v128");
define("i16x8", "extaddPairwiseI8x16S extaddPairwiseI8x16U", unary, "v128");
define("i16x8", "shl shrS shrU", shift, "v128");
// These widen while they load, so the vocabulary files them under the lanes they give.
for (const [space, short] of ["i16x8.load8x8S", "i16x8.load8x8U", "i32x4.load16x4S", "i32x4.load16x4U"].map(
  (name) => name.split(".") as [string, string],
)) {
  define(space, short, atIndex, "v128", { ...memory, wat: instructionName(`v128.${short}`) });
}
define("i16x8", "extractLaneS extractLaneU", unary, "i32", lane(8));
define("i16x8", "replaceLane", ["v128", "i32"], "v128", lane(8));

define("i32x4", "splat", ["i32"], "v128");
define("i32x4", "add sub mul minS minU maxS maxU eq ne gtS gtU ltS dotI16x8S", binary, "v128");
define("i32x4", "neg abs", unary, "v128");
define("i32x4", "extendLowI16x8S extendHighI16x8S extendLowI16x8U extendHighI16x8U", unary, "v128");
define("i32x4", "extaddPairwiseI16x8S extaddPairwiseI16x8U truncSatF32x4S", unary, "v128");
define("i32x4", "shl shrS shrU", shift, "v128");
define("i32x4", "extractLane", unary, "i32", lane(4));
define("i32x4", "replaceLane", ["v128", "i32"], "v128", lane(4));
define("i32x4", "bitmask", unary, "i32");
define("i32x4", "relaxedDotI8x16I7x16AddS", ["v128", "v128", "v128"], "v128");

define("f32x4", "splat", ["f32"], "v128");
define("f32x4", "add sub mul div min max pmin pmax eq lt gt le ge", binary, "v128");
define("f32x4", "neg abs sqrt nearest floor", unary, "v128");
define("f32x4", "convertI32x4S convertI32x4U demoteF64x2Zero", unary, "v128");
define("f32x4", "extractLane", unary, "f32", lane(4));
define("f32x4", "replaceLane", ["v128", "f32"], "v128", lane(4));

define("f64x2", "splat", ["f64"], "v128");
define("f64x2", "add sub mul div", binary, "v128");
define("f64x2", "abs promoteLowF32x4", unary, "v128");
define("f64x2", "extractLane", unary, "f64", lane(2));
define("f64x2", "replaceLane", ["v128", "f64"], "v128", lane(2));

define("i64x2", "splat", ["i64"], "v128");
define("i64x2", "add sub", binary, "v128");

/** An intrinsic of GPU kernels. */
function gpu(
  name: string,
  parameters: Intrinsic["parameters"],
  result: Intrinsic["result"],
  extra: Partial<Pick<Intrinsic, "memory" | "immediates" | "workgroup">> = {},
): void {
  rows.push({
    name,
    parameters,
    result,
    memory: extra.memory,
    immediates: extra.immediates ?? noImmediates,
    conversion: false,
    workgroup: extra.workgroup ?? true,
    wat: undefined,
  });
}

for (const name of ["workgroupId", "workgroupIdY", "workgroupCount", "localId"]) gpu(name, [], "i32");
for (const name of ["subgroupSize", "subgroupId", "subgroupLane"]) gpu(name, [], "i32");
for (const name of ["subgroupAdd", "subgroupMax", "subgroupMin"]) gpu(name, ["word"], "word");
gpu("subgroupShuffleXor", ["word", "u32"], "word");
gpu("subgroupBroadcast", ["word"], "word", lane(128));
gpu("subgroupMatrixMultiply", ["u32x4", "u32", "u32", "u32x4"], "u32x4");
gpu("workgroupBarrier", [], "void");
gpu("workgroupUniformLoad", ["i32"], "word", { memory: "shared" });
gpu("dot4I8Packed", ["u32", "u32"], "i32", { workgroup: false });
gpu("inverseSqrt", ["f32"], "f32", { workgroup: false });
gpu("u32x4", ["u32", "u32", "u32", "u32"], "u32x4", { workgroup: false });
gpu("component", ["u32x4"], "u32", { ...lane(4), workgroup: false });

export const intrinsics: ReadonlyMap<string, Intrinsic> = new Map(rows.map((row) => [row.name, row]));

/** `i32x4`, `math`, …: what stands before the dot. */
export const intrinsicNamespaces: ReadonlySet<string> = new Set(
  rows.filter((row) => row.name.includes(".")).map((row) => row.name.slice(0, row.name.indexOf("."))),
);

/** The types of one call of a row, `word` being this type. */
export function typesOf(
  { parameters, result }: Intrinsic,
  word: ValueType,
): { readonly parameters: readonly ValueType[]; readonly result: Expr["type"] } {
  const actual = <T extends string>(type: WordOr<T>) => (type === "word" ? word : (type as T));
  return { parameters: parameters.map(actual), result: actual(result) };
}

export function isWord(type: Expr["type"] | StorageType): type is "f32" | "i32" | "u32" {
  return type === "f32" || type === "i32" || type === "u32";
}
