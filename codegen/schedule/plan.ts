import type { Graph, Value } from "../../ir/graph.ts";
import type { Dim, DType } from "../../ir/types.ts";
import type { Entry, Region, Step, SymbolExpr } from "../../runtime/manifest.ts";
import type { KernelFunction, Parameter } from "../kernel/ir.ts";

/**
 * How a weight's bytes are arranged in the weights region:
 * - `dense`: row-major elements of the value's dtype.
 * - `ternary-codes`: 2-bit codes in blocks of 64 weights of one row, four rows interleaved.
 * - `ternary-scales`: f32 scales of a ternary weight, four rows interleaved as the codes are, [ceil(N/4)][groups][4];
 *   one group of K when the scale is per tensor (repeated) or per row.
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

export type TargetName = "wasm" | "webgpu" | "cuda";

/**
 * Bodies of one kernel that compute the same results: `baseline` runs on every device, others need what they are
 * named after (`relaxed` SIMD, `subgroups`).
 */
export type KernelVariants = Readonly<{ baseline: KernelFunction }> &
  Readonly<Record<string, KernelFunction>>;

export interface PlannedKernel {
  readonly name: string;
  /** Which template or generator it came from: `templates/cpu/ternary-matmul.ts`, `elementwise`. */
  readonly template: string;
  /** What a step's arguments are, in order; a kernel over a range has `begin` and `end` besides. */
  readonly parameters: readonly Parameter[];
  readonly variants: KernelVariants;
}

/** Sizes in bytes of the memory regions that all targets share, with every symbol at its maximum. */
export interface RegionSizes {
  readonly io: number;
  readonly state: number;
  readonly weights: number;
}

/** Bytes a step moves with every symbol at its maximum, each buffer counted once; 0 if it does not run then. */
export interface StepTraffic {
  /** Read from the weights region. */
  readonly weights: number;
  /** Read from elsewhere. */
  readonly read: number;
  readonly written: number;
}

/** What an entry takes on a target, beside its steps. */
export interface EntrySummary {
  /** One for each step. */
  readonly traffic: readonly StepTraffic[];
  /** For each step, whether it must wait until all steps before it are done; it runs beside them if not. */
  readonly waits: readonly boolean[];
  readonly arena: {
    readonly buffers: number;
    /** What the buffers would take without sharing memory. */
    readonly unsharedBytes: number;
    readonly bytes: number;
  };
}

/** A value that a check computes, and where a device has it afterwards. */
export interface ObservedValue {
  readonly value: Value;
  /** Where its elements lie, by expressions over the check's symbols. */
  readonly place: {
    readonly region: Region;
    readonly offset: SymbolExpr;
    readonly strides: readonly SymbolExpr[];
    readonly dims: readonly Dim[];
    /** Elements of a row of activation codes with its padding; 0 for anything else. */
    readonly paddedRow: number;
  };
  /** The steps that write it, by their number. */
  readonly writers: readonly number[];
}

/** A small graph that has kernels of a target compute something known. */
export interface PlannedCheck {
  /** With what is observed as outputs. */
  readonly graph: Graph;
  readonly steps: readonly Step[];
  /** Inputs and states, in the io region. */
  readonly inputs: readonly Pick<ObservedValue, "value" | "place">[];
  /** Weights, at offsets of the io region. */
  readonly weights: readonly WeightBuffer[];
  readonly observed: readonly ObservedValue[];
  readonly runs: readonly ReadonlyMap<string, number>[];
}

/** Checks of every kernel of a target. */
export interface PlannedChecks {
  readonly checks: readonly PlannedCheck[];
  /** Where their parts of the io region start. */
  readonly borders: readonly number[];
  /** Kernels that no check was found for. */
  readonly unchecked: readonly string[];
}

/** What one target does for each entry: everything it needs to render kernels and a driver. */
export interface TargetPlan {
  readonly kernels: readonly PlannedKernel[];
  readonly plans: Readonly<Record<string, Step[]>>;
  readonly summaries: Readonly<Record<string, EntrySummary>>;
  /** Temporaries: bytes of the region, and where buffers of their own start in it, if the target has such. */
  readonly arena: { readonly bytes: number; readonly buffers: readonly number[] };
  /** Bytes of private memory of one thread. */
  readonly scratch: number;
  /** Present if they were asked for. */
  readonly checks?: PlannedChecks;
}

/** What callers see of a model, how its memory is laid out for all targets, and what each of them does. */
export interface Plan {
  readonly entries: Readonly<Record<string, Entry>>;
  readonly regions: RegionSizes;
  readonly weights: readonly WeightBuffer[];
  readonly states: readonly PlannedState[];
  readonly maxThreads: number;
  readonly targets: Readonly<Partial<Record<TargetName, TargetPlan>>>;
}
