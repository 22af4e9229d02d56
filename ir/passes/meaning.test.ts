import { test } from "@fast-check/vitest";
import fc from "fast-check";
import { describe } from "vitest";
import { graphs } from "../../test/support/random-graph.ts";
import { expectSameMeaning } from "../../test/support/same-meaning.ts";
import type { OpName } from "../ops/index.ts";
import { type Pass, runPasses } from "../rewrite.ts";
import { verifyGraph } from "../verify.ts";
import { canonicalize } from "./canonicalize.ts";
import { commonSubexpressions } from "./common-subexpressions.ts";
import { deadCode } from "./dead-code.ts";
import { fuseBitLinear } from "./fuse-bitlinear.ts";
import { fuseElementwise } from "./fuse-elementwise.ts";
import { fuseScale } from "./fuse-scale.ts";
import { lowerBitLinear } from "./lower-bitlinear.ts";
import { mergeProjections } from "./merge-projections.ts";
import { forwardPipeline } from "./pipelines.ts";
import { shareQuantize } from "./share-quantize.ts";
import { sinkSlices } from "./sink-slices.ts";
import { specialize } from "./specialize.ts";

const pipeline = forwardPipeline.flatMap((stage) => stage.passes);

/** Ops that the pass rewrites, so that random graphs give it something to do. */
const subjects: readonly (readonly [Pass, readonly Pass[], readonly OpName[]])[] = [
  [
    canonicalize,
    [],
    [
      "constant",
      "add",
      "sub",
      "mul",
      "div",
      "neg",
      "relu",
      "to_f32",
      "cast",
      "reshape",
      "transpose",
      "slice",
      "concat",
    ],
  ],
  [commonSubexpressions, [], ["exp", "neg", "add", "after", "constant", "rope_table", "rope", "quantize"]],
  [deadCode, [], ["linear", "rms_norm"]],
  [lowerBitLinear, [], ["bit_linear", "relu2", "reshape"]],
  [shareQuantize, [lowerBitLinear], ["bit_linear", "quantize", "ternary_matmul"]],
  [fuseScale, [lowerBitLinear], ["bit_linear", "linear", "add", "mul"]],
  [
    mergeProjections,
    [lowerBitLinear, shareQuantize, fuseScale],
    ["bit_linear", "linear", "ternary_matmul", "quantize"],
  ],
  [
    fuseElementwise,
    [],
    ["add", "sub", "mul", "div", "max", "relu2", "to_f32", "cast", "constant", "elementwise", "reshape"],
  ],
  [
    fuseBitLinear,
    [],
    ["linear", "ternary_matmul", "quantize", "rms_norm", "mul", "sub", "relu2", "reshape", "elementwise"],
  ],
  [
    sinkSlices,
    [],
    [
      "slice",
      "linear",
      "bit_linear",
      "embedding",
      "rms_norm",
      "softmax",
      "add",
      "cast",
      "reshape",
      "transpose",
      "ternary_matmul",
      "quantize",
    ],
  ],
];

describe.each(subjects.map(([pass, before, ops]) => ({ name: pass.name, pass, before, ops })))(
  "$name",
  ({ pass, before, ops }) => {
    test.prop([graphs({ ops, size: 20 }), fc.integer()], { numRuns: 40 })(
      "keeps the meaning of graphs it rewrites",
      (graph, seed) => {
        const prepared = runPasses(graph, before);
        expectSameMeaning(prepared, runPasses(prepared, [pass], { verify: true }), seed);
      },
    );

    test.prop([graphs({ size: 15 }), fc.integer()], { numRuns: 15 })(
      "keeps the meaning of any graph",
      (graph, seed) => {
        expectSameMeaning(graph, runPasses(graph, [pass], { verify: true }), seed);
      },
    );
  },
);

test.prop([graphs({ size: 15 }), fc.integer()], { numRuns: 30 })(
  "specialize keeps the meaning of any graph",
  (graph, seed) => {
    const given = { batch: 2, seq: 3 };
    const after = specialize(graph, given);
    verifyGraph(after);
    expectSameMeaning(graph, after, seed, given);
  },
);

describe("the forward pipeline", () => {
  test.prop([graphs({ size: 25 }), fc.integer()], { numRuns: 40 })(
    "keeps the meaning of any graph",
    (graph, seed) => {
      expectSameMeaning(graph, runPasses(graph, pipeline, { verify: true }), seed);
    },
  );

  const layers: readonly OpName[] = [
    "bit_linear",
    "bit_linear",
    "linear",
    "rms_norm",
    "relu2",
    "mul",
    "add",
    "reshape",
    "slice",
  ];
  test.prop([graphs({ ops: layers, size: 25 }), fc.integer()], { numRuns: 60 })(
    "keeps the meaning of graphs like networks",
    (graph, seed) => {
      expectSameMeaning(graph, runPasses(graph, [sinkSlices, ...pipeline], { verify: true }), seed);
    },
  );
});
