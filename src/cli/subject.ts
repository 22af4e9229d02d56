import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { BitloomError } from "../../errors/index.ts";
import { type Checkpoint, openCheckpoint } from "../checkpoint/huggingface.ts";
import { knownModels } from "../checkpoint/known-models.ts";
import { randomCheckpoint, randomParameter, randomSource } from "../checkpoint/random.ts";
import { safetensorsSource } from "../checkpoint/safetensors-source.ts";
import type { ParameterSource } from "../checkpoint/source.ts";
import { checkpointModel } from "../compiler/checkpoint.ts";
import { type AnyModel, isModel } from "../dsl/model.ts";
import { importModule } from "./import-module.ts";

export interface SubjectOptions {
  readonly weights?: string;
  /** `true` for the given model, a name for a published one. */
  readonly random?: true | string;
  readonly seed?: number;
}

/** A model with its weights: what build and inspect work on. */
export interface Subject {
  readonly model: AnyModel;
  readonly weights: ParameterSource;
  /** Files that go into the artifact as they are, by name. */
  readonly files: Readonly<Record<string, Uint8Array>>;
}

/**
 * Opens what the command line names: a model file, a checkpoint folder, or a published model with random
 * weights. The caller closes `weights`.
 */
export async function openSubject(path: string | undefined, options: SubjectOptions): Promise<Subject> {
  const { random, seed = 0 } = options;
  // `--random model.ts` takes the path as its value.
  if (typeof random === "string" && path === undefined) {
    if (!Object.hasOwn(knownModels, random) && existsSync(random)) {
      return openSubject(random, { ...options, random: true });
    }
    return fromCheckpoint(randomCheckpoint(random, seed));
  }
  if (path === undefined) {
    throw new BitloomError("INVALID_OPTION", "Nothing was named to work on", {
      expected: "a model file, a checkpoint folder, or --random with a model's name",
      hint: `For example: bitloom build --random ${Object.keys(knownModels)[0]} --out dist/random`,
    });
  }
  if (typeof random === "string") {
    throw new BitloomError("INVALID_OPTION", "--random takes no name beside a model", {
      received: `${path} and --random ${random}`,
    });
  }
  if (random && options.weights !== undefined) {
    throw new BitloomError("INVALID_OPTION", "Weights are either given or random", {
      received: `--weights ${options.weights} and --random`,
    });
  }
  const entry = await stat(path).catch((cause) => {
    throw new BitloomError("MISSING_FILE", `There is no ${path}`, { cause });
  });
  if (entry.isDirectory()) {
    if (random || options.weights !== undefined) {
      throw new BitloomError("INVALID_OPTION", "A checkpoint brings its own weights", {
        received: random ? "--random" : `--weights ${options.weights}`,
        hint: "Leave the option out, or name a model file.",
      });
    }
    return fromCheckpoint(await openCheckpoint(path));
  }
  const model = await importModel(path);
  if (random !== undefined) {
    return { model, weights: randomSource(model.parameters().map(randomParameter), seed), files: {} };
  }
  if (options.weights !== undefined) {
    return { model, weights: await safetensorsSource(options.weights), files: {} };
  }
  const beside = join(resolve(path), "..", "model.safetensors");
  if (existsSync(beside)) return { model, weights: await safetensorsSource(beside), files: {} };
  throw new BitloomError("MISSING_FILE", `${path} describes a model, but where are its weights?`, {
    expected: "--weights <file or folder>, --random, or a model.safetensors beside the model",
    hint: "Use --random to try a model before it is trained.",
  });
}

async function fromCheckpoint(checkpoint: Checkpoint): Promise<Subject> {
  try {
    return { ...(await checkpointModel(checkpoint)), weights: checkpoint.source };
  } catch (error) {
    await checkpoint.source.close();
    throw error;
  }
}

async function importModel(path: string): Promise<AnyModel> {
  const module = await importModule(resolve(path));
  if (isModel(module.default)) return module.default;
  throw new BitloomError("INVALID_MODEL", `${path} does not export a model`, {
    expected: "export default defineModel({ ... }) or defineLanguageModel({ ... })",
    received: `exports named ${Object.keys(module).join(", ") || "nothing"}`,
  });
}
