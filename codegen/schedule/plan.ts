import type { Value } from "../../ir/graph.ts";
import type { DType } from "../../ir/types.ts";
import type { Entry, Step } from "../../runtime/manifest.ts";
import type { KernelFunction } from "../kernel/ir.ts";

/**
 * How a weight's bytes are arranged in the weights region:
 * - `dense`: row-major elements of the value's dtype.
 * - `ternary-codes`: 2-bit codes in blocks of 64 weights of one row, four rows interleaved.
 * - `ternary-scales`: f32 scales of a ternary weight, group-major, [groups][N rounded up to 4]; one group of K
 *   when the scale is per tensor (repeated) or per row.
 * - `int8-codes`: row-major i8 [N, K] and 16 bytes of slack; `int8-scales`: f32 [N].
 */
export type WeightLayout = "dense" | "ternary-codes" | "ternary-scales" | "int8-codes" | "int8-scales";

/** A build-time value packed once, whichever entries and steps read it. */
export interface WeightBuffer {
  /** Made from the parameter paths it depends on: `model.layers.0.self_attn.o_proj.weight.codes`. */
  readonly name: string;
  /** Depends on parameters and constants alone. */
  readonly value: Value;
  readonly layout: WeightLayout;
  /** Dtype of the stored elements. */
  readonly dtype: DType;
  /** Byte offset in the weights region, a multiple of `TENSOR_ALIGNMENT`. */
  readonly offset: number;
  /** Bytes including the layout's own padding and slack. */
  readonly bytes: number;
}

/** State that outlives a call, zero at load. */
export interface PlannedState {
  readonly name: string;
  readonly dtype: DType;
  readonly dims: readonly (number | string)[];
  readonly offset: number;
  readonly bytes: number;
}

/** Bodies of one kernel for engines with and without relaxed SIMD; the same function where they agree. */
export interface PlannedKernel {
  readonly name: string;
  /** Which template or generator it came from: `templates/cpu/ternary-matmul.ts`, `elementwise`. */
  readonly template: string;
  readonly baseline: KernelFunction;
  readonly relaxed: KernelFunction;
}

/** Sizes in bytes of the memory regions with every symbol at its maximum. */
export interface RegionSizes {
  readonly io: number;
  readonly arena: number;
  readonly state: number;
  readonly weights: number;
  /** Scratch of one thread. */
  readonly scratch: number;
}

/** Bytes a step moves with every symbol at its maximum, each buffer counted once; 0 if it does not run then. */
export interface StepTraffic {
  /** Read from the weights region. */
  readonly weights: number;
  /** Read from elsewhere. */
  readonly read: number;
  readonly written: number;
}

/** An entry and what the target does for it. */
export interface PlannedEntry extends Entry {
  readonly steps: Step[];
}

/** An entry as `bitloom inspect` shows it, beside its steps. */
export interface EntrySummary {
  /** One for each step. */
  readonly traffic: readonly StepTraffic[];
  readonly arena: {
    readonly buffers: number;
    /** What the buffers would take without sharing memory. */
    readonly unsharedBytes: number;
    readonly bytes: number;
  };
}

/** Everything a target needs to render kernels and a driver, and a packer to lay out weights. */
export interface Plan {
  readonly entries: Readonly<Record<string, PlannedEntry>>;
  readonly kernels: readonly PlannedKernel[];
  readonly regions: RegionSizes;
  readonly weights: readonly WeightBuffer[];
  readonly states: readonly PlannedState[];
  readonly maxThreads: number;
  readonly summaries: Readonly<Record<string, EntrySummary>>;
}
