import { knownOptions } from "../dsl/options.ts";
import { add, mul, sub } from "./expressions.ts";
import { decayOf, keptShare, type Optimizer, type WeightDecay } from "./optimizer.ts";

export interface SgdOptions {
  /** How much of the last step's direction is kept. Default 0: no state. */
  readonly momentum?: number;
  /** Looks ahead by the momentum (Nesterov). Default false. */
  readonly nesterov?: boolean;
  /** Added to the gradient as weightDecay * parameter. Default 0. */
  readonly weightDecay?: WeightDecay;
}

/**
 * Stochastic gradient descent with momentum as PyTorch has it: b' = momentum b + g, p' = p - lr b', or with Nesterov
 * p' = p - lr (g + momentum b'). The state `<path>.momentum` is b.
 * @throws BitloomError INVALID_OPTION for a momentum outside of 0..1 or a negative decay.
 */
export function sgd(options: SgdOptions = {}): Optimizer {
  const { momentum = 0, nesterov = false, weightDecay = 0 } = options;
  knownOptions("sgd", options, ["momentum", "nesterov", "weightDecay"]);
  keptShare("sgd: momentum", momentum);
  return {
    begin: (context) => (parameter) => {
      const { learningRate, state } = context;
      const { path, value } = parameter;
      const decay = decayOf(weightDecay, parameter, context);
      const gradient = decay === 0 ? parameter.gradient : add(parameter.gradient, mul(value, decay));
      if (momentum === 0) return sub(value, mul(learningRate, gradient));
      const buffer = state(`${path}.momentum`, value.type.dims, (current) =>
        add(mul(current, momentum), gradient),
      );
      const direction = nesterov ? add(gradient, mul(buffer, momentum)) : buffer;
      return sub(value, mul(learningRate, direction));
    },
  };
}
