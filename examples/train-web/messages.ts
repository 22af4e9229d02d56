import type { LoadOptions, Warning } from "bitloom/runtime";
import type { Evaluation, TrainedStep } from "bitloom/training";
import type { Failure } from "../web/failure.ts";

/** What the model is to continue while it learns. */
export interface SampleSettings {
  readonly prompt: string;
  readonly temperature: number;
  readonly maxTokens: number;
  /** Steps from one sample to the next. */
  readonly every: number;
}

/** What the page asks of the worker; `sample` and `save` happen between two steps. */
export type Request =
  | {
      readonly type: "load";
      readonly address: string;
      readonly options: Pick<LoadOptions, "device" | "threads">;
    }
  | {
      readonly type: "start";
      readonly text: string;
      readonly steps: number;
      readonly seed: number;
      readonly settings: SampleSettings;
    }
  /** What samples are like from now on. */
  | { readonly type: "settings"; readonly settings: SampleSettings }
  | { readonly type: "pause" | "resume" | "stop" | "sample" | "save" };

/** A training that is loaded, as far as the page shows it. */
export interface LoadedTraining {
  readonly name: string;
  /** What it runs on, for people. */
  readonly device: string;
  /** The devices that the artifact was built for. */
  readonly targets: readonly string[];
  readonly parameters: number;
  /** Tokens of a step. */
  readonly tokens: number;
  /** What the training was built with. */
  readonly steps: number;
  readonly seed: number;
  /** Share of the text, its end, that is not trained on. */
  readonly heldOut: number;
}

/** What the worker says. */
export type Reply =
  | { readonly type: "warning"; readonly warning: Warning }
  | { readonly type: "loaded"; readonly training: LoadedTraining }
  | { readonly type: "started" }
  /** The loss on held-out text before the first step. */
  | { readonly type: "evaluated"; readonly evaluation: Evaluation }
  | { readonly type: "step"; readonly trained: TrainedStep }
  /** All steps are done, or the run was stopped or failed. */
  | { readonly type: "ended" }
  /** More of a sample; the text is the continuation so far. */
  | {
      readonly type: "sampled";
      readonly prompt: string;
      /** Steps done, and the loss of the last of them. */
      readonly step: number;
      readonly loss: number | undefined;
      readonly text: string;
      readonly isWhole: boolean;
    }
  | { readonly type: "saved"; readonly name: string; readonly file: Blob }
  | { readonly type: "failed"; readonly failure: Failure };
