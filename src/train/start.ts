import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { totalmem } from "node:os";
import { join, resolve } from "node:path";
import { BitloomError } from "../../errors/index.ts";
import { formatDims, sameDims } from "../../ir/types.ts";
import { firstParameters, type Tensors, type TrainingRecipe } from "../../runtime/training/index.ts";
import { openCheckpoint } from "../checkpoint/huggingface.ts";
import { readJson } from "../checkpoint/json-file.ts";
import { sourceBeside } from "../checkpoint/overlay.ts";
import { readFloats } from "../checkpoint/read-floats.ts";
import { safetensorsSource } from "../checkpoint/safetensors-source.ts";
import { memorySource, type ParameterSource, storedBytes } from "../checkpoint/source.ts";
import { languageModel } from "../dsl/families/index.ts";
import type { LanguageModel } from "../dsl/language-model.ts";
import type { ParameterDeclaration } from "../dsl/layer.ts";
import { invalidOption, nearest } from "../dsl/options.ts";
import { trainable } from "../quantize/trainable.ts";
import type { CompileTrainingOptions } from "./compile-training.ts";
import { type DistillationTerms, distilled, TEACHER } from "./distillation.ts";
import { familyConfig, firstDifference } from "./family-config.ts";
import { planQuantization, someOf, type TrainedQuantization } from "./quantization.ts";
import { requireContext, type Training } from "./training.ts";
import type { VocabularyFolder } from "./vocabulary.ts";
import type { TrainingWarning } from "./warning.ts";

/** What a training starts from. */
export interface TrainingStart {
  readonly model: LanguageModel;
  /** Every parameter before the first step; who opened the start closes it. */
  readonly weights: ParameterSource;
  /** sha256 of the weights, where a folder holds them; otherwise the seed settles them. */
  readonly digest: string | undefined;
  /** What the model learns from besides the text. */
  readonly teacher: TrainingTeacher | undefined;
  /** The parameters that are trained, in the model's order; all others are frozen. */
  readonly trained: readonly ParameterDeclaration[];
  readonly quantization: TrainedQuantization;
  /** What the saved model's config.json says; null for a model of one's own. */
  readonly config: TrainingRecipe["config"];
  /** As the training has it, or the folder of `weights`; undefined where tokens are bytes. */
  readonly tokenizer: Training["tokenizer"];
  /** Folders that some of the weights are from, which have to know the tokenizer's tokens. */
  readonly vocabularies: readonly VocabularyFolder[];
  readonly warnings: readonly TrainingWarning[];
}

/** A model to distil from; its parameters are among the start's weights. */
export interface TrainingTeacher {
  readonly model: LanguageModel;
  readonly terms: DistillationTerms;
  /** sha256 of its weights. */
  readonly digest: string;
}

/**
 * Opens what a training starts from: a folder's weights and, where the training has none, its model, or first weights by
 * the seed.
 * @param base the folder that the training's paths are relative to
 * @throws BitloomError of `openCheckpoint`, for the teacher too; MISSING_TENSOR, SHAPE_MISMATCH and INVALID_TENSOR for
 *   weights that are not the model's or are packed; INVALID_OPTION for a sequence beyond the context, and where nothing
 *   would be trained
 */
export async function openStart(training: Training, base: string): Promise<TrainingStart> {
  const { weights: path, tokenizer } = training;
  const folder = path === undefined ? undefined : resolve(base, path);
  const opened = await openModel(training, folder);
  const { model, weights } = opened;
  try {
    requireContext(training.sequence, model);
    const parameters = model.parameters();
    requireMemory(parameters);
    for (const parameter of parameters) requireLatent(parameter, weights);
    const paths = new Set(trainable(model, chosen(training, parameters)));
    const trained = parameters.filter(({ path }) => paths.has(path));
    const digest = folder === undefined ? undefined : await digestOf(weights, parameters);
    const quantization = planQuantization(training.quantization, trained, training.steps);
    const taught = await openTeacher(training, base);
    return {
      ...opened,
      weights: taught ? sourceBeside(weights, TEACHER, taught.source) : weights,
      digest,
      teacher: taught?.teacher,
      trained,
      quantization,
      tokenizer: tokenizer ?? tokenizerOf(folder),
      vocabularies: [
        ...(folder === undefined ? [] : [{ option: "weights", folder }]),
        ...(taught ? [{ option: "distill: teacher", folder: taught.folder }] : []),
      ],
      warnings: [
        ...unfinishedWarmup(quantization, training),
        ...(taught && tokenizerOf(taught.folder) === undefined ? [unknownVocabulary(taught.folder)] : []),
      ],
    };
  } catch (error) {
    await weights.close();
    throw error;
  }
}

