import { describe, expect, it } from "vitest";
import { interpret } from "../../../ir/interpret.ts";
import { type Tensor, tensor } from "../../../ir/tensor.ts";
import { errorOf, unchecked } from "../../../test/support/errors.ts";
import { bitnet, type LanguageModelConfig, languageModel, llama } from "./index.ts";

const config: LanguageModelConfig = {
  name: "tiny llama",
  architecture: "LlamaForCausalLM",
  vocabularySize: 11,
  hiddenSize: 6,
  intermediateSize: 10,
  layers: 2,
  heads: 4,
  keyValueHeads: 2,
  headDim: 4,
  normEpsilon: 1e-5,
  ropeTheta: 100,
  contextLength: 16,
  activation: "silu",
  tiedHead: false,
  attentionBias: true,
  mlpBias: true,
  quantized: false,
  bosToken: 0,
  eosTokens: [1],
};

const kinds = (model: ReturnType<typeof llama>) =>
  Object.fromEntries(model.parameters().map(({ path, kind }) => [path, kind]));

describe("llama", () => {
  it("has the tensors of a checkpoint, with biases and a head where the configuration says so", () => {
    const paths = (changes: Partial<LanguageModelConfig>) =>
      Object.keys(kinds(llama({ ...config, layers: 1, ...changes })));
    const plain = [
      "model.embed_tokens.weight",
      "model.layers.0.input_layernorm.weight",
      "model.layers.0.self_attn.q_proj.weight",
      "model.layers.0.self_attn.k_proj.weight",
      "model.layers.0.self_attn.v_proj.weight",
      "model.layers.0.self_attn.o_proj.weight",
      "model.layers.0.post_attention_layernorm.weight",
      "model.layers.0.mlp.gate_proj.weight",
      "model.layers.0.mlp.up_proj.weight",
      "model.layers.0.mlp.down_proj.weight",
      "model.norm.weight",
    ];
    expect(paths({ tiedHead: true, attentionBias: false, mlpBias: false })).toEqual(plain);
    expect(paths({ attentionBias: false, mlpBias: false })).toEqual([...plain, "lm_head.weight"]);
    const added = paths({ tiedHead: true }).filter((path) => !plain.includes(path));
    expect(added).toEqual([
      ...["q", "k", "v", "o"].map((name) => `model.layers.0.self_attn.${name}_proj.bias`),
      ...["gate", "up", "down"].map((name) => `model.layers.0.mlp.${name}_proj.bias`),
    ]);
  });

  it("is ternary in the modules that the configuration names, and never in the head", () => {
    const quantized = (path: string) => path.startsWith("model.layers.1.mlp.");
    const ternary = (value: LanguageModelConfig["quantized"]) =>
      Object.entries(kinds(llama({ ...config, quantized: value })))
        .filter(([, kind]) => kind === "bitLinear")
        .map(([path]) => path);
    expect(ternary(quantized)).toEqual(
      ["gate", "up", "down"].map((name) => `model.layers.1.mlp.${name}_proj.weight`),
    );
    expect(ternary(true)).toHaveLength(2 * 7);
    expect(ternary(false)).toEqual([]);
  });

  it("computes what the paper's formulas compute", () => {
    const model = llama(config);
    const weights = randomWeights(model);
    const tokens = [3, 7, 0, 10, 5];
    const { outputs } = interpret(model.trace(), {
      inputs: {
        tokens: tensor("i32", [1, tokens.length], tokens),
        positions: tensor("i32", [1], [0]),
        slots: tensor("i32", [1], [0]),
      },
      parameters: weights,
      symbols: { slots: 1 },
    });
    const expected = referenceLogits(tokens, (path) => [...weights[path]!.data]);
    for (const [i, logit] of outputs.logits!.data.entries()) expect(logit).toBeCloseTo(expected[i]!, 4);
  });

  it("is the family that its architecture names", () => {
    expect(languageModel(config).name).toBe("tiny-llama");
    const bitnetConfig = { ...config, architecture: "BitnetForCausalLM" as const };
    expect(kinds(languageModel(bitnetConfig))).toHaveProperty([
      "model.layers.0.self_attn.inner_attn_ln.weight",
    ]);
    expect(kinds(languageModel(bitnetConfig))).toHaveProperty(["model.layers.0.mlp.ffn_layernorm.weight"]);
  });

  it.each([
    ["another architecture", () => llama({ ...config, architecture: "BitNetForCausalLM" })],
    ["another architecture", () => bitnet(config)],
    ["an unknown activation", () => llama({ ...config, activation: unchecked("gelu") })],
    ["no layers", () => llama({ ...config, layers: 0 })],
    ["half a head", () => llama({ ...config, headDim: 2.5 })],
  ])("refuses %s", (_, make) => {
    expect(errorOf(make).code).toBe("INVALID_OPTION");
  });

  it.each<[string, string, Partial<LanguageModelConfig>]>([
    ["heads", "a multiple of keyValueHeads, which is 3", { keyValueHeads: 3 }],
    ["headDim", "an even integer", { headDim: 3 }],
    ["layers", "an integer of at least 1", { layers: 0 }],
    ["ropeTheta", "a finite number above 0", { ropeTheta: -1 }],
    ["activation", '"relu2" or "silu"', { activation: unchecked("gelu") }],
    ["bosToken", "a token, or null", { bosToken: unchecked(undefined) }],
    ["tidHead", "one of name", unchecked({ tidHead: true })],
    ["ropeScaling", "an object with the kind", { ropeScaling: unchecked([]) }],
    ["ropeScaling.kind", '"linear" or "llama3"', { ropeScaling: unchecked({}) }],
    ["ropeScaling.kind", '"linear" or "llama3"', { ropeScaling: unchecked({ kind: "yarn" }) }],
    ["ropeScaling", "factor besides", { ropeScaling: unchecked({ kind: "linear" }) }],
    ["ropeScaling.factor", "a finite number above 0", { ropeScaling: { kind: "linear", factor: 0 } }],
    ["correctionRanks", "ranks, integers", { correctionRanks: { "model.layers.0.mlp.up_proj": 0.5 } }],
  ])("speaks of %s as the configuration has it", (field, expected, changed) => {
    const { message } = errorOf(() => languageModel({ ...config, ...changed }));
    expect(message).toContain(field);
    expect(message).toContain(`expected: ${field === "bosToken" ? field : expected}`);
    expect(message).toMatch(/hint: (For example|Did you mean tiedHead)/);
  });

  it.each([
    ["model.layers.0.mlp.dwn_proj", "model.layers.0.mlp.down_proj"],
    ["model.layers.2.self_attn.q_proj", "model.layers.0.self_attn.q_proj"],
    ["nowhere", "model.layers.1.mlp.down_proj"],
  ])("refuses the rank of %s, which is no projection", (path, near) => {
    expect(errorOf(() => llama({ ...config, correctionRanks: { [path]: 4 } }))).toMatchObject({
      code: "INVALID_OPTION",
      received: `"${path}"`,
      hint: `Did you mean ${near}?`,
    });
  });
});

