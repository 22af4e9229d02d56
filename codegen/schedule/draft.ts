import type { Node, Value } from "../../ir/graph.ts";
import { type DType, elementBytes } from "../../ir/types.ts";
import type { Region, SymbolExpr } from "../../runtime/manifest.ts";
import type { KernelFunction, StorageType } from "../kernel/ir.ts";
import { elementCount, product } from "./symbols.ts";
import type { View } from "./view.ts";

export { elementBytes };

/**
 * A piece of memory that steps read and write, before it has an address. Arena pieces get theirs when every
 * step is known; one that turns out to be an output moves to the io region instead.
 */
export interface Storage {
  readonly name: string;
  region: Region;
  /** Byte offset in the region; arena pieces have none until the plan is finished. */
  offset: number | undefined;
  /** Size in bytes, with whatever padding and slack kernels rely on. */
  readonly bytes: SymbolExpr;
  /**
   * For activation codes: rows of this many columns are padded to a multiple of 64 with zeros and followed
   * by 64 bytes of slack, as ternary matmuls need.
   */
  readonly paddedColumns?: number;
}

export type Place = View<Storage>;

export interface BufferArgument {
  readonly kind: "buffer";
  readonly storage: Storage;
  readonly offset: SymbolExpr;
  /** How much of it the step touches. */
  readonly bytes: SymbolExpr;
  /** How much of that it writes; all of it if absent and the kernel writes. */
  readonly written?: SymbolExpr;
  /** How far from there the kernel may reach, in bytes; to the storage's end if absent. */
  readonly extent?: SymbolExpr;
}

export type DraftArgument =
  | BufferArgument
  | { readonly kind: "i32"; readonly value: SymbolExpr }
  | { readonly kind: "f32"; readonly value: number }
  | { readonly kind: "scratch" };

/** How the elements of a buffer of f32 are computed where they are read. */
export interface Computed {
  /** From what `arguments` are, and last the index of an element (i32), to its value. */
  readonly element: KernelFunction;
  readonly arguments: readonly DraftArgument[];
}

/** Workgroups along x and y. */
export type Grid = readonly [x: SymbolExpr, y: SymbolExpr];

/** What a step is for: a node, which may have taken others over, or the copy of an output or a next state to its place. */
export type StepOrigin =
  | { readonly kind: "node"; readonly node: Node }
  | { readonly kind: "output"; readonly name: string }
  | { readonly kind: "state"; readonly value: Value };

/** A step before its buffers have addresses. */
export interface DraftStep {
  readonly kernel: string;
  readonly arguments: readonly DraftArgument[];
  /** Items of a kernel over a range; workgroups along x of a kernel for workgroups. */
  readonly range: SymbolExpr;
  /** Workgroups along y. */
  readonly rangeY?: SymbolExpr;
  readonly guard?: { readonly value: SymbolExpr; readonly lower: number; readonly upper: number };
  readonly label: string;
  readonly origin: StepOrigin;
}

/** A kernel the schedule writes itself, and what to call it with. `begin` and `end` come last and unlisted. */
export interface GeneratedCall {
  /** Equal keys mean equal code. */
  readonly key: string;
  /** A readable name; made unique among kernels with other keys. */
  readonly name: string;
  /** The generator: `elementwise`, `reduction`, `movement`. */
  readonly template: string;
  readonly build: (name: string) => KernelFunction;
  readonly arguments: readonly DraftArgument[];
  readonly range: SymbolExpr;
}

/** How kernels see elements of a dtype; half floats are their 16 bits. */
export function storageType(dtype: DType): StorageType {
  if (dtype === "f16" || dtype === "bf16") return "u16";
  return dtype === "bool" ? "u8" : dtype;
}

/** A kernel argument that points at a place's first element. */
export function bufferArgument(place: Place): BufferArgument {
  // Axes with stride 0 repeat the same elements.
  const distinct = place.dims.filter((_, axis) => place.strides[axis] !== 0);
  return {
    kind: "buffer",
    storage: place.buffer,
    offset: product(place.offset, elementBytes(place.dtype)),
    bytes: product(elementCount(distinct), elementBytes(place.dtype)),
  };
}

/** An argument of which a step touches so many bytes, wherever they lie. */
export function touching(argument: BufferArgument, bytes: SymbolExpr): BufferArgument {
  return { ...argument, bytes };
}

export const i32Argument = (value: SymbolExpr): DraftArgument => ({ kind: "i32", value });
export const f32Argument = (value: number): DraftArgument => ({ kind: "f32", value });
