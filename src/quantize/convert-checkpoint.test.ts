import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { interpret } from "../../ir/interpret.ts";
import { tensor } from "../../ir/tensor.ts";
import { printGraph } from "../../ir/text/print.ts";
import { load } from "../../runtime/index.ts";
import { checkpoints } from "../../test/support/checkpoints.ts";
import { tinyLlama, writeTinyLlama } from "../../test/support/llama-folder.ts";
import { type RawTensor, readTensors, writeTensors } from "../../test/support/safetensors.ts";
import { relativeL2 } from "../../test/support/tolerance.ts";
import { openCheckpoint } from "../checkpoint/huggingface.ts";
import { readFloats } from "../checkpoint/read-floats.ts";
import { compileCheckpoint } from "../compiler/checkpoint.ts";
import { languageModel, llama } from "../dsl/index.ts";
import { convertToBitnet, type SubLNPlacement } from "./convert.ts";
import {
  type CheckpointCorrections,
  type ConvertCheckpointOptions,
  convertCheckpoint,
  isBitnetCheckpoint,
} from "./convert-checkpoint.ts";

let folder: string;
let source: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-convert-"));
  source = join(folder, "llama");
  await writeTinyLlama(source);
});
afterAll(() => rm(folder, { recursive: true }));

let count = 0;
async function converted(options: Partial<ConvertCheckpointOptions> = {}) {
  const out = join(folder, `bitnet-${count++}`);
  const report = await convertCheckpoint(source, { out, ...options });
  const checkpoint = await openCheckpoint(out);
  return { out, report, checkpoint, tensors: await readTensors(join(out, "model.safetensors")) };
}