/** Numbers of size 1 from a fixed linear congruential sequence. */
function randomWeights(model: ReturnType<typeof llama>): Record<string, Tensor> {
  let state = 1;
  const next = () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647 - 0.5;
  };
  return Object.fromEntries(
    model.parameters().map(({ path, dims }) => {
      const size = dims.reduce((product, dim) => product * dim, 1);
      return [path, tensor("f32", dims, Array.from({ length: size }, next))];
    }),
  );
}

/** Llama in plain numbers, one token after another, with nothing of the compiler. */
function referenceLogits(tokens: readonly number[], weight: (path: string) => number[]): number[] {
  const { hiddenSize, headDim, heads, keyValueHeads } = config;
  const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
  const plus = (a: readonly number[], b: readonly number[]) => a.map((x, i) => x + b[i]!);
  const rows = (matrix: readonly number[], width: number) =>
    Array.from({ length: matrix.length / width }, (_, i) => matrix.slice(i * width, (i + 1) * width));
  const norm = (x: readonly number[], path: string) => {
    const scale = 1 / Math.sqrt(dot(x, x) / x.length + config.normEpsilon);
    return weight(`${path}.weight`).map((w, i) => w * x[i]! * scale);
  };
  const project = (x: readonly number[], path: string) =>
    plus(
      rows(weight(`${path}.weight`), x.length).map((row) => dot(row, x)),
      weight(`${path}.bias`),
    );
  const rotate = (x: readonly number[], position: number) =>
    x.map((value, i) => {
      const half = headDim / 2;
      const angle = position * config.ropeTheta ** (-(i % half) / half);
      const partner = i < half ? -x[i + half]! : x[i - half]!;
      return value * Math.cos(angle) + partner * Math.sin(angle);
    });

  const seen = Array.from({ length: config.layers }, () => ({
    k: [] as number[][][],
    v: [] as number[][][],
  }));
  return tokens.flatMap((token, position) => {
    let x = rows(weight("model.embed_tokens.weight"), hiddenSize)[token]!;
    for (const [index, cache] of seen.entries()) {
      const layer = `model.layers.${index}`;
      const h = norm(x, `${layer}.input_layernorm`);
      const split = (name: string) => rows(project(h, `${layer}.self_attn.${name}`), headDim);
      cache.k.push(split("k_proj").map((head) => rotate(head, position)));
      cache.v.push(split("v_proj"));
      const attended = split("q_proj").flatMap((head, i) => {
        const q = rotate(head, position);
        const kv = Math.floor(i / (heads / keyValueHeads));
        const scores = cache.k.map((k) => Math.exp(dot(q, k[kv]!) / Math.sqrt(headDim)));
        const total = scores.reduce((a, b) => a + b);
        return q.map(
          (_, c) =>
            dot(
              scores,
              cache.v.map((v) => v[kv]![c]!),
            ) / total,
        );
      });
      x = plus(x, project(attended, `${layer}.self_attn.o_proj`));
      const y = norm(x, `${layer}.post_attention_layernorm`);
      const up = project(y, `${layer}.mlp.up_proj`);
      const gated = project(y, `${layer}.mlp.gate_proj`).map((g, i) => (g / (1 + Math.exp(-g))) * up[i]!);
      x = plus(x, project(gated, `${layer}.mlp.down_proj`));
    }
    const last = norm(x, "model.norm");
    return rows(weight("lm_head.weight"), hiddenSize).map((row) => dot(row, last));
  });
}
