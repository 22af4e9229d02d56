import { BitloomError } from "../../errors/index.ts";
import { type LoadOptions, load } from "../load.ts";
import { DEFAULT_MAX_THREADS } from "../manifest.ts";
import type { Model } from "../model.ts";
import { availableCores } from "../node.ts";
import { readFile } from "../read-file.ts";
import { type ArtifactLocation, resolveSource } from "../source.ts";
import { TextStream } from "../text-stream.ts";
import { type Tokenizer, tokenizerFileNames } from "../tokenizer.ts";
import { byteTokenizerFiles } from "./byte-tokenizer.ts";
import { type FilePieces, modelFiles, type Tensors, tensorsOf } from "./model-files.ts";
import { FIRST_FILE, parseRecipe, RECIPE_FILE } from "./parse-recipe.ts";
import { type PredictOptions, predictTokens } from "./predict.ts";
import type { TrainingRecipe } from "./recipe.ts";
import { openTokenizer, splitText, tokenize } from "./text.ts";
import { firstParameters, readStates, Trainer, writeStates } from "./trainer.ts";

/**
 * Loads what `bitloom build` makes of a training, ready to learn from text.
 *
 * ```ts
 * await using training = await loadTraining("/training/");
 * const trainer = await training.start([text]);
 * for await (const { step, loss } of trainer.run()) console.log(step, loss);
 * for await (const piece of training.generate("Once upon")) console.log(piece);
 * ```
 * @param options as of `load`, but threads are as many as there are cores, up to 32
 * @throws BitloomError INVALID_INPUT for another artifact, INVALID_MANIFEST, CORRUPT_FILE, and as `load`
 */
