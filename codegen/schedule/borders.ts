import type { Step } from "../../runtime/manifest.ts";
import type { TargetPlan } from "./plan.ts";

/** Bytes that WebGPU guarantees a buffer may have. */
const MAX_BUFFER_BYTES = 256 * 2 ** 20;

/** Whether a step's kernel reads the argument at a position at all. */
export type IsBound = (step: Step, position: number) => boolean;

/**
 * Where the weights region can be cut into buffers, so that no bound argument crosses from one into the next: as few
 * cuts as buffers of a guaranteed size take.
 */
export function weightBorders(
  plans: TargetPlan["plans"],
  bytes: number,
  isBound: IsBound,
): readonly number[] {
  const spans = Object.values(plans)
    .flat()
    .flatMap((step) => weightSpans(step, isBound))
    .sort((a, b) => a.start - b.start);
  // Neighbours that overlap stay together.
  const starts: number[] = [];
  let end = 0;
  for (const span of spans) {
    if (span.start >= end) starts.push(span.start);
    end = Math.max(end, span.end);
  }
  const borders = [0];
  for (const [i, start] of starts.entries()) {
    const next = starts[i + 1] ?? bytes;
    if (start > borders.at(-1)! && next - borders.at(-1)! > MAX_BUFFER_BYTES) borders.push(start);
  }
  return borders;
}

interface Span {
  readonly start: number;
  readonly end: number;
}

/** A step's arguments in the weights region; their places do not depend on symbols. */
function weightSpans(step: Step, isBound: IsBound): Span[] {
  return step.arguments.flatMap((argument, position) => {
    if (argument.kind !== "buffer" || argument.region !== "weights" || !isBound(step, position)) return [];
    const { offset, bytes } = argument;
    if (typeof offset !== "number" || typeof bytes !== "number") return [];
    return [{ start: offset, end: offset + bytes }];
  });
}