describe("a converted checkpoint", () => {
  it.each<[SubLNPlacement, number, string]>([
    ["output", 4, "BitNetForCausalLM"],
    ["every", 14, "LlamaForCausalLM"],
    ["none", 0, "LlamaForCausalLM"],
  ])(
    "with SubLN %s has %i norms of ones more, and all other tensors as they were",
    async (subln, norms, name) => {
      const { report, checkpoint, tensors } = await converted({ subln });
      await checkpoint.source.close();
      expect(report).toMatchObject({ converted: 14, norms });
      expect(checkpoint).toMatchObject({ quantization: "latent", config: { architecture: name } });
      expect(isBitnetCheckpoint(checkpoint)).toBe(true);
      const before = await readTensors(join(source, "model.safetensors"));
      for (const [path, expected] of before) expect(tensors.get(path)).toEqual(expected);
      const added = [...tensors].filter(([path]) => !before.has(path));
      expect(added).toHaveLength(norms);
      for (const [, { dtype, shape, bytes }] of added) {
        expect(dtype).toBe("F32");
        expect([...new Float32Array(bytes.slice().buffer)]).toEqual(Array(shape[0]).fill(1));
      }
    },
  );

  it.each<SubLNPlacement>(["every", "none"])("with SubLN %s is the converted model", async (subln) => {
    const { checkpoint } = await converted({ subln });
    await checkpoint.source.close();
    const model = convertToBitnet(llama(tinyLlama), { subln, eps: tinyLlama.normEpsilon });
    const fromFile = languageModel({ ...checkpoint.config, name: tinyLlama.name });
    expect(printGraph(fromFile.trace())).toBe(printGraph(model.trace()));
  });

  it("keeps what else config.json and the folder hold", async () => {
    const generation = JSON.stringify({ eos_token_id: 2 });
    await writeFile(join(source, "generation_config.json"), generation);
    const { out, checkpoint } = await converted();
    await checkpoint.source.close();
    expect(JSON.parse(await readFile(join(out, "config.json"), "utf8"))).toEqual({
      ...JSON.parse(await readFile(join(source, "config.json"), "utf8")),
      architectures: ["BitNetForCausalLM"],
      model_type: "bitnet",
      quantization_config: {
        quant_method: "bitnet",
        linear_class: "autobitlinear",
        quantization_mode: "online",
        modules_to_not_convert: null,
      },
    });
    expect(await readFile(join(out, "generation_config.json"), "utf8")).toBe(generation);
  });

  it.each<[SubLNPlacement, CheckpointCorrections | undefined]>([
    ["output", undefined],
    ["every", { rankPercentage: 25 }],
  ])(
    "with SubLN %s and corrections %j builds, and runs as the interpreter does",
    async (subln, corrections) => {
      const { checkpoint } = await converted({ subln, ...(corrections && { corrections }) });
      const model = languageModel(checkpoint.config);
      const read = model
        .parameters()
        .map(
          async ({ path, dims }) =>
            [path, tensor("f32", dims, await readFloats(checkpoint.source, path))] as const,
        );
      const parameters = Object.fromEntries(await Promise.all(read));
      const artifact = join(folder, `artifact-${subln}`);
      await compileCheckpoint(checkpoint, { out: artifact, targets: ["wasm"] });
      await checkpoint.source.close();
      const tokens = Int32Array.of(3, 9, 17, 21, 4);
      const inputs = {
        tokens: tensor("i32", [1, 5], tokens),
        positions: tensor("i32", [1], [0]),
        slots: tensor("i32", [1], [0]),
      };
      const states = {};
      const { outputs } = interpret(model.trace(), { inputs, parameters, states, symbols: { slots: 1 } });
      await using loaded = await load(artifact, { device: "wasm", threads: 1 });
      const result = await loaded.run({
        tokens: { data: tokens, dims: [1, 5] },
        positions: Int32Array.of(0),
        slots: Int32Array.of(0),
      });
      expect(relativeL2(tensor("f32", [1, 5, 40], result.logits!.data), outputs.logits!)).toBeLessThan(1e-4);
    },
  );

  it("has the corrections that it is asked for, a BitNet checkpoint too, and they are found when it is opened", async () => {
    const { out, checkpoint: plain } = await converted();
    await plain.source.close();
    const before = await readTensors(join(out, "model.safetensors"));
    const corrected = join(folder, "corrected");
    const corrections = { rankPercentage: 25, init: "zeros" } as const;
    const report = await convertCheckpoint(out, { out: corrected, corrections });
    expect(report).toMatchObject({ converted: 0, norms: 0 });
    expect(report.corrections.map(({ rank }) => rank)).toEqual([4, 2, 2, 4, 4, 4, 4, 4, 2, 2, 4, 4, 4, 4]);
    const { config, source } = await openCheckpoint(corrected);
    await source.close();
    expect(config.correctionRanks).toEqual(
      Object.fromEntries(report.corrections.map(({ path, rank }) => [path, rank])),
    );
    const after = await readTensors(join(corrected, "model.safetensors"));
    for (const [path, expected] of before) expect(after.get(path)).toEqual(expected);
    const u = after.get("model.layers.1.mlp.down_proj.lrc_U")!;
    expect(u).toMatchObject({ shape: [16, 4], dtype: "F32" });
    expect(u.bytes.every((byte) => byte === 0)).toBe(true);
    // With a factor of another size, with none beside it, and beside what is no BitLinear, it is refused.
    const spoiled = async (change: (tensors: Map<string, RawTensor>) => void) => {
      const tensors = new Map(after);
      change(tensors);
      await writeTensors(join(corrected, "model.safetensors"), tensors);
      return openCheckpoint(corrected);
    };
    const path = "model.layers.0.self_attn.q_proj.lrc_U";
    const factor = after.get(path)!;
    await expect(
      spoiled((tensors) => tensors.set(path, { ...factor, shape: [4, 16] })),
    ).rejects.toMatchObject({
      code: "INVALID_TENSOR",
    });
    await expect(spoiled((tensors) => tensors.delete(path.replace("U", "V")))).rejects.toMatchObject({
      code: "MISSING_TENSOR",
    });
    await expect(spoiled((tensors) => tensors.set("lm_head.lrc_U", factor))).rejects.toMatchObject({
      code: "INVALID_TENSOR",
    });
  });

  it("comes about in two stages as in one", async () => {
    const first = await converted({ stageOne: true });
    await first.checkpoint.source.close();
    expect(first.report).toMatchObject({ converted: 0, norms: 4 });
    expect(isBitnetCheckpoint(first.checkpoint)).toBe(false);
    const out = join(folder, "two-stages");
    expect(await convertCheckpoint(first.out, { out })).toMatchObject({ converted: 14, norms: 0 });
    const once = await converted();
    await once.checkpoint.source.close();
    for (const name of ["config.json", "model.safetensors"]) {
      expect(await readFile(join(out, name))).toEqual(await readFile(join(once.out, name)));
    }
  });

  it("is refused for a BitNet checkpoint, a folder with other files, and options that cannot be", async () => {
    const { out, checkpoint } = await converted();
    await checkpoint.source.close();
    const target = join(folder, "refused");
    await expect(convertCheckpoint(out, { out: target })).rejects.toMatchObject({ code: "INVALID_OPTION" });
    for (const options of [
      { stageOne: true, subln: "every" },
      { stageOne: true, corrections: { rankPercentage: 5 } },
      { corrections: { rankPercentage: 0 } },
    ] as const) {
      await expect(convertCheckpoint(source, { out: target, ...options })).rejects.toMatchObject({
        code: "INVALID_OPTION",
      });
    }
    const { folder: packed } = checkpoints["bitnet-tiny-packed"];
    await expect(
      convertCheckpoint(packed, { out: target, corrections: { rankPercentage: 5 } }),
    ).rejects.toMatchObject({ code: "INVALID_TENSOR" });
    await expect(convertCheckpoint(join(folder, "nothing"), { out: target })).rejects.toMatchObject({
      code: "MISSING_FILE",
    });
    await mkdir(target);
    await writeFile(join(target, "mine.txt"), "");
    await expect(convertCheckpoint(source, { out: target })).rejects.toMatchObject({ code: "WRITE_FAILED" });
    expect(await readdir(target)).toEqual(["mine.txt"]);
  });

  it("leaves nothing behind when it is ended", async () => {
    const controller = new AbortController();
    const before = await readdir(folder);
    const onProgress = () => controller.abort("enough");
    const out = join(folder, "ended");
    await expect(
      convertCheckpoint(source, { out, signal: controller.signal, onProgress }),
    ).rejects.toMatchObject({ code: "ABORTED" });
    expect(await readdir(folder)).toEqual(before);
  });
});
