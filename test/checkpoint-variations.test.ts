import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { interpret } from "../ir/interpret.ts";
import { f32ToBf16, f32ToF16, type Tensor, tensor } from "../ir/tensor.ts";
import { loadLanguageModel } from "../runtime/index.ts";
import { encodeHeader, type SafetensorsType } from "../runtime/safetensors.ts";
import { openCheckpoint } from "../src/checkpoint/huggingface.ts";
import { compileCheckpoint } from "../src/compiler/checkpoint.ts";
import { type HeadStorage, lowerModel } from "../src/compiler/lower.ts";
import { evaluate } from "../src/compiler/prepare/fallback.ts";
import { languageModel } from "../src/dsl/index.ts";
import { Random } from "./support/random.ts";

/** How a published family stores its models, in small. */
interface Variation {
  readonly family: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** How its linears are stored, but for those of `unconverted` modules. */
  readonly layout: "packed" | "latent" | "ternary";
  readonly dtype: "F32" | "F16" | "BF16";
  /** Scales of packed weights, one a tensor or one a row, around this number. */
  readonly scale?: number;
  readonly rowScales?: boolean;
  /** Columns that share a magnitude, of ternary weights; a row where absent. */
  readonly group?: number;
  readonly subNorms?: readonly [attention: string, feedForward: string];
  readonly unconverted?: readonly string[];
  readonly sharded?: boolean;
  readonly head?: HeadStorage;
}

const LAYERS = 2;
const VOCABULARY = 37;
const common = {
  vocab_size: VOCABULARY,
  num_hidden_layers: LAYERS,
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  max_position_embeddings: 32,
  hidden_act: "silu",
  tie_word_embeddings: false,
};
const sizes = (hidden_size: number, intermediate_size: number, heads: number, keyValueHeads: number) => ({
  hidden_size,
  intermediate_size,
  num_attention_heads: heads,
  num_key_value_heads: keyValueHeads,
});
const llama = { ...common, architectures: ["LlamaForCausalLM"] };
const bitnet = { ...common, architectures: ["BitNetForCausalLM"] };
const quantized = (config: object) => ({ quantization_config: { quant_method: "bitnet", ...config } });
const offline = quantized({ linear_class: "autobitlinear", quantization_mode: "offline" });
const online = quantized({ linear_class: "autobitlinear", quantization_mode: "online" });
const newNames = ["attn_sub_norm", "ffn_sub_norm"] as const;
const oldNames = ["inner_attn_ln", "ffn_layernorm"] as const;

const variations: readonly Variation[] = [
  {
    family: "bitnet-b1.58-2B-4T",
    config: {
      ...bitnet,
      ...sizes(40, 68, 4, 2),
      ...offline,
      hidden_act: "relu2",
      head_dim: 6,
      tie_word_embeddings: true,
    },
    layout: "packed",
    dtype: "BF16",
    scale: 0.2,
    subNorms: newNames,
  },
  {
    family: "bitnet-b1.58-2B-4T-bf16, sharded",
    config: {
      ...bitnet,
      ...sizes(40, 61, 4, 1),
      ...online,
      hidden_act: "relu2",
      tie_word_embeddings: true,
    },
    layout: "latent",
    dtype: "BF16",
    subNorms: newNames,
    sharded: true,
  },
  {
    family: "1bitLLM/bitnet_b1_58",
    config: { ...bitnet, ...sizes(50, 67, 5, 5) },
    layout: "latent",
    dtype: "F16",
    subNorms: oldNames,
    head: "int8",
  },
  {
    family: "BitnetForCausalLM",
    config: { ...common, ...sizes(50, 63, 5, 5), architectures: ["BitnetForCausalLM"] },
    layout: "latent",
    dtype: "F32",
    subNorms: oldNames,
  },
  {
    family: "HF1BitLLM/Llama3-8B-1.58",
    config: {
      ...llama,
      ...sizes(64, 84, 4, 2),
      ...quantized({ modules_to_not_convert: ["lm_head"] }),
      rope_theta: 500_000,
      rope_scaling: {
        rope_type: "llama3",
        factor: 8,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 16,
      },
    },
    layout: "packed",
    dtype: "BF16",
    scale: 6,
  },
  {
    family: "Falcon3-1.58bit, a scale a row",
    config: { ...llama, ...sizes(36, 132, 4, 2), ...quantized({}), head_dim: 18 },
    layout: "packed",
    dtype: "F16",
    scale: 6,
    rowScales: true,
    head: "f16",
  },
  {
    family: "modules_to_not_convert, biases",
    config: {
      ...llama,
      ...sizes(40, 68, 4, 2),
      ...quantized({ modules_to_not_convert: ["q_proj", "model.layers.1"] }),
      tie_word_embeddings: true,
      attention_bias: true,
      mlp_bias: true,
    },
    layout: "packed",
    dtype: "BF16",
    scale: 6,
    unconverted: ["q_proj", "model.layers.1."],
  },
  {
    family: "SpectraSuite/TriLM",
    config: { ...llama, ...sizes(64, 160, 4, 4) },
    layout: "ternary",
    dtype: "F16",
  },
  {
    family: "Ternary-Bonsai",
    config: {
      ...llama,
      ...sizes(256, 384, 4, 2),
      rope_theta: undefined,
      rope_parameters: { rope_type: "linear", factor: 2, rope_theta: 10_000 },
      tie_word_embeddings: true,
    },
    layout: "ternary",
    dtype: "F16",
    group: 128,
  },
  {
    family: "a Llama that is not ternary",
    config: { ...llama, ...sizes(30, 45, 3, 1), attention_bias: true, mlp_bias: true },
    layout: "latent",
    dtype: "F32",
  },
];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-variations-"));
});
afterAll(() => rm(folder, { recursive: true }));

