import type { Warning } from "../../runtime/index.ts";

/** Something that a training goes without, or that may not be what was meant. */
export interface TrainingWarning {
  readonly code: Warning["code"] | "UNFINISHED_WARMUP" | "UNKNOWN_VOCABULARY";
  readonly message: string;
}

/** Who is told; by default everybody who reads the console. */
export type OnTrainingWarning = (warning: TrainingWarning) => void;

export const defaultWarning: OnTrainingWarning = ({ message }) => console.warn(`bitloom: ${message}`);