/** How many numbers parameters are. */
export function countOf(parameters: readonly ParameterDeclaration[]): number {
  return parameters.reduce((sum, { dims }) => sum + dims.reduce((product, dim) => product * dim, 1), 0);
}

/** Most bytes of one tensor that JavaScript holds on every engine that trains. */
const MOST_TENSOR_BYTES = 2 ** 32;

/** All parameters are in memory as f32 before the first step, whatever the device. */
function requireMemory(parameters: readonly ParameterDeclaration[]): void {
  const bytesOf = (parameter: ParameterDeclaration) => 4 * countOf([parameter]);
  const largest = parameters.reduce((a, b) => (bytesOf(b) > bytesOf(a) ? b : a));
  const all = 4 * countOf(parameters);
  if (bytesOf(largest) <= MOST_TENSOR_BYTES && all <= totalmem()) return;
  throw new BitloomError("LIMIT_EXCEEDED", "the model is too large to be trained here", {
    expected: `parameters of ${totalmem()} bytes, which this machine has, and ${MOST_TENSOR_BYTES} each at most`,
    received: `${all} bytes as f32, the largest ${largest.path} of ${bytesOf(largest)}`,
    hint: "Lower the model's vocabularySize, sizes or layers.",
  });
}

/** Parameters in f32: those that are known already, and the others as `weights` has them. */
export async function floatsOf(
  parameters: readonly ParameterDeclaration[],
  weights: ParameterSource,
  known: Tensors = new Map(),
): Promise<Tensors> {
  const tensors = parameters.map(
    async ({ path, dims }) =>
      [path, known.get(path) ?? { dims, data: await readFloats(weights, path) }] as const,
  );
  return new Map(await Promise.all(tensors));
}

async function openTeacher(
  { distill, sequence }: Training,
  base: string,
): Promise<
  { readonly teacher: TrainingTeacher; readonly source: ParameterSource; readonly folder: string } | undefined
