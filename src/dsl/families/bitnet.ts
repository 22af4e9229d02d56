import { attention } from "../functions/attention.ts";
import { mul, relu2, silu } from "../functions/elementwise.ts";
import { rope } from "../functions/rope.ts";
import type { LanguageModel } from "../language-model.ts";
import { block } from "../layer.ts";
import { keyValueCache } from "../layers/key-value-cache.ts";
import { subLN } from "../layers/rms-norm.ts";
import { oneOf } from "../options.ts";
import { checkConfig } from "./check-config.ts";
import type { LanguageModelConfig } from "./config.ts";
import { decoder, mergeHeads, type Part, projection, splitHeads, type Tokens } from "./decoder.ts";

/** What each architecture calls the SubLN of attention and of the feed-forward. */
const subNormNames = {
  BitNetForCausalLM: { attention: "attn_sub_norm", feedForward: "ffn_sub_norm" },
  BitnetForCausalLM: { attention: "inner_attn_ln", feedForward: "ffn_layernorm" },
} as const;

/**
 * BitNet b1.58 (arXiv:2402.17764, arXiv:2504.12285): a Llama-like decoder whose projections are BitLinear,
 * with an additional norm before the output projection of attention and of the feed-forward (SubLN,
 * arXiv:2210.06423). Covers `BitNetForCausalLM` (2B-4T) and `BitnetForCausalLM` (1bitLLM), which differ in
 * the names of these norms and in the activation. Parameter paths are the checkpoints' tensor names.
 * @throws BitloomError INVALID_OPTION for another architecture, or sizes that cannot be.
 */
export function bitnet(config: LanguageModelConfig): LanguageModel {
  checkConfig(config);
  const { hiddenSize, intermediateSize, heads, keyValueHeads, headDim, normEpsilon: eps } = config;
  const { ropeTheta: theta, ropeScaling: scaling, attentionBias: bias, mlpBias } = config;
  const architectures = ["BitNetForCausalLM", "BitnetForCausalLM"] as const;
  const subNorm = subNormNames[oneOf("bitnet: architecture", config.architecture, architectures)];
  const activation = { relu2, silu }[config.activation];

  const selfAttention = (path: string): Part => {
    const attn_sub_norm = subLN(heads * headDim, { eps });
    return block(
      {
        q_proj: projection(config, `${path}.q_proj`, hiddenSize, heads * headDim, bias),
        k_proj: projection(config, `${path}.k_proj`, hiddenSize, keyValueHeads * headDim, bias),
        v_proj: projection(config, `${path}.v_proj`, hiddenSize, keyValueHeads * headDim, bias),
        [subNorm.attention]: attn_sub_norm,
        o_proj: projection(config, `${path}.o_proj`, heads * headDim, hiddenSize, bias),
        cache: keyValueCache(keyValueHeads, headDim),
      },
      ({ q_proj, k_proj, v_proj, o_proj, cache }) =>
        (x: Tokens): Tokens => {
          const q = rope(splitHeads(q_proj(x), heads, headDim), { theta, scaling });
          const k = rope(splitHeads(k_proj(x), keyValueHeads, headDim), { theta, scaling });
          const v = splitHeads(v_proj(x), keyValueHeads, headDim);
          return o_proj(attn_sub_norm(mergeHeads(attention(q, k, v, { cache }))));
        },
    );
  };

  const feedForward = (path: string): Part => {
    const ffn_sub_norm = subLN(intermediateSize, { eps });
    return block(
      {
        gate_proj: projection(config, `${path}.gate_proj`, hiddenSize, intermediateSize, mlpBias),
        up_proj: projection(config, `${path}.up_proj`, hiddenSize, intermediateSize, mlpBias),
        [subNorm.feedForward]: ffn_sub_norm,
        down_proj: projection(config, `${path}.down_proj`, intermediateSize, hiddenSize, mlpBias),
      },
      ({ gate_proj, up_proj, down_proj }) =>
        (x: Tokens): Tokens =>
          down_proj(ffn_sub_norm(mul(activation(gate_proj(x)), up_proj(x)))),
    );
  };

  return decoder(config, { attention: selfAttention, feedForward });
}
