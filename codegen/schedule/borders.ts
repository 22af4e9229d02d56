import type { Step } from "../../runtime/manifest.ts";
import type { TargetPlan } from "./plan.ts";

/** Bytes that WebGPU guarantees a buffer may have. */
const MAX_BUFFER_BYTES = 256 * 2 ** 20;

/**
 * Where the weights region can be cut into buffers, so that no argument crosses from one into the next: as few cuts
 * as buffers of a guaranteed size take.
 */
export function weightBorders(plans: TargetPlan["plans"], bytes: number): readonly number[] {
  const spans = Object.values(plans).flat().flatMap(weightSpans);
  spans.sort((a, b) => a.start - b.start);
  const borders = [0];
  let end = 0;
  for (const [i, span] of spans.entries()) {
    const next = spans[i + 1]?.start ?? bytes;
    const isFree = span.start >= end;
    end = Math.max(end, span.end);
    // What lies up to the next argument goes along with this one.
    if (isFree && Math.max(end, next) - borders.at(-1)! > MAX_BUFFER_BYTES && span.start > borders.at(-1)!) {
      borders.push(span.start);
    }
  }
  return borders;
}

interface Span {
  readonly start: number;
  readonly end: number;
}

/** A step's arguments in the weights region; their places do not depend on symbols. */
function weightSpans(step: Step): Span[] {
  return step.arguments.flatMap((argument) => {
    if (argument.kind !== "buffer" || argument.region !== "weights") return [];
    const { offset, bytes = 0 } = argument;
    return typeof offset === "number" && typeof bytes === "number"
      ? [{ start: offset, end: offset + bytes }]
      : [];
  });
}
