/**
 * The order of the passes. A stage is what `bitloom inspect --after <stage>` can stop at.
 */
import { BitloomError } from "../../errors/index.ts";
import type { Graph } from "../graph.ts";
import { type Pass, type RunPassesOptions, runPasses } from "../rewrite.ts";
import { addCandidates } from "./candidates.ts";
import { canonicalize } from "./canonicalize.ts";
import { commonSubexpressions } from "./common-subexpressions.ts";
import { deadCode } from "./dead-code.ts";
import { fuseBitLinear } from "./fuse-bitlinear.ts";
import { fuseElementwise } from "./fuse-elementwise.ts";
import { fuseScale } from "./fuse-scale.ts";
import { lastPosition } from "./last-position.ts";
import { lowerBitLinear } from "./lower-bitlinear.ts";
import { mergeProjections } from "./merge-projections.ts";
import { shareQuantize } from "./share-quantize.ts";
import { sinkSlices } from "./sink-slices.ts";
import { specialize } from "./specialize.ts";

export type StageName = "canonical" | "lower" | "share" | "merge" | "fuse";

export interface Stage {
  readonly name: StageName;
  readonly passes: readonly Pass[];
}

/** From a traced (and bound) graph to what the schedule takes, for inference. */
export const forwardPipeline: readonly Stage[] = [
  { name: "canonical", passes: [canonicalize, commonSubexpressions] },
  { name: "lower", passes: [lowerBitLinear] },
  { name: "share", passes: [shareQuantize] },
  // Scales move first: products are stacked when their epilogues, then scale and bias only, are alike.
  { name: "merge", passes: [fuseScale, mergeProjections] },
  // Expressions grow first, so that products and quantizers take whole ones.
  { name: "fuse", passes: [fuseElementwise, fuseBitLinear, canonicalize, commonSubexpressions, deadCode] },
];

export interface PipelineOptions extends RunPassesOptions {
  /** Stop after this stage. */
  readonly after?: StageName;
  /** Told of the graph after each stage. */
  readonly onStage?: (stage: StageName, graph: Graph) => void;
}

/** @throws BitloomError INVALID_OPTION for an unknown stage, INVALID_GRAPH as `runPasses`. */
export function runForwardPipeline(graph: Graph, options: PipelineOptions = {}): Graph {
  const { after, onStage, ...rest } = options;
  const names = forwardPipeline.map((stage) => stage.name);
  if (after !== undefined && !names.includes(after)) {
    throw new BitloomError("INVALID_OPTION", `there is no stage "${after}"`, { expected: names.join(", ") });
  }
  const stages = forwardPipeline.slice(0, after === undefined ? undefined : names.indexOf(after) + 1);
  return stages.reduce((current, { name, passes }) => {
    const next = runPasses(current, passes, rest);
    onStage?.(name, next);
    return next;
  }, graph);
}

/** Enough for the 64 largest, and one that tells whether the last of them has equals. */
const CANDIDATES = 65;

/** A traced language model with the logits of the last position only, [batch, V], and what these need. */
export function lastLogitsGraph(graph: Graph): Graph {
  return runPasses(lastPosition(graph), [canonicalize, sinkSlices, canonicalize]);
}

/** The `prefill` entry of a traced language model: logits of the last position, and the largest of them. */
export function prefillGraph(graph: Graph): Graph {
  return addCandidates(lastLogitsGraph(graph), CANDIDATES);
}

/** The `decode` entry: `prefill` for one token a sequence. */
export function decodeGraph(graph: Graph): Graph {
  return runPasses(specialize(prefillGraph(graph), { seq: 1 }), [canonicalize]);
}
