import { resolve } from "node:path";
import { formatBytes } from "../../codegen/schedule/bytes.ts";
import { BitloomError } from "../../errors/index.ts";
import { tensorFile } from "../../runtime/training/model-files.ts";
import { FIRST_FILE, RECIPE_FILE } from "../../runtime/training/parse-recipe.ts";
import type { CompileProgress, TargetReport } from "../compiler/artifact.ts";
import type { BuildLimits } from "../compiler/build-limits.ts";
import type { ParameterDeclaration } from "../dsl/layer.ts";
import { type CompileTrainingOptions, compileTraining } from "./compile-training.ts";
import { recipeOf } from "./recipe.ts";
import { countOf, floatsOf, openStart, stepOf } from "./start.ts";
import { tokenizerFiles } from "./text-data.ts";
import type { Training } from "./training.ts";
import { defaultWarning, type OnTrainingWarning } from "./warning.ts";

export interface BuildTrainingOptions extends BuildLimits, Pick<CompileTrainingOptions, "verify"> {
  /** The artifact's folder; an artifact that is there is replaced, anything else is an error. */
  readonly out: string;
  /** What the training's paths are relative to. Default: the working folder. */
  readonly base?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: CompileProgress) => void;
  /** Told of what may not be meant. Default: `console.warn`. */
  readonly onWarning?: OnTrainingWarning;
}

/** First weights are one file, which `loadTraining` reads to one buffer; not every engine has longer ones. */
const MAX_FIRST_BYTES = 2 ** 31;

/** What a build made of a training, for people. */
export interface BuildTrainingReport {
  readonly out: string;
  readonly parameters: number;
  readonly targets: readonly TargetReport[];
}

/**
 * Compiles a training to an artifact that runs wherever `loadTraining` of `bitloom/training` does, on text that is given
 * there: the step's kernels, the recipe and the tokenizer. First weights are made there, from the seed; but where they are a
 * folder's, or not all are trained, the artifact has them, f32.
 * @throws BitloomError INVALID_OPTION for a training with a teacher, MISSING_FILE for a tokenizer, LIMIT_EXCEEDED for
 *   first weights beyond 2 GiB, and as `openStart` and `compileTraining`
 */
export async function buildTraining(
  training: Training,
  { base = ".", onWarning = defaultWarning, ...options }: BuildTrainingOptions,
): Promise<BuildTrainingReport> {
  if (training.distill !== undefined) {
    throw new BitloomError("INVALID_OPTION", "A training with a teacher cannot be built, for its weights", {
      hint: "Leave out `distill`, or train it here with `bitloom train`.",
    });
  }
  const start = await openStart(training, base);
  const { model, weights, trained, digest, tokenizer } = start;
  try {
    for (const warning of start.warnings) onWarning(warning);
    const parameters = model.parameters();
    const isSettled = digest === undefined && trained.length === parameters.length;
    if (!isSettled) requireOneBuffer(parameters);
    const first = isSettled ? undefined : tensorFile(await floatsOf(parameters, weights), {});
    const { targets } = await compileTraining(model, {
      ...options,
      ...stepOf(training, start),
      predict: true,
      files: {
        [RECIPE_FILE]: JSON.stringify(recipeOf(training, start)),
        ...(first && { [FIRST_FILE]: Buffer.concat(first) }),
        ...(tokenizer !== undefined && (await tokenizerFiles({ ...start, text: training.text }, base))),
      },
    });
    return { out: resolve(options.out), parameters: countOf(trained), targets };
  } finally {
    await weights.close();
  }
}

/** @throws BitloomError LIMIT_EXCEEDED for parameters that are too many for the file of an artifact's first weights */
export function requireOneBuffer(parameters: readonly ParameterDeclaration[]): void {
  const bytes = Float32Array.BYTES_PER_ELEMENT * countOf(parameters);
  if (bytes <= MAX_FIRST_BYTES) return;
  throw new BitloomError("LIMIT_EXCEEDED", "The model's first weights are too large for an artifact", {
    expected: `at most ${formatBytes(MAX_FIRST_BYTES)} in f32`,
    received: formatBytes(bytes),
    hint: "Train it here with `bitloom train`, or build the training of a smaller model.",
  });
}
