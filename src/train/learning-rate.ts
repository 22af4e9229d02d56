import { positiveInteger, positiveNumber } from "../dsl/options.ts";

/** What an error has to say that names a step of a schedule. */
export const STEPS_COUNT = "Steps count from 1, as progress does; the first argument of a schedule, from 0.";

/** The learning rate of a step, counted from 0, in a run of so many steps. */
export type LearningRate = (step: number, steps: number) => number;

export interface DecayOptions {
  /** Steps in which the rate rises linearly from peak / warmup. Default 0. */
  readonly warmup?: number;
  /** What is left of the peak at the end. Default 0. */
  readonly end?: number;
}

/** The share of the way from the end of the warm-up to that of the run -> the share of the decay that is left. */
type Shape = (progress: number) => number;

const straight: Shape = (progress) => 1 - progress;
/** Half a cosine (arXiv:1608.03983, without restarts). */
const halfCosine: Shape = (progress) => (1 + Math.cos(Math.PI * progress)) / 2;

function decaying(peak: number, { warmup = 0, end = 0 }: DecayOptions, shape: Shape): LearningRate {
  positiveNumber("learning rate: peak", peak);
  if (warmup !== 0) positiveInteger("learning rate: warmup", warmup);
  return (step, steps) => {
    if (step < warmup) return (peak * (step + 1)) / warmup;
    const progress = Math.min(1, (step - warmup) / Math.max(1, steps - warmup));
    return peak * (end + (1 - end) * shape(progress));
  };
}

/** The peak in every step after the warm-up. */
export function constantRate(peak: number, options: Pick<DecayOptions, "warmup"> = {}): LearningRate {
  return decaying(peak, options, () => 1);
}

/** A straight line from the peak down. */
export function linearRate(peak: number, options: DecayOptions = {}): LearningRate {
  return decaying(peak, options, straight);
}

/** Half a cosine from the peak down. */
export function cosineRate(peak: number, options: DecayOptions = {}): LearningRate {
  return decaying(peak, options, halfCosine);
}

export interface TwoStageOptions extends DecayOptions {
  /** Where the second stage begins, as a share of the run. Default 0.5. */
  readonly boundary?: number;
}

/**
 * BitNet's two stages (arXiv:2504.12285, 2.2): a cosine from a high peak, which ternary weights stand, and from the boundary
 * on the same cosine under a lower one.
 */
export function twoStageRate(
  peaks: readonly [number, number],
  { boundary = 0.5, ...options }: TwoStageOptions = {},
): LearningRate {
  const [first, second] = peaks.map((peak) => cosineRate(peak, options)) as [LearningRate, LearningRate];
  return (step, steps) => (step < boundary * steps ? first : second)(step, steps);
}

/** What weight decays are multiplied by in a step, counted from 0, in a run of so many steps. */
export type DecayShare = (step: number, steps: number) => number;

/** BitNet's two stages: weight decay in the first, and from the boundary on none (arXiv:2504.12285, 2.2). */
export function twoStageDecay({ boundary = 0.5 }: Pick<TwoStageOptions, "boundary"> = {}): DecayShare {
  return (step, steps) => (step < boundary * steps ? 1 : 0);
}
