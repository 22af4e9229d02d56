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
import { warn } from "./warn.ts";

export interface SubjectOptions {
  readonly weights?: string;
  /** `true` for the given model, a name for a published one. */
  readonly random?: true | string;
  readonly seed?: number;
  /** Whether random weights do where none are given: what is shown depends on how weights are stored alone. */
  readonly orRandom?: boolean;
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
  const withRandom = (): Subject => ({
    model,
    weights: randomSource(model.parameters().map(randomParameter), seed),
    files: {},
  });
  if (random !== undefined) return withRandom();
  const beside = join(resolve(path), "..", "model.safetensors");
  const given = options.weights ?? (existsSync(beside) ? beside : undefined);
  if (given !== undefined) {
    const weights = await safetensorsSource(given);
    warnOfUnused(model, weights, given);
    return { model, weights, files: {} };
  }
  if (model.parameters().length === 0 || options.orRandom) return withRandom();
  throw new BitloomError("MISSING_FILE", `${path} describes a model, but where are its weights?`, {
    expected: "--weights <file or folder>, --random, or a model.safetensors beside the model",
    hint: "Use --random to try a model before it is trained.",
  });
}

/** Tensors that no layer reads are often a layer that was forgotten, or named otherwise. */
function warnOfUnused(model: AnyModel, weights: ParameterSource, path: string): void {
  const used = new Set(model.parameters().map((parameter) => parameter.path));
  const unused = [...weights.paths()].filter((name) => !used.has(name));
  if (unused.length === 0) return;
  const shown = unused.slice(0, 5).join(", ");
  const rest = unused.length > 5 ? ` and ${unused.length - 5} more` : "";
  warn(`${path} holds ${unused.length} tensors that ${model.name} does not use: ${shown}${rest}`);
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
