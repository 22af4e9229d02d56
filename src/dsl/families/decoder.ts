import { add } from "../functions/elementwise.ts";
import { reshape } from "../functions/shape.ts";
import { defineLanguageModel, type LanguageModel } from "../language-model.ts";
import { block, type LayerTree, repeat } from "../layer.ts";
import { bitLinear } from "../layers/bit-linear.ts";
import { corrected } from "../layers/bit-linear-lrc.ts";
import { embedding } from "../layers/embedding.ts";
import { linear } from "../layers/linear.ts";
import { normalized } from "../layers/normalized.ts";
import { rmsNorm } from "../layers/rms-norm.ts";
import type { Tensor } from "../tensor.ts";
import type { LanguageModelConfig } from "./config.ts";

/** One vector a token: the residual stream and what the projections make of it. */
export type Tokens = Tensor<"f32", ["batch", "seq", number]>;

/** A part of a decoder layer: from one vector a token to another. */
export type Part = ((x: Tokens) => Tokens) & LayerTree;

/** What a family says about its layers; `path` is the module path, for `config.quantized`. */
export interface DecoderParts {
  readonly attention: (path: string) => Part;
  readonly feedForward: (path: string) => Part;
}

/**
 * The decoder-only transformer that the BitNet and Llama families share: embedding, pre-normalized layers
 * with two residual additions each, a last norm, and a tied or separate head. Module names are those of the
 * families' checkpoints.
 */
export function decoder(config: LanguageModelConfig, parts: DecoderParts): LanguageModel {
  const { vocabularySize, hiddenSize, contextLength, bosToken, eosTokens } = config;
  const norm = () => rmsNorm(hiddenSize, { eps: config.normEpsilon });

  const decoderLayer = (path: string) =>
    block(
      {
        input_layernorm: norm(),
        self_attn: parts.attention(`${path}.self_attn`),
        post_attention_layernorm: norm(),
        mlp: parts.feedForward(`${path}.mlp`),
      },
      ({ input_layernorm, self_attn, post_attention_layernorm, mlp }) =>
        (x: Tokens): Tokens => {
          const h = add(x, self_attn(input_layernorm(x)));
          return add(h, mlp(post_attention_layernorm(h)));
        },
    );

  const model = {
    embed_tokens: embedding(vocabularySize, hiddenSize),
    layers: repeat(config.layers, (index) => decoderLayer(`model.layers.${index}`)),
    norm: norm(),
  };
  const head = config.tiedHead ? {} : { lm_head: linear(hiddenSize, vocabularySize) };

  return defineLanguageModel({
    // A checkpoint's folder may be called anything.
    name: config.name.replace(/[^A-Za-z0-9_.-]+/g, "-").replace(/^[.-]+/, "") || "model",
    vocabularySize,
    contextLength,
    bosToken,
    eosTokens,
    layers: { model, ...head },
    forward(tokens, { model, lm_head }) {
      let x: Tokens = model.embed_tokens(tokens);
      for (const layer of model.layers) x = layer(x);
      x = model.norm(x);
      return lm_head === undefined ? model.embed_tokens.head(x) : lm_head(x);
    },
  });
}

/** A projection of the family: BitLinear where `config.quantized` says so, and an ordinary linear elsewhere. */
export function projection(
  config: LanguageModelConfig,
  path: string,
  inFeatures: number,
  outFeatures: number,
  bias: boolean,
): Part {
  const { quantized, correctionRanks = {}, projectionNormEpsilon: eps } = config;
  const ternary = typeof quantized === "function" ? quantized(path) : quantized;
  if (!ternary) return linear(inFeatures, outFeatures, { bias });
  const rank = correctionRanks[path];
  const plain = bitLinear(inFeatures, outFeatures, { bias });
  const layer = rank === undefined ? plain : corrected(plain, rank);
  return eps === undefined ? layer : normalized(layer, eps);
}

/** `[batch, seq, heads * headDim]` -> `[batch, seq, heads, headDim]` */
export function splitHeads(x: Tokens, heads: number, headDim: number) {
  return reshape(x, ["batch", "seq", heads, headDim]);
}

/** `[batch, seq, heads, headDim]` -> `[batch, seq, heads * headDim]` */
export function mergeHeads(x: Tensor<"f32", ["batch", "seq", number, number]>): Tokens {
  return reshape(x, ["batch", "seq", x.dims[2] * x.dims[3]]);
}
