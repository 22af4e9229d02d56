import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeHeader, type SafetensorsType } from "../../runtime/safetensors.ts";
import { type Checkpoint, openCheckpoint } from "./huggingface.ts";

const latentFolder = new URL("../../test/goldens/bitnet-tiny-latent", import.meta.url).pathname;
const packedFolder = new URL("../../examples/generate/bitnet-tiny", import.meta.url).pathname;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-checkpoint-"));
});
afterAll(() => rm(folder, { recursive: true }));

interface TestTensor {
  dtype: SafetensorsType;
  shape: number[];
  data: Uint8Array;
}
type Tensors = Map<string, TestTensor>;

const baseConfig = {
  architectures: ["LlamaForCausalLM"],
  vocab_size: 6,
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: "silu",
  max_position_embeddings: 32,
  tie_word_embeddings: true,
};

function floats(shape: number[], value = 1): TestTensor {
  const data = new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value);
  return { dtype: "F32", shape, data: new Uint8Array(data.buffer) };
}

const linears: [string, number, number][] = [
  ["self_attn.q_proj", 8, 8],
  ["self_attn.k_proj", 4, 8],
  ["self_attn.v_proj", 4, 8],
  ["self_attn.o_proj", 8, 8],
  ["mlp.gate_proj", 12, 8],
  ["mlp.up_proj", 12, 8],
  ["mlp.down_proj", 8, 12],
];
const layer = "model.layers.0.";

function denseTensors(): Tensors {
  const tensors: Tensors = new Map([
    ["model.embed_tokens.weight", floats([6, 8])],
    ["model.norm.weight", floats([8])],
    [`${layer}input_layernorm.weight`, floats([8])],
    [`${layer}post_attention_layernorm.weight`, floats([8])],
  ]);
  for (const [name, n, k] of linears) tensors.set(`${layer}${name}.weight`, floats([n, k], 0.5));
  return tensors;
}

function packedTensors(scale: number): Tensors {
  const tensors = denseTensors();
  for (const [name, n, k] of linears) {
    const data = new Uint8Array((n / 4) * k).fill(0b10_01_00_01);
    tensors.set(`${layer}${name}.weight`, { dtype: "U8", shape: [n / 4, k], data });
    tensors.set(`${layer}${name}.weight_scale`, floats([1], scale));
  }
  return tensors;
}

