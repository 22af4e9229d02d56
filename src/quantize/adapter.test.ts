import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { interpret } from "../../ir/interpret.ts";
import { type Tensor, tensor } from "../../ir/tensor.ts";
import { errorOf } from "../../test/support/errors.ts";
import { type RawTensor, readTensors, writeTensors } from "../../test/support/safetensors.ts";
import { readFloats } from "../checkpoint/read-floats.ts";
import { memorySource, type ParameterSource } from "../checkpoint/source.ts";
import { bitLinear, defineModel, f32, linear, type Model } from "../dsl/index.ts";
import { applyAdapter, mergeAdapter, readAdapter, writeAdapter } from "./adapter.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-adapter-"));
});
afterAll(() => rm(folder, { recursive: true }));

const config = { peft_type: "LORA", r: 1, lora_alpha: 3, bias: "none", target_modules: ["up"] };
const floats = (shape: number[], values: number[]): RawTensor => ({
  dtype: "F32",
  shape,
  bytes: new Uint8Array(Float32Array.from(values).buffer),
});
/** [3, 2] of rank 1, by hand. */
const factors = {
  "base_model.model.up.lora_A.weight": floats([1, 2], [1, 2]),
  "base_model.model.up.lora_B.weight": floats([3, 1], [1, 0, -1]),
};

let count = 0;
async function adapterFolder(changes: object = {}, tensors: Record<string, RawTensor> = factors) {
  const path = join(folder, `adapter-${count++}`);
  await mkdir(path);
  await writeFile(join(path, "adapter_config.json"), JSON.stringify({ ...config, ...changes }));
  await writeTensors(join(path, "adapter_model.safetensors"), new Map(Object.entries(tensors)));
  return path;
}

const modelOf = (make: typeof linear | typeof bitLinear) =>
  defineModel({
    name: "m",
    inputs: { x: f32(1, 2) },
    layers: { up: make(2, 3) },
    forward: ({ x }, { up }) => ({ y: up(x) }),
  });
const weights = memorySource(
  new Map([["up.weight", { dims: [3, 2], data: Float32Array.of(1, -1, 1, 1, -1, -1) }]]),
);
const x = tensor("f32", [1, 2], [5, 7]);

async function outputOf(model: Model, source: ParameterSource): Promise<number[]> {
  const parameters: Record<string, Tensor> = {};
  for (const { path, dims } of model.parameters())
    parameters[path] = tensor("f32", dims, await readFloats(source, path));
  return [...interpret(model.trace(), { inputs: { x }, parameters }).outputs.y!.data] as number[];
}

describe("a LoRA adapter in PEFT's layout", () => {
  it.each([
    ["alpha / r", {}, 3],
    ["alpha of a pattern", { alpha_pattern: { up: 2 } }, 2],
    ["alpha of a pattern for another module", { alpha_pattern: { p: 2 } }, 3],
  ])("is read with the scaling %s", async (_, changes, scaling) => {
    const adapter = await readAdapter(await adapterFolder(changes));
    expect(Object.fromEntries(adapter)).toEqual({
      up: { n: 3, k: 2, rank: 1, u: Float32Array.of(scaling, 0, -scaling), v: Float32Array.of(1, 2) },
    });
  });

  it("is scaled by the root of its rank with use_rslora", async () => {
    const wide = {
      "base_model.model.up.lora_A.weight": floats([4, 2], [1, 2, 3, 4, 5, 6, 7, 8]),
      "base_model.model.up.lora_B.weight": floats([1, 4], [1, 1, 1, 1]),
    };
    const { u, v } = (await readAdapter(await adapterFolder({ use_rslora: true }, wide))).get("up")!;
    expect([...u]).toEqual([1.5, 1.5, 1.5, 1.5]);
    expect([...v]).toEqual([1, 3, 5, 7, 2, 4, 6, 8]);
  });

  it("corrects a BitLinear, and is added to the weights of an ordinary layer", async () => {
    const adapter = await readAdapter(await adapterFolder());
    // A · x = 5 + 14, B times that, times 3.
    const change = [57, 0, -57];
    const ternary = modelOf(bitLinear);
    const applied = applyAdapter(ternary, weights, adapter);
    const before = await outputOf(ternary, weights);
    expect(await outputOf(applied.model, applied.weights)).toEqual(
      before.map((y, i) => Math.fround(y + change[i]!)),
    );
    const merged = await mergeAdapter(weights, adapter);
    expect(await outputOf(modelOf(linear), merged)).toEqual([-2 + 57, 12, -12 - 57]);
  });

  it("is written as it was read, with the scaling in its factors", async () => {
    const adapter = await readAdapter(await adapterFolder());
    const { model, weights: adapted } = applyAdapter(modelOf(bitLinear), weights, adapter);
    const out = join(folder, "written");
    await writeAdapter(out, model, adapted, "some/model");
    expect(await readAdapter(out)).toEqual(adapter);
    expect(JSON.parse(await readFile(join(out, "adapter_config.json"), "utf8"))).toMatchObject({
      peft_type: "LORA",
      base_model_name_or_path: "some/model",
      r: 1,
      lora_alpha: 1,
      target_modules: ["up"],
    });
    expect([...(await readTensors(join(out, "adapter_model.safetensors"))).keys()]).toEqual(
      Object.keys(factors),
    );
  });

  it.each([
    ["another method", { peft_type: "IA3" }, factors, "INVALID_CONFIG"],
    ["a bias", { bias: "all" }, factors, "INVALID_CONFIG"],
    ["DoRA", { use_dora: true }, factors, "INVALID_CONFIG"],
    ["a pattern that is a regular expression", { alpha_pattern: { "u.*": 1 } }, factors, "INVALID_CONFIG"],
    ["saved modules", { modules_to_save: ["lm_head"] }, factors, "INVALID_CONFIG"],
    [
      "a tensor of something else",
      {},
      { ...factors, "base_model.model.up.bias": floats([1], [0]) },
      "INVALID_TENSOR",
    ],
    ["one factor", {}, { "base_model.model.up.lora_A.weight": floats([1, 2], [1, 2]) }, "MISSING_TENSOR"],
    [
      "factors of two ranks",
      {},
      { ...factors, "base_model.model.up.lora_B.weight": floats([3, 2], [0, 0, 0, 0, 0, 0]) },
      "INVALID_TENSOR",
    ],
  ])("is refused with %s", async (_, changes, tensors, code) => {
    await expect(readAdapter(await adapterFolder(changes, tensors))).rejects.toMatchObject({ code });
  });

  it("is refused by a model that it does not fit", async () => {
    const adapter = await readAdapter(await adapterFolder());
    expect(errorOf(() => applyAdapter(modelOf(linear), weights, adapter))).toMatchObject({
      code: "INVALID_OPTION",
      received: "up",
    });
    const wider = defineModel({
      name: "m",
      inputs: { x: f32(1, 4) },
      layers: { up: bitLinear(4, 3) },
      forward: ({ x }, { up }) => ({ y: up(x) }),
    });
    expect(errorOf(() => applyAdapter(wider, weights, adapter)).code).toBe("SHAPE_MISMATCH");
    await expect(mergeAdapter(memorySource(new Map()), adapter)).rejects.toMatchObject({
      code: "MISSING_TENSOR",
    });
    await expect(writeAdapter(join(folder, "none"), modelOf(linear), weights)).rejects.toMatchObject({
      code: "INVALID_OPTION",
    });
  });
});