it.each(variations)("$family computes what the reference interpreter does", async (variation) => {
  const path = join(folder, variation.family.replaceAll(/\W+/g, "-"));
  const random = new Random(7);
  await writeCheckpoint(path, variation, random);
  const checkpoint = await openCheckpoint(path);
  const options = { bounds: { chunk: 8 }, ...(variation.head && { head: variation.head }) };
  const tokens = Array.from({ length: 17 }, () => random.int(0, VOCABULARY - 1));

  const graph = lowerModel(languageModel(checkpoint.config), checkpoint.source, {
    ...options,
    after: "bind",
  }).run!;
  const parameters: Record<string, Tensor> = {};
  for (const value of graph.parameters) {
    if (value.origin.kind !== "parameter") continue;
    parameters[value.origin.path] = await evaluate(value, checkpoint.source);
  }
  const { outputs } = interpret(
    { ...graph, symbols: new Map([...graph.symbols, ["seq", { max: tokens.length }]]) },
    {
      inputs: {
        tokens: tensor("i32", [1, tokens.length], tokens),
        positions: tensor("i32", [1], [0]),
        slots: tensor("i32", [1], [0]),
      },
      parameters,
      symbols: { slots: 1 },
    },
  );
  const expected = tokens.map((_, row) =>
    (outputs.logits!.data as Float32Array).subarray(row * VOCABULARY, (row + 1) * VOCABULARY),
  );

  await compileCheckpoint(checkpoint, { ...options, out: join(path, "artifact"), verify: true });
  await checkpoint.source.close();
  await using model = await loadLanguageModel(join(path, "artifact"), { threads: 2 });
  const distances = [distance(await model.prefill(tokens), expected.at(-1)!)];
  model.reset();
  for (const [row, token] of tokens.entries()) {
    distances.push(distance(await model.decode(token), expected[row]!));
  }
  // An activation code that lies near a tie may flip, which costs a few 1e-3.
  expect(Math.max(...distances)).toBeLessThan(1e-2);
  expect(distances.filter((each) => each > 1e-5).length).toBeLessThanOrEqual(1);
});

/** Relative L2. */
function distance(actual: Float32Array, expected: Float32Array): number {
  const norm = (values: Float32Array) => Math.hypot(...values);
  return norm(actual.map((value, i) => value - expected[i]!)) / norm(expected);
}

