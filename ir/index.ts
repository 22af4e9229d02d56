/**
 * The tensor graph: types, ops, builder, verifier, text form, reference interpreter and passes.
 *
 * ```ts
 * const builder = new GraphBuilder("mlp");
 * const batch = builder.symbol("batch", { max: 8 });
 * const x = builder.input("x", dense("f32", [batch, 784]));
 * const w = builder.parameter("fc.weight", dense("f32", [10, 784]));
 * builder.output("logits", builder.one("linear", [x, w], {}));
 * const graph = builder.build();
 * console.log(printGraph(graph));
 * ```
 */
export {
  type ApplyOptions,
  GraphBuilder,
  inferTypes,
  makeNode,
  makeValue,
  type NodeOptions,
} from "./builder.ts";
export {
  formatLocation,
  type Graph,
  type Node,
  type NodeOf,
  type Origin,
  type Output,
  producer,
  resultsOf,
  type SourceLocation,
  type State,
  type SymbolBound,
  topologicalOrder,
  users,
  type Value,
} from "./graph.ts";
export { type InterpretOptions, type InterpretResult, interpret, type Tensors } from "./interpret.ts";
export { MAX_ACCUMULATION, SCALE_FLOOR } from "./numerics.ts";
export {
  type Attributes,
  type Differentiated,
  type Emit,
  type Evaluation,
  type Gradient,
  type GradientRule,
  isOpName,
  type NoGradient,
  type Op,
  type OpDefinition,
  type OpName,
  ops,
  type Site,
  type TypeRule,
} from "./ops/index.ts";
export {
  type BindOptions,
  bindParameters,
  type StoredParameter,
} from "./passes/bind-parameters.ts";
export { type GradientOptions, gradient, gradientName } from "./passes/gradient.ts";
export { lastPosition } from "./passes/last-position.ts";
export { isBuildTime, type Partition, partitionParameters } from "./passes/partition-parameters.ts";
export {
  decodeGraph,
  forwardPipeline,
  type PipelineOptions,
  prefillGraph,
  runForwardPipeline,
  type Stage,
  type StageName,
} from "./passes/pipelines.ts";
export { specialize } from "./passes/specialize.ts";
export { wholeSequences } from "./passes/whole-sequences.ts";
export {
  definePass,
  derive,
  type Pass,
  producedBy,
  type Replacement,
  type RewriteContext,
  type Rule,
  type RunPassesOptions,
  rebuild,
  remake,
  rewrite,
  rule,
  runPasses,
} from "./rewrite.ts";
export {
  acc,
  apply,
  arg,
  argumentsOf,
  type BinaryFunction,
  evaluateScalar,
  formatScalar,
  literal,
  mapArguments,
  type ScalarExpr,
  type ScalarFunction,
  substitute,
  type UnaryFunction,
  usesAcc,
} from "./scalar.ts";
export {
  bf16ToF32,
  type ConcreteType,
  encodedTensor,
  f16ToF32,
  f32ToBf16,
  f32ToF16,
  type Tensor,
  type TensorData,
  tensor,
  toFloat32,
  zeros,
} from "./tensor.ts";
export { parseGraph, parseScalar } from "./text/parse.ts";
export { printGraph, printNode } from "./text/print.ts";
export {
  broadcast,
  type Dim,
  type DType,
  dense,
  type Encoding,
  elementCount,
  encoded,
  formatType,
  type ScaleGranularity,
  sameType,
  type TensorType,
} from "./types.ts";
export { verifyGraph } from "./verify.ts";