export async function loadTraining(
  location: ArtifactLocation,
  options: LoadOptions = {},
): Promise<CompiledTraining> {
  const source = resolveSource(location);
  const { threads = Math.min(availableCores(), DEFAULT_MAX_THREADS) } = options;
  const model = await load(source, { ...options, threads });
  try {
    const { signal, onProgress } = options;
    // `load` has warned where hashes cannot be computed.
    const verify = (options.verify ?? true) && globalThis.crypto?.subtle !== undefined;
    const read = async (path: string, reader: Pick<LoadOptions, "signal" | "onProgress">) => {
      const file = model.manifest.files.find((candidate) => candidate.path === path);
      return file && readFile(source, file, { ...reader, verify });
    };
    const readText = async (path: string): Promise<string | undefined> => {
      const bytes = await read(path, { signal, onProgress });
      return bytes && new TextDecoder().decode(bytes);
    };
    const text = await readText(RECIPE_FILE);
    if (text === undefined) {
      throw new BitloomError("INVALID_INPUT", `The artifact "${model.name}" is no training`, {
        hint: "Build one of a file that exports defineTraining({ … }).",
      });
    }
    const recipe = parseRecipe(text, model.manifest);
    const files: Record<string, string> = {};
    for (const name of tokenizerFileNames) {
      const file = await readText(name);
      if (file !== undefined) files[name] = file;
    }
    const tokenizerFiles = "tokenizer.json" in files ? files : byteTokenizerFiles();
    // As large as the weights: it is read when it is asked for, which may be long after loading.
    const readFirst = async () => {
      const bytes = await read(FIRST_FILE, {});
      return bytes && tensorsOf(bytes);
    };
    return new CompiledTraining(
      model,
      recipe,
      await openTokenizer(tokenizerFiles),
      tokenizerFiles,
      readFirst,
    );
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

/** A loaded training. One call at a time, as of the model it holds. Release it with `dispose` or `using`. */
export class CompiledTraining {
  readonly model: Model;
  readonly recipe: TrainingRecipe;
  readonly #tokenizer: Tokenizer | undefined;
  readonly #tokenizerFiles: Readonly<Record<string, string>>;
  readonly #readFirst: () => Promise<Tensors | undefined>;
  /** Whether a saved model has parameters that are not trained; until a run has read them, it may. */
  #hasFrozen = true;

  /** @param readFirst all parameters before training, where the seed does not settle them */
  constructor(
    model: Model,
    recipe: TrainingRecipe,
    tokenizer: Tokenizer | undefined,
    tokenizerFiles: Readonly<Record<string, string>>,
    readFirst: () => Promise<Tensors | undefined>,
  ) {
    this.model = model;
    this.recipe = recipe;
    this.#tokenizer = tokenizer;
    this.#tokenizerFiles = tokenizerFiles;
    this.#readFirst = readFirst;
  }

  /**
   * Begins a run: first weights, the artifact's or from the seed, and text to learn from.
   * @param texts whole documents; bytes are UTF-8
   * @param recipe instead of the artifact's, such as one `withSteps`
   * @throws BitloomError INVALID_INPUT for too little text, INVALID_OPTION for one that does not fit the vocabulary, and of
   *   reading the artifact's weights
   */
  async start(
    texts: readonly (string | Uint8Array)[],
    recipe: TrainingRecipe = this.recipe,
  ): Promise<Trainer> {
    const bytes = texts.map((text) => (typeof text === "string" ? new TextEncoder().encode(text) : text));
    const windows = splitText(tokenize(bytes, recipe, this.#tokenizer), recipe);
    const given = await this.#readFirst();
    const first = given ? trainedOf(given, recipe) : firstParameters(recipe);
    this.#hasFrozen = given !== undefined && given.size > recipe.parameters.length;
    const zeros = this.model.manifest.states!.flatMap(({ name, dims, bytes }) =>
      first.has(name) ? [] : [[name, { dims: dims as number[], data: new Float32Array(bytes / 4) }] as const],
    );
    await writeStates(this.model, new Map([...first, ...zeros]));
    return new Trainer(this.model, recipe, windows);
  }

  /**
   * Continues a text with the weights as they are, in pieces as they come.
   * @param prompt at least one token
   * @throws BitloomError INVALID_OPTION, INVALID_INPUT for an empty prompt, INVALID_LOGITS, DEVICE_FAILED, BUSY, DISPOSED
   */
  async *generate(prompt: string, options: PredictOptions = {}): AsyncGenerator<string, void, void> {
    const tokens = this.#tokenizer
      ? this.#tokenizer.encode(prompt, false)
      : [...new TextEncoder().encode(prompt)];
    const decode = (tokens: readonly number[]) =>
      this.#tokenizer?.decode(tokens) ?? new TextDecoder().decode(Uint8Array.from(tokens));
    const stream = new TextStream(decode, tokens);
    for await (const token of predictTokens(this.model, this.recipe, tokens, options)) {
      const piece = stream.push(token);
      if (piece !== "") yield piece;
    }
    const rest = stream.flush();
    if (rest !== "") yield rest;
  }

  /**
   * The model as it is, as the files of a Hugging Face folder, which `bitloom build` reads. Where all of it is trained, a
   * run that has begun needs the artifact no more.
   * @throws BitloomError of reading the artifact's weights, and DEVICE_FAILED, BUSY, DISPOSED
   */
  async modelFiles(): Promise<ReadonlyMap<string, FilePieces>> {
    const weights = await readStates(
      this.model,
      this.recipe.parameters.map(({ path }) => path),
    );
    const first = this.#hasFrozen ? await this.#readFirst() : undefined;
    return modelFiles(new Map([...(first ?? []), ...weights]), this.recipe, this.#tokenizerFiles);
  }

  /** Releases memory and threads; a second call does nothing. */
  dispose(): Promise<void> {
    return this.model.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

/** @throws BitloomError CORRUPT_FILE for parameters that are not there */
function trainedOf(given: Tensors, { parameters }: TrainingRecipe): Tensors {
  return new Map(
    parameters.map(({ path, dims }) => {
      const tensor = given.get(path);
      if (String(tensor?.dims) === String(dims)) return [path, tensor!];
      throw new BitloomError("CORRUPT_FILE", `The first weights of the training lack "${path}" [${dims}]`);
    }),
  );
}