interface StoredTensor {
  readonly name: string;
  readonly dtype: SafetensorsType;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** Writes config.json and the weights of a model with random values. */
async function writeCheckpoint(path: string, variation: Variation, random: Random): Promise<void> {
  await mkdir(path);
  await writeFile(join(path, "config.json"), JSON.stringify(variation.config));
  const tensors = [...modelTensors(variation, random)];
  const write = (file: string, part: readonly StoredTensor[]) =>
    writeFile(join(path, file), Buffer.concat([encodeHeader(part), ...part.map(({ data }) => data)]));
  if (!variation.sharded) return write("model.safetensors", tensors);
  const half = tensors.length >> 1;
  const shards = [tensors.slice(0, half), tensors.slice(half)];
  const weight_map: Record<string, string> = {};
  for (const [index, part] of shards.entries()) {
    const file = `model-0000${index + 1}-of-00002.safetensors`;
    for (const { name } of part) weight_map[name] = file;
    await write(file, part);
  }
  await writeFile(join(path, "model.safetensors.index.json"), JSON.stringify({ weight_map }));
}

function* modelTensors(variation: Variation, random: Random): Generator<StoredTensor> {
  const { config, subNorms } = variation;
  const number = (key: string) => config[key] as number;
  const hidden = number("hidden_size");
  const intermediate = number("intermediate_size");
  const headDim = (config.head_dim as number | undefined) ?? hidden / number("num_attention_heads");
  const queries = number("num_attention_heads") * headDim;
  const keys = number("num_key_value_heads") * headDim;
  const dense = (name: string, shape: readonly number[], next: () => number): StoredTensor => {
    const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, next);
    return { name, dtype: variation.dtype, shape, data: stored(values, variation.dtype) };
  };
  const norm = (name: string, size: number) =>
    dense(`${name}.weight`, [size], () => 1 + 0.1 * random.normal());
  const linear = function* (name: string, n: number, k: number, bias: unknown): Generator<StoredTensor> {
    if (bias) yield dense(`${name}.bias`, [n], () => 0.1 * random.normal());
    const converted = !variation.unconverted?.some((part) => name.includes(part));
    if (variation.layout === "packed" && converted) {
      const data = Uint8Array.from({ length: (n / 4) * k }, () =>
        [0, 2, 4, 6].reduce((byte, shift) => byte | (random.int(0, 2) << shift), 0),
      );
      yield { name: `${name}.weight`, dtype: "U8", shape: [n / 4, k], data };
      const scales = [variation.rowScales ? n : 1];
      yield dense(`${name}.weight_scale`, scales, () => variation.scale! * (1 + random.next()));
    } else if (variation.layout === "ternary") {
      const { group = k } = variation;
      let scale = 0;
      let index = 0;
      yield dense(`${name}.weight`, [n, k], () => {
        if ((index++ % k) % group === 0) scale = 0.05 + 0.1 * random.next();
        return scale * random.int(-1, 1);
      });
    } else yield dense(`${name}.weight`, [n, k], () => 0.1 * random.normal());
  };

  yield dense("model.embed_tokens.weight", [VOCABULARY, hidden], () => random.normal());
  for (let index = 0; index < LAYERS; index++) {
    const layer = `model.layers.${index}`;
    yield norm(`${layer}.input_layernorm`, hidden);
    yield* linear(`${layer}.self_attn.q_proj`, queries, hidden, config.attention_bias);
    yield* linear(`${layer}.self_attn.k_proj`, keys, hidden, config.attention_bias);
    yield* linear(`${layer}.self_attn.v_proj`, keys, hidden, config.attention_bias);
    if (subNorms) yield norm(`${layer}.self_attn.${subNorms[0]}`, queries);
    yield* linear(`${layer}.self_attn.o_proj`, hidden, queries, config.attention_bias);
    yield norm(`${layer}.post_attention_layernorm`, hidden);
    yield* linear(`${layer}.mlp.gate_proj`, intermediate, hidden, config.mlp_bias);
    yield* linear(`${layer}.mlp.up_proj`, intermediate, hidden, config.mlp_bias);
    if (subNorms) yield norm(`${layer}.mlp.${subNorms[1]}`, intermediate);
    yield* linear(`${layer}.mlp.down_proj`, hidden, intermediate, config.mlp_bias);
  }
  yield norm("model.norm", hidden);
  if (!config.tie_word_embeddings) {
    yield dense("lm_head.weight", [VOCABULARY, hidden], () => random.normal());
  }
}

function stored(values: Float32Array<ArrayBuffer>, dtype: Variation["dtype"]): Uint8Array {
  if (dtype === "F32") return new Uint8Array(values.buffer);
  return new Uint8Array(Uint16Array.from(values, dtype === "F16" ? f32ToF16 : f32ToBf16).buffer);
}