function fileBytes(tensors: Tensors): Uint8Array {
  const entries = [...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  return Buffer.concat([encodeHeader(entries), ...[...tensors.values()].map(({ data }) => data)]);
}

let count = 0;
async function write(config: object, tensors: Tensors, extra: Record<string, unknown> = {}): Promise<string> {
  const path = join(folder, `${count++}`);
  await mkdir(path);
  await writeFile(join(path, "config.json"), JSON.stringify({ ...baseConfig, ...config }));
  await writeFile(join(path, "model.safetensors"), fileBytes(tensors));
  for (const [name, json] of Object.entries(extra)) {
    await writeFile(join(path, name), typeof json === "string" ? json : JSON.stringify(json));
  }
  return path;
}

async function open(
  config: object = {},
  tensors: Tensors = denseTensors(),
  extra: Record<string, unknown> = {},
): Promise<Checkpoint> {
  const checkpoint = await openCheckpoint(await write(config, tensors, extra));
  await checkpoint.source.close();
  return checkpoint;
}

const q = `${layer}self_attn.q_proj.weight`;
const packedConfig = { quantization_config: { quant_method: "bitnet" } };

describe("the shipped checkpoints", () => {
  test("latent weights are dense floats", async () => {
    const { config, quantization, source, tokenizerFiles } = await openCheckpoint(latentFolder);
    expect(quantization).toBe("latent");
    expect(config).toMatchObject({
      name: "bitnet-tiny-latent",
      architecture: "BitNetForCausalLM",
      vocabularySize: 2048,
      hiddenSize: 256,
      intermediateSize: 688,
      layers: 4,
      heads: 4,
      keyValueHeads: 2,
      headDim: 64,
      normEpsilon: 1e-5,
      ropeTheta: 500_000,
      contextLength: 512,
      activation: "relu2",
      tiedHead: true,
      bosToken: 0,
      eosTokens: [1],
    });
    expect(source.info("model.layers.3.mlp.down_proj.weight")).toEqual({
      dims: [256, 688],
      form: { kind: "dense", dtype: "f32" },
    });
    expect(tokenizerFiles.map((path) => path.split("/").at(-1))).toEqual([
      "tokenizer.json",
      "tokenizer_config.json",
      "chat_template.jinja",
    ]);
    await source.close();
  });

  test("packed weights carry a multiplicative scale", async () => {
    const { config, quantization, source } = await openCheckpoint(packedFolder);
    expect(quantization).toBe("packed-multiply");
    const info = source.info("model.layers.0.self_attn.k_proj.weight")!;
    expect(info).toMatchObject({ dims: [128, 256], form: { kind: "ternary-packed", layout: "hf" } });
    expect(info.form.kind === "ternary-packed" && info.form.scale.length).toBe(1);
    expect([...source.paths()].filter((path) => path.endsWith("weight_scale"))).toEqual([]);
    const quantized = config.quantized as (module: string) => boolean;
    expect(quantized("model.layers.0.self_attn.k_proj")).toBe(true);
    expect(quantized("lm_head")).toBe(false);
    await source.close();
  });
});

describe("quantization is decided by the configuration", () => {
  const scaleOf = async (quantization_config: object, scale: number) => {
    const { source, quantization } = await open({ quantization_config }, packedTensors(scale));
    const { form } = source.info(q)!;
    return [quantization, form.kind === "ternary-packed" ? form.scale[0] : undefined];
  };
  test("linear_class absent or bitlinear divides", async () => {
    const inverse = Math.fround(1 / Math.fround(0.7));
    expect(await scaleOf({ quant_method: "bitnet" }, 0.7)).toEqual(["packed-divide", inverse]);
    expect(await scaleOf({ quant_method: "bitnet", linear_class: "bitlinear" }, 0.7)).toEqual([
      "packed-divide",
      inverse,
    ]);
  });
  test("autobitlinear offline multiplies", async () => {
    const config = { quant_method: "bitnet", linear_class: "autobitlinear", quantization_mode: "offline" };
    expect(await scaleOf(config, 0.7)).toEqual(["packed-multiply", Math.fround(0.7)]);
  });
  test("autobitlinear online is latent", async () => {
    const quantization_config = {
      quant_method: "bitnet",
      linear_class: "autobitlinear",
      quantization_mode: "online",
    };
    expect((await open({ quantization_config })).quantization).toBe("latent");
  });
  test("a Llama without quantization_config has ordinary linears", async () => {
    const { quantization, config } = await open();
    expect(quantization).toBe("none");
    expect((config.quantized as (module: string) => boolean)(`${layer}mlp.up_proj`)).toBe(false);
  });
  test("its linears are marked where their values are ternary", async () => {
    const tensors = denseTensors();
    const ordinary = floats([8, 8]);
    new DataView(ordinary.data.buffer).setFloat32(60, 0.25, true);
    tensors.set(q, ordinary);
    const { source } = await open({}, tensors);
    expect(source.info(q)?.form).toEqual({ kind: "dense", dtype: "f32" });
    expect(source.info(`${layer}mlp.up_proj.weight`)?.form).toEqual({
      kind: "dense",
      dtype: "f32",
      ternary: "row",
    });
    expect(source.info("model.embed_tokens.weight")?.form).toEqual({ kind: "dense", dtype: "f32" });
  });
  test("a BitNet family without quantization_config is latent, with either naming of the sub-norms", async () => {
    for (const [architecture, attention, feedForward] of [
      ["BitnetForCausalLM", "self_attn.inner_attn_ln", "mlp.ffn_layernorm"],
      ["BitNetForCausalLM", "self_attn.attn_sub_norm", "mlp.ffn_sub_norm"],
    ]) {
      for (const declared of ["BitnetForCausalLM", "BitNetForCausalLM"]) {
        const tensors = denseTensors();
        tensors.set(`${layer}${attention}.weight`, floats([8]));
        tensors.set(`${layer}${feedForward}.weight`, floats([12]));
        const checkpoint = await open({ architectures: [declared] }, tensors);
        expect(checkpoint.quantization).toBe("latent");
        expect(checkpoint.config.architecture).toBe(architecture);
      }
    }
  });
  test("modules_to_not_convert stay dense", async () => {
    const tensors = packedTensors(1);
    tensors.set(q, floats([8, 8]));
    tensors.delete(`${q}_scale`);
    const { source, config } = await open(
      { quantization_config: { quant_method: "bitnet", modules_to_not_convert: ["lm_head", "q_proj"] } },
      tensors,
    );
    expect(source.info(q)?.form).toEqual({ kind: "dense", dtype: "f32" });
    const quantized = config.quantized as (module: string) => boolean;
    expect([quantized(`${layer}self_attn.q_proj`), quantized(`${layer}self_attn.k_proj`)]).toEqual([
      false,
      true,
    ]);
  });
  test.each([
    ["model.layers.*", false],
    ["model.layers.0.*q_proj", false],
    ["model.*self_attn.*", false],
    ["layers.*", true],
    ["model.layers.1.*", true],
    ["odel.layers.0", true],
    ["model.layers.0.self_attn.q", true],
    ["(.*", true],
  ])("modules_to_not_convert %s as the beginning of a path", async (name, converted) => {
    const latent = { quant_method: "bitnet", linear_class: "autobitlinear", quantization_mode: "online" };
    const { config } = await open(
      { quantization_config: { ...latent, modules_to_not_convert: [name] } },
      denseTensors(),
    );
    expect((config.quantized as (module: string) => boolean)(`${layer}self_attn.q_proj`)).toBe(converted);
  });
  test("a scale for each row", async () => {
    const tensors = packedTensors(1);
    const scale = { dtype: "BF16" as const, shape: [8, 1], data: new Uint8Array(16).fill(0x3f) };
    tensors.set(`${q}_scale`, scale);
    const { source } = await open({ quantization_config: { quant_method: "bitnet" } }, tensors);
    const { form } = source.info(q)!;
    const bf16 = new Float32Array(Uint32Array.of(0x3f3f_0000).buffer)[0]!;
    expect(form.kind === "ternary-packed" && [...form.scale]).toEqual(Array(8).fill(Math.fround(1 / bf16)));
  });
});

describe("config.json", () => {
  test("rope_theta in either place, rope scaling, explicit head_dim, stop tokens of both files", async () => {
    const tensors = denseTensors();
    tensors.set(q, floats([12, 8]));
    for (const name of ["k_proj", "v_proj"]) tensors.set(`${layer}self_attn.${name}.weight`, floats([6, 8]));
    tensors.set(`${layer}self_attn.o_proj.weight`, floats([8, 12]));
    const { config } = await open(
      {
        rope_theta: undefined,
        rope_parameters: {
          rope_theta: 7,
          rope_type: "llama3",
          factor: 8,
          low_freq_factor: 1,
          high_freq_factor: 4,
          original_max_position_embeddings: 16,
        },
        head_dim: 6,
        eos_token_id: 3,
      },
      tensors,
      { "generation_config.json": { eos_token_id: [3, 4], bos_token_id: 2 } },
    );
    expect(config).toMatchObject({ ropeTheta: 7, headDim: 6, eosTokens: [3, 4], bosToken: 2 });
    expect(config.ropeScaling).toEqual({
      kind: "llama3",
      factor: 8,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
      originalContextLength: 16,
    });
  });
  test("rope_parameters beside rope_scaling, which wins", async () => {
    const { config } = await open({
      rope_parameters: { rope_theta: 7, partial_rotary_factor: 1 },
      rope_scaling: { type: "linear", factor: 4 },
    });
    expect(config).toMatchObject({ ropeTheta: 7, ropeScaling: { kind: "linear", factor: 4 } });
  });
  test("without tie_word_embeddings, lm_head.weight decides", async () => {
    const config = { tie_word_embeddings: undefined };
    expect((await open(config)).config.tiedHead).toBe(true);
    const untied = denseTensors().set("lm_head.weight", floats([6, 8]));
    const { config: read, source } = await open(config, untied);
    expect(read.tiedHead).toBe(false);
    expect(source.info("lm_head.weight")?.dims).toEqual([6, 8]);
  });

  test.each<[string, object, string, RegExp]>([
    [
      "an unknown architecture",
      { architectures: ["MambaForCausalLM"] },
      "UNKNOWN_ARCHITECTURE",
      /MambaForCausalLM/,
    ],
    ["no architecture", { architectures: undefined }, "INVALID_CONFIG", /architectures/],
    ["a missing size", { hidden_size: undefined }, "INVALID_CONFIG", /hidden_size/],
    ["a size of zero", { vocab_size: 0 }, "INVALID_CONFIG", /vocab_size/],
    ["no eps", { rms_norm_eps: undefined }, "INVALID_CONFIG", /rms_norm_eps/],
    ["no rope_theta", { rope_theta: undefined }, "INVALID_CONFIG", /rope_theta/],
    ["an unknown rope", { rope_scaling: { rope_type: "yarn" } }, "INVALID_CONFIG", /yarn/],
    ["a rope without its factor", { rope_scaling: { type: "linear" } }, "INVALID_CONFIG", /factor/],
    ["partial rotation", { partial_rotary_factor: 0.5 }, "INVALID_CONFIG", /partial_rotary_factor/],
    ["uneven heads", { num_key_value_heads: 3 }, "INVALID_CONFIG", /num_key_value_heads/],
    ["an odd head", { head_dim: 3 }, "INVALID_CONFIG", /head dimension/],
    ["an unknown activation", { hidden_act: "toString" }, "INVALID_CONFIG", /toString/],
    ["another quantizer", { quantization_config: { quant_method: "gptq" } }, "INVALID_CONFIG", /gptq/],
  ])("%s", async (_, config, code, message) => {
    const error = await open(config).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code });
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message).toContain("config.json");
  });
});

