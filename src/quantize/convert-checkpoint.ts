import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { BitloomError } from "../../errors/index.ts";
import { throwIfAborted } from "../../runtime/abort.ts";
import { encodeHeader, type SafetensorsType, type TensorDeclaration } from "../../runtime/safetensors.ts";
import { parseConfig } from "../checkpoint/config.ts";
import { familyParameters } from "../checkpoint/family-parameters.ts";
import { type Checkpoint, openCheckpoint } from "../checkpoint/huggingface.ts";
import { existing, readJson } from "../checkpoint/json-file.ts";
import { overlaySource } from "../checkpoint/overlay.ts";
import { type FloatType, type ParameterSource, requireInfo, storedBytes } from "../checkpoint/source.ts";
import { ArtifactFolder } from "../compiler/artifact-folder.ts";
import type { LanguageModelConfig } from "../dsl/families/config.ts";
import { languageModel } from "../dsl/families/index.ts";
import type { LanguageModel } from "../dsl/language-model.ts";
import type { ParameterDeclaration } from "../dsl/layer.ts";
import { invalidOption, knownOptions, oneOf, requirePath } from "../dsl/options.ts";
import { type SubLNPlacement, subLNPlacements } from "./convert.ts";
import {
  addCorrections,
  type CorrectionInit,
  type CorrectionOptions,
  type CorrectionStatistics,
  initializeCorrections,
} from "./correct.ts";

export interface ConvertCheckpointOptions {
  /** A new or empty folder. */
  readonly out: string;
  /** Default `output`. */
  readonly subln?: SubLNPlacement;
  /** Insert SubLN alone, with `subln: "output"`, and leave all projections in full precision. Default `false`. */
  readonly stageOne?: boolean;
  /**
   * Low-rank corrections of all projections, which a BitNet checkpoint with latent weights may get as well. Default: none.
   */
  readonly corrections?: CheckpointCorrections;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ConversionProgress) => void;
}

/** In bytes of the weights that are corrected, and of the file. */
export interface ConversionProgress {
  readonly stage: "computing corrections" | "writing weights";
  readonly loaded: number;
  readonly total: number;
}

export interface CheckpointCorrections extends Pick<CorrectionOptions, "rankPercentage"> {
  /** Default `svd_residual`. */
  readonly init?: CorrectionInit;
}

