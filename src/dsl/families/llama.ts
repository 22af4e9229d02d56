import { attention } from "../functions/attention.ts";
import { mul, relu2, silu } from "../functions/elementwise.ts";
import { rope } from "../functions/rope.ts";
import type { LanguageModel } from "../language-model.ts";
import { block } from "../layer.ts";
import { keyValueCache } from "../layers/key-value-cache.ts";
import { oneOf } from "../options.ts";
import { checkConfig } from "./check-config.ts";
import type { LanguageModelConfig } from "./config.ts";
import { decoder, mergeHeads, type Part, projection, splitHeads, type Tokens } from "./decoder.ts";

/**
 * Llama (arXiv:2302.13971, with the grouped-query attention of arXiv:2305.13245), `LlamaForCausalLM`. Its
 * projections are BitLinear where `config.quantized` says so (Llama3-8B-1.58, Falcon3-1.58bit, Falcon-E) and
 * ordinary elsewhere. Parameter paths are the checkpoints' tensor names.
 * @throws BitloomError INVALID_OPTION for another architecture, or sizes that cannot be.
 */
export function llama(config: LanguageModelConfig): LanguageModel {
  checkConfig(config);
  const { hiddenSize, intermediateSize, heads, keyValueHeads, headDim } = config;
  const { ropeTheta: theta, ropeScaling: scaling, attentionBias: bias, mlpBias } = config;
  oneOf("llama: architecture", config.architecture, ["LlamaForCausalLM"]);
  const activation = { relu2, silu }[config.activation];

  const selfAttention = (path: string): Part =>
    block(
      {
        q_proj: projection(config, `${path}.q_proj`, hiddenSize, heads * headDim, bias),
        k_proj: projection(config, `${path}.k_proj`, hiddenSize, keyValueHeads * headDim, bias),
        v_proj: projection(config, `${path}.v_proj`, hiddenSize, keyValueHeads * headDim, bias),
        o_proj: projection(config, `${path}.o_proj`, heads * headDim, hiddenSize, bias),
        cache: keyValueCache(keyValueHeads, headDim),
      },
      ({ q_proj, k_proj, v_proj, o_proj, cache }) =>
        (x: Tokens): Tokens => {
          const q = rope(splitHeads(q_proj(x), heads, headDim), { theta, scaling });
          const k = rope(splitHeads(k_proj(x), keyValueHeads, headDim), { theta, scaling });
          const v = splitHeads(v_proj(x), keyValueHeads, headDim);
          return o_proj(mergeHeads(attention(q, k, v, { cache })));
        },
    );

  const feedForward = (path: string): Part =>
    block(
      {
        gate_proj: projection(config, `${path}.gate_proj`, hiddenSize, intermediateSize, mlpBias),
        up_proj: projection(config, `${path}.up_proj`, hiddenSize, intermediateSize, mlpBias),
        down_proj: projection(config, `${path}.down_proj`, intermediateSize, hiddenSize, mlpBias),
      },
      ({ gate_proj, up_proj, down_proj }) =>
        (x: Tokens): Tokens =>
          down_proj(mul(activation(gate_proj(x)), up_proj(x))),
    );

  return decoder(config, { attention: selfAttention, feedForward });
}