describe("bad tensors", () => {
  test.each<[string, object, (tensors: Tensors) => unknown, string, RegExp]>([
    ["a missing weight", {}, (t) => t.delete(q), "MISSING_TENSOR", /lacks 1 of .*\n.*q_proj\.weight/],
    [
      "a missing scale",
      packedConfig,
      (t) => t.delete(`${q}_scale`),
      "MISSING_TENSOR",
      /q_proj\.weight_scale/,
    ],
    ["a wrong shape", {}, (t) => t.set(q, floats([8, 9])), "INVALID_TENSOR", /\[8, 8\]\n.*F32 \[8, 9\]/],
    [
      "packed where dense is due",
      {},
      (t) => t.set(q, packedTensors(1).get(q)!),
      "INVALID_TENSOR",
      /U8 \[2, 8\]/,
    ],
    [
      "dense where packed is due",
      packedConfig,
      (t) => t.set(q, floats([8, 8])),
      "INVALID_TENSOR",
      /U8 \[2, 8\], the/,
    ],
    [
      "a scale of zero",
      packedConfig,
      (t) => t.set(`${q}_scale`, floats([1], 0)),
      "INVALID_WEIGHTS",
      /weight_scale/,
    ],
    [
      "a scale of NaN",
      packedConfig,
      (t) => t.set(`${q}_scale`, floats([1], Number.NaN)),
      "INVALID_WEIGHTS",
      /NaN at/,
    ],
    ["two scales", packedConfig, (t) => t.set(`${q}_scale`, floats([2])), "INVALID_TENSOR", /8 rows/],
    [
      "a bias nobody adds",
      {},
      (t) => t.set(`${layer}self_attn.q_proj.bias`, floats([8])),
      "INVALID_TENSOR",
      /q_proj\.bias/,
    ],
  ])("%s", async (_, config, change, code, message) => {
    const tensors = config === packedConfig ? packedTensors(1) : denseTensors();
    change(tensors);
    const error = await open(config, tensors).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code });
    expect((error as Error).message).toMatch(message);
  });

  test("packed rows that are no multiple of 4", async () => {
    const error = await open({ ...packedConfig, intermediate_size: 10 }, packedTensors(1)).catch((e) => e);
    expect(error).toMatchObject({ code: "INVALID_TENSOR" });
    expect(error.message).toMatch(/multiple of 4, and not 10/);
  });

  test("a name in the list of missing tensors stays short", async () => {
    const error = await open({ num_hidden_layers: 9 }).catch((e) => e);
    expect(error).toMatchObject({ code: "MISSING_TENSOR" });
    expect(error.message).toMatch(/model\.layers\.1\.input_layernorm\.weight.*, and \d+ more/);
  });

  test("buffers of older checkpoints are ignored", async () => {
    const tensors = denseTensors().set(`${layer}self_attn.rotary_emb.inv_freq`, floats([2]));
    tensors.set("lm_head.weight", floats([6, 8]));
    await expect(open({}, tensors)).resolves.toBeDefined();
  });

  test("no folder, and a config that is not JSON", async () => {
    await expect(openCheckpoint(join(folder, "nowhere"))).rejects.toMatchObject({ code: "MISSING_FILE" });
    await expect(open({}, denseTensors(), { "config.json": "{" })).rejects.toMatchObject({
      code: "CORRUPT_FILE",
    });
  });
});

