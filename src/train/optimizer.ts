import type { Value } from "../../ir/graph.ts";
import type { Dim } from "../../ir/types.ts";

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
  /** A state f32 that is zero before the first step; `next` gives its new value, which is returned. */
  state(name: string, dims: readonly Dim[], next: (current: Value) => Value): Value;
}

/** An optimizer as a graph: `begin` is called once a graph, and its answer gives each parameter's next value. */
export interface Optimizer {
  begin(context: UpdateContext): (parameter: TrainedParameter) => Value;
}

/** One decay for all parameters, or one for each, such as 0 for norms and biases. */
export type WeightDecay = number | ((path: string, dims: readonly Dim[]) => number);

export function decayOf(decay: WeightDecay, { path, value }: TrainedParameter): number {
  return typeof decay === "number" ? decay : decay(path, value.type.dims);
}
