import { knownOptions, positiveNumber } from "../dsl/options.ts";
import { add, div, mul, sqrt, sub } from "./expressions.ts";
import { decayOf, keptShare, type Optimizer, type WeightDecay } from "./optimizer.ts";

export interface AdamWOptions {
  /** Decay rates of the two moments. Default [0.9, 0.999]. */
  readonly betas?: readonly [number, number];
  /** Added to the root of the second moment. Default 1e-8. */
  readonly eps?: number;
  /** Default 0.01. */
  readonly weightDecay?: WeightDecay;
}

/**
 * Adam with decoupled weight decay (arXiv:1711.05101), in PyTorch's order of operations. Each parameter has the states
 * `<path>.first_moment` and `<path>.second_moment`. The bias corrections 1 - beta^t are states too, the moving average
 * of ones: c' = beta c + (1 - beta), c = 0, so that a step needs no count and resumes bit for bit.
 * @throws BitloomError INVALID_OPTION for rates outside of 0..1, an eps that is not positive, or a negative decay.
 */
export function adamW(options: AdamWOptions = {}): Optimizer {
  const { betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0.01 } = options;
  knownOptions("adamW", options, ["betas", "eps", "weightDecay"]);
  positiveNumber("adamW: eps", eps);
  const [first, second] = betas.map((beta) => keptShare("adamW: betas", beta)) as [number, number];
  return {
    begin(context) {
      const { learningRate, state } = context;
      const correction = (name: string, beta: number) =>
        state(`adamw.${name}`, [], (current) => add(mul(current, beta), 1 - beta));
      const firstCorrection = correction("first_correction", first);
      const secondCorrection = sqrt(correction("second_correction", second));
      const rate = div(learningRate, firstCorrection);
      return (parameter) => {
        const { path, value, gradient } = parameter;
        const { dims } = value.type;
        const m = state(`${path}.first_moment`, dims, (current) =>
          add(mul(current, first), mul(gradient, 1 - first)),
        );
        const v = state(`${path}.second_moment`, dims, (current) =>
          add(mul(current, second), mul(mul(gradient, gradient), 1 - second)),
        );
        const decay = decayOf(weightDecay, parameter, context);
        const kept = decay === 0 ? value : mul(value, sub(1, mul(learningRate, decay)));
        return sub(kept, mul(rate, div(m, add(div(sqrt(v), secondCorrection), eps))));
      };
    },
  };
}