describe("shards", () => {
  async function sharded(change: (weightMap: Record<string, string>) => void): Promise<Checkpoint> {
    const path = await write({}, new Map());
    await rm(join(path, "model.safetensors"));
    const tensors = [...denseTensors()];
    const weight_map: Record<string, string> = {};
    for (const [index, part] of [tensors.slice(0, 5), tensors.slice(5)].entries()) {
      const shard = `model-0000${index + 1}-of-00002.safetensors`;
      await writeFile(join(path, shard), fileBytes(new Map(part)));
      for (const [name] of part) weight_map[name] = shard;
    }
    change(weight_map);
    await writeFile(join(path, "model.safetensors.index.json"), JSON.stringify({ weight_map }));
    return openCheckpoint(path);
  }

  test("are read as one", async () => {
    const { source } = await sharded(() => {});
    for (const [path, { data }] of denseTensors()) {
      const into = new Uint8Array(data.byteLength);
      await source.read(path, 0, into);
      expect(into).toEqual(data);
    }
    await source.close();
  });
  test.each<[string, string, string]>([
    ["a missing shard", "model-00003-of-00002.safetensors", "MISSING_FILE"],
    ["a tensor that is in another shard", "model-00001-of-00002.safetensors", "MISSING_TENSOR"],
    ["a path outside the folder", "../x/model.safetensors", "CORRUPT_FILE"],
  ])("%s", async (_, shard, code) => {
    await expect(
      sharded((map) => {
        map[`${layer}mlp.down_proj.weight`] = shard;
      }),
    ).rejects.toMatchObject({ code });
  });
});
