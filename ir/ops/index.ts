import type { z } from "zod";
import { absmeanQuantize } from "./absmean-quantize.ts";
import { after } from "./after.ts";
import { attention } from "./attention.ts";
import { attentionGradient } from "./attention-gradient.ts";
import { axisLength } from "./axis-length.ts";
import { batchMatmul } from "./batch-matmul.ts";
import { bitLinear } from "./bit-linear.ts";
import { broadcastTo } from "./broadcast-to.ts";
import { cacheWrite } from "./cache-write.ts";
import { cast } from "./cast.ts";
import { concat } from "./concat.ts";
import { constant } from "./constant.ts";
import { crossEntropy } from "./cross-entropy.ts";
import { crossEntropyGradient } from "./cross-entropy-gradient.ts";
import type { Op } from "./define.ts";
import { elementwise, elementwiseOps } from "./elementwise.ts";
import { embedding } from "./embedding.ts";
import { embeddingGradient } from "./embedding-gradient.ts";
import { linear } from "./linear.ts";
import { linearInputGradient } from "./linear-input-gradient.ts";
import { linearWeightGradient } from "./linear-weight-gradient.ts";
import { pad } from "./pad.ts";
import { quantize } from "./quantize.ts";
import { quantizeInt8 } from "./quantize-int8.ts";
import { maxReduce, mean, minReduce, sum } from "./reduce.ts";
import { reshape } from "./reshape.ts";
import { rmsNorm } from "./rms-norm.ts";
import { rmsNormGradient } from "./rms-norm-gradient.ts";
import { rope } from "./rope.ts";
import { ropeTable } from "./rope-table.ts";
import { slice } from "./slice.ts";
import { softmax } from "./softmax.ts";
import { straightThrough } from "./straight-through.ts";
import { ternaryMatmul } from "./ternary-matmul.ts";
import { topK } from "./top-k.ts";
import { transpose } from "./transpose.ts";
import { weightScale } from "./weight-scale.ts";

const table = {
  // What models are described with.
  bit_linear: bitLinear,
  linear,
  embedding,
  rms_norm: rmsNorm,
  rope,
  rope_table: ropeTable,
  cache_write: cacheWrite,
  attention,
  softmax,
  top_k: topK,
  ...elementwiseOps,
  cast,
  constant,
  sum,
  mean,
  max_reduce: maxReduce,
  min_reduce: minReduce,
  reshape,
  transpose,
  slice,
  concat,
  broadcast: broadcastTo,
  pad,
  axis_length: axisLength,
  after,
  batch_matmul: batchMatmul,
  cross_entropy: crossEntropy,
  straight_through: straightThrough,
  // What gradients are made of.
  linear_input_gradient: linearInputGradient,
  linear_weight_gradient: linearWeightGradient,
  embedding_gradient: embeddingGradient,
  rms_norm_gradient: rmsNormGradient,
  attention_gradient: attentionGradient,
  cross_entropy_gradient: crossEntropyGradient,
  // What passes lower to.
  absmean_quantize: absmeanQuantize,
  quantize_int8: quantizeInt8,
  weight_scale: weightScale,
  quantize,
  ternary_matmul: ternaryMatmul,
  elementwise,
};

/** The name of every op. */
export type OpName = keyof typeof table;

/** The attributes an op takes, as its schema describes them. */
export type Attributes<Name extends OpName> = z.output<(typeof table)[Name]["attributes"]>;

/** The declaration of one op. */
export type OpDefinition<Name extends OpName> = Op<(typeof table)[Name]["attributes"]>;

/** The op table. Any other table over ops is typed `{ [K in OpName]: … }`, so a missing rule does not compile. */
export const ops: { readonly [Name in OpName]: OpDefinition<Name> } = table;

export function isOpName(name: string): name is OpName {
  return Object.hasOwn(ops, name);
}

export type {
  Differentiated,
  Emit,
  Evaluation,
  Gradient,
  GradientRule,
  NoGradient,
  Op,
  Site,
  TypeRule,
} from "./define.ts";