export interface ConversionReport {
  readonly out: string;
  /** Projections that are BitLinear in the result. */
  readonly converted: number;
  /** Tensors of ones that were added. */
  readonly norms: number;
  /** Of the corrections that were added. */
  readonly corrections: readonly CorrectionStatistics[];
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
 * SubLN of weight one and, if they are asked for, low-rank corrections. `output` makes a `BitNetForCausalLM`; `every` and
 * `none` stay `LlamaForCausalLM` with a quantization_config. What it computes is another function than before, until it
 * has been trained. Weights stream through; the folder is there whole or not at all.
 * @throws BitloomError as `openCheckpoint` and `initializeCorrections`, and INVALID_OPTION for a BitNet checkpoint that gets
 *   no corrections, WRITE_FAILED, ABORTED.
 */
export async function convertCheckpoint(
  folder: string,
  options: ConvertCheckpointOptions,
): Promise<ConversionReport> {
  knownOptions("convertCheckpoint", options, [
    "out",
    "subln",
    "stageOne",
    "corrections",
    "signal",
    "onProgress",
  ]);
  const { out, subln = "output", stageOne = false, corrections } = options;
  requirePath("out", out);
  oneOf("subln", subln, stageOne ? ["output"] : subLNPlacements);
  if (corrections !== undefined) knownOptions("corrections", corrections, ["rankPercentage", "init"]);
  if (stageOne && corrections !== undefined) {
    throw invalidOption(
      "corrections",
      "none with stageOne, whose projections are not quantized",
      corrections,
    );
  }
  const checkpoint = await openCheckpoint(folder);
  try {
    const isBitnet = isBitnetCheckpoint(checkpoint);
    if (isBitnet && corrections === undefined) {
      throw new BitloomError("INVALID_OPTION", `${folder} is a BitNet checkpoint already`, {
        expected: "a checkpoint whose projections are ordinary",
        received: `${checkpoint.config.architecture}, ${checkpoint.quantization} weights`,
        hint: "Build it as it is.",
      });
    }
    const json = (await readJson(join(folder, "config.json"))) as Record<string, unknown>;
    const target = isBitnet
      ? { json, config: checkpoint.config }
      : convertedConfig(folder, json, checkpoint.config, subln, stageOne);
    return await write(folder, checkpoint, target, options);
  } finally {
    await checkpoint.source.close();
  }
}

async function write(
  folder: string,
  { config, source, tokenizerFiles }: Checkpoint,
  target: Target,
  options: ConvertCheckpointOptions,
): Promise<ConversionReport> {
  const { out, signal, onProgress } = options;
  const { model, weights, statistics } = await targetWeights(target, source, options);
  const declared = model.parameters().map((parameter) => declaration(parameter, weights));
  const header = encodeHeader(declared, { format: "pt" });
  const total = header.length + declared.reduce((sum, { bytes }) => sum + bytes, 0);

  const result = await ArtifactFolder.create(out);
  try {
    const file = await result.open("model.safetensors");
    await file.write(header);
    for (const { name, bytes } of declared) {
      for (let start = 0; start < bytes; start += PIECE_BYTES) {
        throwIfAborted(signal);
        const piece = new Uint8Array(Math.min(PIECE_BYTES, bytes - start));
        await weights.read(name, start, piece);
        await file.write(piece);
        onProgress?.({ stage: "writing weights", loaded: file.bytes, total });
      }
    }
    await result.finish(file);
    await result.write("config.json", `${JSON.stringify(target.json, null, 2)}\n`);
    const copied = [...tokenizerFiles, ...(await existing([join(folder, "generation_config.json")]))];
    for (const path of copied) await result.write(basename(path), await readFile(path));
    await result.commit();
  } catch (error) {
    await result.discard();
    throw error;
  }
  const before = new Set(bitLinears(languageModel(config)));
  return {
    out,
    converted: bitLinears(model).filter((path) => !before.has(path)).length,
    norms: model.parameters().filter((parameter) => isNewNorm(parameter, source)).length,
    corrections: statistics,
    bytes: total,
  };
}

function bitLinears(model: LanguageModel): readonly string[] {
  return model.parameters().flatMap(({ path, kind }) => (kind === "bitLinear" ? [path] : []));
}

/** The result's model, and its weights: those of the source, norms of ones, and the factors of corrections. */
async function targetWeights(
  { config }: Target,
  source: ParameterSource,
  { corrections, signal, onProgress }: ConvertCheckpointOptions,
): Promise<{
  readonly model: LanguageModel;
  readonly weights: ParameterSource;
  readonly statistics: readonly CorrectionStatistics[];
}> {
  const model = languageModel(config);
  const norms = model.parameters().filter((parameter) => isNewNorm(parameter, source));
  const ones = norms.map(({ path, dims }) => {
    return [path, { dims, data: new Float32Array(dims[0]!).fill(1) }] as const;
  });
  const weights = overlaySource(source, new Map(ones));
  if (corrections === undefined) return { model, weights, statistics: [] };
  const { rankPercentage, init = "svd_residual" } = corrections;
  const corrected = addCorrections(model, { rankPercentage });
  const initialized = await initializeCorrections(corrected, weights, {
    init,
    ...(signal && { signal }),
    onProgress: (bytes) => onProgress?.({ stage: "computing corrections", ...bytes }),
  });
  return { model: corrected, ...initialized };
}

function isNewNorm({ path, kind }: ParameterDeclaration, source: ParameterSource): boolean {
  return kind === "norm" && source.info(path) === undefined;
}

/** A tensor of the result: one of the source as it is stored, or one that is new, in f32. */
function declaration(
  { path, dims }: ParameterDeclaration,
  weights: ParameterSource,
): TensorDeclaration & { readonly bytes: number } {
  const info = requireInfo(weights, path);
  if (info.form.kind !== "dense") throw new Error(`${path} of latent weights is packed`);
  return { name: path, dtype: safetensorsTypes[info.form.dtype], shape: dims, bytes: storedBytes(info) };
}

/** What a conversion makes: config.json, and the model that it says. */
interface Target {
  readonly json: Readonly<Record<string, unknown>>;
  readonly config: LanguageModelConfig;
}

/** With what BitNet changes in config.json; all other keys stay. */
function convertedConfig(
  folder: string,
  json: Readonly<Record<string, unknown>>,
  { architecture, name, normEpsilon, tiedHead }: LanguageModelConfig,
  subln: SubLNPlacement,
  stageOne: boolean,
): Target {
  const isLlama = architecture === "LlamaForCausalLM";
  const converted = {
    ...json,
    ...(subln === "output" && isLlama && { architectures: ["BitNetForCausalLM"], model_type: "bitnet" }),
    quantization_config: {
      quant_method: "bitnet",
      linear_class: "autobitlinear",
      quantization_mode: "online",
      modules_to_not_convert: stageOne ? ["model.layers"] : null,
      ...(subln === "every" && { use_rms_norm: true, rms_norm_eps: normEpsilon }),
    },
  };
  const { model } = parseConfig(converted, undefined, join(folder, "config.json"));
  return { json: converted, config: { ...model, name, tiedHead, quantized: !stageOne } };
}

function moduleOf(path: string): string {
  return path.slice(0, path.lastIndexOf("."));
}