> {
  if (distill === undefined) return undefined;
  const folder = resolve(base, distill.teacher);
  const { config, source } = await openCheckpoint(folder);
  try {
    const model = languageModel(config);
    requireContext(sequence, model);
    const digest = await digestOf(source, model.parameters());
    return { teacher: { model, terms: distill.terms, digest }, source, folder };
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** What `compileTraining` takes of a training and its start. */
export function stepOf(
  { optimizer, decayShare, batch, sequence, accumulation, clipNorm, recompute, maxMemory }: Training,
  {
    weights,
    trained,
    quantization,
    teacher,
  }: Pick<TrainingStart, "weights" | "trained" | "quantization" | "teacher">,
): Omit<CompileTrainingOptions, "out"> {
  return {
    optimizer,
    symbols: { batch: { max: batch }, seq: { max: sequence } },
    accumulation,
    recompute,
    parameters: trained.map(({ path }) => path),
    weights,
    quantization: quantization.mix,
    ...(teacher && { loss: distilled(teacher.model, teacher.terms) }),
    ...(decayShare && { scheduledDecay: true }),
    ...(clipNorm !== undefined && { clipNorm }),
    ...(maxMemory !== undefined && { maxMemory }),
  };
}

/** A family's configuration beside weights has to be theirs; a model of one's own takes what fits it. */
async function openModel(
  { model, config: described, seed }: Training,
  folder: string | undefined,
): Promise<Pick<TrainingStart, "model" | "weights" | "config">> {
  const isSaid = folder !== undefined && existsSync(join(folder, "config.json"));
  if (model === undefined || (isSaid && described !== undefined)) {
    const { config, source } = await openCheckpoint(folder!);
    const other = described && firstDifference(described, config);
    if (other !== undefined) {
      await source.close();
      throw new BitloomError("INVALID_OPTION", "`model` is another one than `weights` are of", {
        expected: `${other.field} to be ${JSON.stringify(other.right) ?? "left out"}, as in ${join(folder!, "config.json")}`,
        received: JSON.stringify(other.left) ?? "nothing",
        hint: "Leave `model` out, which takes what config.json says; or `weights`, which begins with random ones.",
      });
    }
    const { bosToken, eosTokens } = config;
    const said = (await readJson(join(folder!, "config.json"))) as object;
    // Weights are saved in f32, and what generation_config.json has to say is said here.
    const own = { torch_dtype: "float32", bos_token_id: bosToken, eos_token_id: eosTokens };
    return { model: languageModel(config), weights: source, config: { ...said, ...own } };
  }
  if (folder !== undefined) {
    const weights = await safetensorsSource(folder);
    return { model, weights, config: described ? familyConfig(described) : null };
  }
  const parameters = model.parameters();
  requireMemory(parameters);
  const weights = memorySource(new Map(firstParameters({ parameters, seed })));
  return { model, weights, config: described ? familyConfig(described) : null };
}

/** The model is saved quantized in full, whether or not a step was. */
function unfinishedWarmup({ lambdas }: TrainedQuantization, { steps }: Training): readonly TrainingWarning[] {
  const last = lambdas?.mean.at(-1) ?? 1;
  if (last === 1) return [];
  const message =
    `In the last step, ${steps}, lambda is ${last.toFixed(3)} in the mean, and the model that is saved is quantized in ` +
    "full: have the warm-up end some way before the run does.";
  return [{ code: "UNFINISHED_WARMUP", message }];
}

function unknownVocabulary(folder: string): TrainingWarning {
  const message = `The teacher ${folder} has no tokenizer.json, and is taken to have the tokens of the training's tokenizer.`;
  return { code: "UNKNOWN_VOCABULARY", message };
}

/** An earlier run leaves its tokenizer beside its weights. */
function tokenizerOf(folder: string | undefined): string | undefined {
  return folder !== undefined && existsSync(join(folder, "tokenizer.json")) ? folder : undefined;
}

/** Refuses what is no floating-point weight of the parameter's dims. */
function requireLatent({ path, dims }: ParameterDeclaration, weights: ParameterSource): void {
  const { location } = weights;
  const place = location === undefined ? {} : { location };
  const info = weights.info(path);
  if (info === undefined) {
    throw new BitloomError("MISSING_TENSOR", `The weights to train lack "${path}"`, {
      expected: `"${path}" ${formatDims(dims)}`,
      hint: "Give the model that the weights are of, or leave `model` out for what config.json beside them says.",
      ...place,
    });
  }
  if (info.form.kind !== "dense") {
    throw new BitloomError(
      "INVALID_TENSOR",
      `"${path}" is stored as ternary codes, which cannot be trained`,
      {
        expected: "latent weights, f32, f16 or bf16",
        received: "packed codes of two bits",
        hint: "Take the checkpoint with the weights from before quantization, often called bf16.",
        ...place,
      },
    );
  }
  if (!sameDims(info.dims, dims)) {
    throw new BitloomError("SHAPE_MISMATCH", `"${path}" has another shape in the weights to train`, {
      expected: formatDims(dims),
      received: formatDims(info.dims),
      ...place,
    });
  }
}

function chosen(
  { trainable }: Training,
  parameters: readonly ParameterDeclaration[],
): (parameter: ParameterDeclaration) => boolean {
  if (typeof trainable === "function") return trainable;
  const paths = new Set(parameters.map(({ path }) => path));
  const unknown = trainable.find((path) => !paths.has(path));
  if (unknown !== undefined) {
    const hint = `Did you mean ${nearest(unknown, [...paths]) ?? "a filter, such as onlyCorrections"}?`;
    throw invalidOption("trainable", `paths of the model's parameters: ${someOf([...paths])}`, unknown, hint);
  }
  return ({ path }) => trainable.includes(path);
}

const PIECE_BYTES = 2 ** 24;

async function digestOf(
  weights: ParameterSource,
  parameters: readonly ParameterDeclaration[],
): Promise<string> {
  const hash = createHash("sha256");
  for (const { path, dims } of parameters) {
    const info = weights.info(path)!;
    hash.update(JSON.stringify([path, dims, info.form]));
    const bytes = storedBytes(info);
    for (let start = 0; start < bytes; start += PIECE_BYTES) {
      const piece = new Uint8Array(Math.min(PIECE_BYTES, bytes - start));
      await weights.read(path, start, piece);
      hash.update(piece);
    }
  }
  return hash.digest("hex");
}
