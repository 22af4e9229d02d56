import type { Value } from "../../ir/graph.ts";
import type { Dim } from "../../ir/types.ts";
import { invalidOption } from "../dsl/options.ts";
import { mul, type Term } from "./expressions.ts";

/** A parameter that is trained, and its gradient (clipped, if clipping is asked for), f32 of its dims. */
export interface TrainedParameter {
  readonly path: string;
  readonly value: Value;
  readonly gradient: Value;
}

/** What an update may use besides a parameter and its gradient. */
export interface UpdateContext {
  /** f32 [], an input of each step. */
  readonly learningRate: Value;
  /** f32 [], an input of each step that every weight decay is multiplied by; absent where decays stay as they are. */
  readonly decayShare?: Value | undefined;
  /** A state f32 that is zero before the first step; `next` gives its new value, which is returned. */
  state(name: string, dims: readonly Dim[], next: (current: Value) => Value): Value;
}

/** An optimizer as a graph: `begin` is called once a graph, and its answer gives each parameter's next value. */
export interface Optimizer {
  begin(context: UpdateContext): (parameter: TrainedParameter) => Value;
}

/** One decay for all parameters, or one for each, such as 0 for norms and biases. */
export type WeightDecay = number | ((path: string, dims: readonly Dim[]) => number);

/**
 * A parameter's decay in a step; 0 where it never has one.
 * @throws BitloomError INVALID_OPTION for a decay that is negative or not finite.
 */
export function decayOf(
  decay: WeightDecay,
  { path, value }: TrainedParameter,
  { decayShare }: UpdateContext,
): Term {
  const own = typeof decay === "number" ? decay : decay(path, value.type.dims);
  if (!Number.isFinite(own) || own < 0) {
    throw invalidOption(`weightDecay of ${path}`, "a finite number of at least 0", own);
  }
  return own === 0 || decayShare === undefined ? own : mul(decayShare, own);
}

/** A rate at which something is kept: 0 keeps nothing, below 1. */
export function keptShare(option: string, value: number): number {
  if (value >= 0 && value < 1) return value;
  throw invalidOption(option, "a number of at least 0 and below 1", value);
}
