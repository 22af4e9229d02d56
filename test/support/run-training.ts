import { type Training, type TrainOptions, type TrainReport, train } from "../../src/train/index.ts";

/** A training in one thread, to its end, or interrupted once so many steps are done. */
export function runTraining(
  training: Training,
  { until = Infinity, onStep, ...options }: Omit<TrainOptions, "signal"> & { readonly until?: number },
): Promise<TrainReport> {
  const controller = new AbortController();
  return train(training, {
    threads: 1,
    signal: controller.signal,
    onStep: (trained) => {
      onStep?.(trained);
      if (trained.step === until) controller.abort();
    },
    ...options,
  });
}
