import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { BitloomError } from "../../errors/index.ts";
import { throwIfAborted } from "../../runtime/abort.ts";
import { encodeHeader, type SafetensorsType, type TensorDeclaration } from "../../runtime/safetensors.ts";
import { parseConfig } from "../checkpoint/config.ts";
import { familyParameters } from "../checkpoint/family-parameters.ts";
import { type Checkpoint, openCheckpoint } from "../checkpoint/huggingface.ts";
import { existing, readJson } from "../checkpoint/json-file.ts";
import { type FloatType, type ParameterSource, storedBytes } from "../checkpoint/source.ts";
import { ArtifactFolder } from "../compiler/artifact-folder.ts";
import type { ParameterDeclaration } from "../dsl/layer.ts";
import { knownOptions, oneOf, requirePath } from "../dsl/options.ts";
import { type SubLNPlacement, subLNPlacements } from "./convert.ts";

export interface ConvertCheckpointOptions {
  /** A new or empty folder. */
  readonly out: string;
  /** Default `output`. */
  readonly subln?: SubLNPlacement;
  /** Insert SubLN alone, with `subln: "output"`, and leave all projections in full precision. Default `false`. */
  readonly stageOne?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { readonly loaded: number; readonly total: number }) => void;
}

export interface ConversionReport {
  readonly out: string;
  /** Projections that are BitLinear in the result. */
  readonly converted: number;
  /** Tensors of ones that were added. */
  readonly norms: number;
  /** Of model.safetensors. */
  readonly bytes: number;
}

const safetensorsTypes: Readonly<Record<FloatType, SafetensorsType>> = {
  f32: "F32",
  f16: "F16",
  bf16: "BF16",
};
const PIECE_BYTES = 2 ** 24;

/** Whether any projection of a checkpoint is BitLinear. */
export function isBitnetCheckpoint({ config }: Checkpoint): boolean {
  const { quantized } = config;
  return familyParameters(config).some(
    ({ path, kind }) =>
      kind === "bitLinear" && (typeof quantized === "function" ? quantized(moduleOf(path)) : quantized),
  );
}

/**
 * From a Llama-style Hugging Face folder to a BitNet one: the same weights, as the latent ones of BitLinear, with
 * SubLN of weight one. `output` makes a `BitNetForCausalLM`; `every` and `none` stay `LlamaForCausalLM` with a
 * quantization_config. What it computes is another function than before, until it has been trained. Weights stream
 * through; the folder is there whole or not at all.
 * @throws BitloomError as `openCheckpoint`, and INVALID_OPTION for a BitNet checkpoint, WRITE_FAILED, ABORTED.
 */
export async function convertCheckpoint(
  folder: string,
  options: ConvertCheckpointOptions,
): Promise<ConversionReport> {
  knownOptions("convertCheckpoint", options, ["out", "subln", "stageOne", "signal", "onProgress"]);
  const { out, subln = "output", stageOne = false } = options;
  requirePath("out", out);
  oneOf("subln", subln, stageOne ? ["output"] : subLNPlacements);
  const checkpoint = await openCheckpoint(folder);
  try {
    if (isBitnetCheckpoint(checkpoint)) {
      throw new BitloomError("INVALID_OPTION", `${folder} is a BitNet checkpoint already`, {
        expected: "a checkpoint whose projections are ordinary",
        received: `${checkpoint.config.architecture}, ${checkpoint.quantization} weights`,
        hint: "Build it as it is.",
      });
    }
    return await write(folder, checkpoint, { ...options, subln, stageOne });
  } finally {
    await checkpoint.source.close();
  }
}

async function write(
  folder: string,
  { config, source, tokenizerFiles }: Checkpoint,
  {
    out,
    subln,
    stageOne,
    signal,
    onProgress,
  }: ConvertCheckpointOptions & { subln: SubLNPlacement; stageOne: boolean },
): Promise<ConversionReport> {
  const configPath = join(folder, "config.json");
  const json = convertedConfig(
    await readJson(configPath),
    config.architecture,
    subln,
    stageOne,
    config.normEpsilon,
  );
  const { model } = parseConfig(json, undefined, configPath);
  const tensors = familyParameters({ ...model, tiedHead: config.tiedHead });
  const declared = tensors.map((tensor) => declaration(tensor, source));
  const header = encodeHeader(declared, { format: "pt" });
  const total = header.length + declared.reduce((sum, { bytes }) => sum + bytes, 0);

  const result = await ArtifactFolder.create(out);
  try {
    const file = await result.open("model.safetensors");
    await file.write(header);
    for (const { name, bytes, isNew } of declared) {
      for (let start = 0; start < bytes; start += PIECE_BYTES) {
        throwIfAborted(signal);
        const piece = new Uint8Array(Math.min(PIECE_BYTES, bytes - start));
        if (isNew) new Float32Array(piece.buffer).fill(1);
        else await source.read(name, start, piece);
        await file.write(piece);
        onProgress?.({ loaded: file.bytes, total });
      }
    }
    await result.finish(file);
    await result.write("config.json", `${JSON.stringify(json, null, 2)}\n`);
    const copied = [...tokenizerFiles, ...(await existing([join(folder, "generation_config.json")]))];
    for (const path of copied) await result.write(basename(path), await readFile(path));
    await result.commit();
  } catch (error) {
    await result.discard();
    throw error;
  }
  return {
    out,
    converted: stageOne ? 0 : tensors.filter(({ kind }) => kind === "bitLinear").length,
    norms: declared.filter(({ isNew }) => isNew).length,
    bytes: total,
  };
}

/** A tensor of the result: one of the source as it is stored, or an inserted norm in f32. */
function declaration(
  { path, dims }: ParameterDeclaration,
  source: ParameterSource,
): TensorDeclaration & { readonly bytes: number; readonly isNew: boolean } {
  const info = source.info(path) ?? { dims, form: { kind: "dense", dtype: "f32" } as const };
  if (info.form.kind !== "dense") throw new Error(`${path} of an ordinary checkpoint is packed`);
  return {
    name: path,
    dtype: safetensorsTypes[info.form.dtype],
    shape: dims,
    bytes: storedBytes(info),
    isNew: source.info(path) === undefined,
  };
}

/** config.json with what BitNet changes in it; all other keys stay. */
function convertedConfig(
  json: unknown,
  architecture: string,
  subln: SubLNPlacement,
  stageOne: boolean,
  eps: number,
): Record<string, unknown> {
  const isLlama = architecture === "LlamaForCausalLM";
  return {
    ...(json as Record<string, unknown>),
    ...(subln === "output" && isLlama && { architectures: ["BitNetForCausalLM"], model_type: "bitnet" }),
    quantization_config: {
      quant_method: "bitnet",
      linear_class: "autobitlinear",
      quantization_mode: "online",
      modules_to_not_convert: stageOne ? ["model.layers"] : null,
      ...(subln === "every" && { use_rms_norm: true, rms_norm_eps: eps }),
    },
  };
}

function moduleOf(path: string): string {
  return path.slice(0, path.lastIndexOf("."));
}
