export {
  bitnet,
  type LanguageModelConfig,
  languageModel,
  llama,
  type RopeScaling,
} from "./families/index.ts";
export { type AttentionOptions, attention } from "./functions/attention.ts";
export {
  abs,
  add,
  div,
  exp,
  gelu,
  log,
  maximum,
  minimum,
  mul,
  neg,
  relu,
  relu2,
  sigmoid,
  silu,
  sqrt,
  sub,
  tanh,
} from "./functions/elementwise.ts";
export { max, mean, min, type ReductionOptions, softmax, sum } from "./functions/reduction.ts";
export { type RopeOptions, rope } from "./functions/rope.ts";
export { cast, concat, reshape, type SliceOptions, slice, transpose } from "./functions/shape.ts";
export {
  defineLanguageModel,
  type LanguageModel,
  type LanguageModelDefinition,
  type LanguageModelInputs,
  type LanguageModelTraceOptions,
  type Sequence,
} from "./language-model.ts";
export {
  type BlockNode,
  block,
  type Layer,
  type LayerTree,
  type NamedLayers,
  type ParameterDeclaration,
  type ParameterKind,
  repeat,
} from "./layer.ts";
export { type BitLinear, type BitLinearOptions, bitLinear } from "./layers/bit-linear.ts";
export { type BitLinearLRC, type BitLinearLRCOptions, bitLinearLRC } from "./layers/bit-linear-lrc.ts";
export { type Embedding, embedding } from "./layers/embedding.ts";
export { type KeyValueCache, keyValueCache } from "./layers/key-value-cache.ts";
export { type Linear, type LinearOptions, linear } from "./layers/linear.ts";
export { type NormOptions, type RMSNorm, rmsNorm, subLN } from "./layers/rms-norm.ts";
export {
  type AnyModel,
  defineModel,
  type InputSpecs,
  type InputTensors,
  isModel,
  type Model,
  type ModelDefinition,
  type Outputs,
  type TraceOptions,
} from "./model.ts";
export type { Dims } from "./shape-types.ts";
export { f32, i32, type Tensor, type TensorOf, type TensorSpec } from "./tensor.ts";
