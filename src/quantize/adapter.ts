import { join } from "node:path";
import { z } from "zod";
import { BitloomError } from "../../errors/index.ts";
import { type FilePieces, tensorFile } from "../../runtime/training/model-files.ts";
import { readJson } from "../checkpoint/json-file.ts";
import { overlaySource } from "../checkpoint/overlay.ts";
import { readFloats } from "../checkpoint/read-floats.ts";
import { safetensorsSource } from "../checkpoint/safetensors-source.ts";
import { type MemoryParameter, type ParameterSource, requireInfo } from "../checkpoint/source.ts";
import { ArtifactFolder } from "../compiler/artifact-folder.ts";
import { declarationOf, mapLayers } from "../dsl/layer.ts";
import type { BitLinear } from "../dsl/layers/bit-linear.ts";
import { corrected } from "../dsl/layers/bit-linear-lrc.ts";
import { type AnyModel, withLayers } from "../dsl/model.ts";
import { type Factors, without } from "./factors.ts";

/** What an adapter adds to one weight [n, k]: U · V^T, with LoRA's scaling in U. */
export interface AdapterModule extends Factors {
  readonly n: number;
  readonly k: number;
  readonly rank: number;
}

/** An adapter's modules by the paths that they have in the model. */
export type Adapter = ReadonlyMap<string, AdapterModule>;

/** Keys of adapter_config.json that decide the result. What is not understood is refused. */
const schema = z.object({
  peft_type: z.literal("LORA"),
  r: z.int().min(1),
  lora_alpha: z.number(),
  use_rslora: z.boolean().nullish(),
  /** Ends of paths; PEFT takes regular expressions too. */
  alpha_pattern: z.record(z.string().regex(/^[\w.-]+$/), z.number()).nullish(),
  bias: z.literal("none").nullish(),
  fan_in_fan_out: z.literal(false).nullish(),
  use_dora: z.literal(false).nullish(),
  modules_to_save: z.array(z.string()).max(0).nullish(),
});

const tensorName = /^base_model\.model\.(.+)\.lora_([AB])\.weight$/;

/**
 * Reads a LoRA adapter (arXiv:2106.09685) in the layout of PEFT: `adapter_config.json`, and
 * `adapter_model.safetensors` with `base_model.model.<path>.lora_A.weight` [r, in] and `lora_B.weight` [out, r].
 * The scaling is alpha / r, or alpha / sqrt(r) with `use_rslora`.
 * @throws BitloomError MISSING_FILE, CORRUPT_FILE, INVALID_CONFIG, MISSING_TENSOR or INVALID_TENSOR.
 */
export async function readAdapter(folder: string): Promise<Adapter> {
  const location = join(folder, "adapter_config.json");
  const parsed = schema.safeParse(await readJson(location));
  if (!parsed.success) {
    throw new BitloomError("INVALID_CONFIG", "The adapter is not one that Bitloom reads", {
      expected: "a LoRA without bias, saved modules or variants",
      received: z.prettifyError(parsed.error),
      location,
      hint: "Merge it into its model with the library that made it.",
    });
  }
  const { lora_alpha, use_rslora, alpha_pattern } = parsed.data;
  const patterns = Object.entries(alpha_pattern ?? {});
  const source = await safetensorsSource(join(folder, "adapter_model.safetensors"));
  try {
    const adapter = new Map<string, AdapterModule>();
    for (const path of modulePaths(source)) {
      const nameOf = (factor: string) => `base_model.model.${path}.lora_${factor}.weight`;
      const [rank = 0, k = 0, ...restA] = requireInfo(source, nameOf("A")).dims;
      const [n = 0, rankB, ...restB] = requireInfo(source, nameOf("B")).dims;
      if (rank !== rankB || rank === 0 || restA.length + restB.length > 0) {
        throw new BitloomError("INVALID_TENSOR", `The factors of ${path} do not fit each other`, {
          expected: "lora_A.weight [r, in] and lora_B.weight [out, r]",
          received: `[${requireInfo(source, nameOf("A")).dims}] and [${requireInfo(source, nameOf("B")).dims}]`,
          location: folder,
        });
      }
      const alpha = patterns.find(([end]) => `.${path}`.endsWith(`.${end}`))?.[1] ?? lora_alpha;
      const scaling = alpha / (use_rslora ? Math.sqrt(rank) : rank);
      const u = (await readFloats(source, nameOf("B"))).map((value) => value * scaling);
      const v = transposed(await readFloats(source, nameOf("A")), rank, k);
      adapter.set(path, { n, k, rank, u, v });
    }
    return adapter;
  } finally {
    await source.close();
  }
}

function modulePaths(source: ParameterSource): ReadonlySet<string> {
  const names = [...source.paths()];
  const paths = names.map((name) => tensorName.exec(name)?.[1]);
  const unknown = names[paths.indexOf(undefined)];
  if (unknown === undefined) return new Set(paths as string[]);
  throw new BitloomError("INVALID_TENSOR", "The adapter has a tensor that is no factor of LoRA", {
    expected: "base_model.model.<path>.lora_A.weight or lora_B.weight",
    received: unknown,
  });
}

/**
 * A model with an adapter as the low-rank corrections of its BitLinear layers, and the weights it then has.
 * @throws BitloomError INVALID_OPTION where the adapter changes what is no BitLinear without a correction, and
 *   SHAPE_MISMATCH where it was made for other sizes.
 */
export function applyAdapter<M extends AnyModel>(
  model: M,
  weights: ParameterSource,
  adapter: Adapter,
): { readonly model: M; readonly weights: ParameterSource } {
  const own = new Set(model.parameters().map(({ path }) => path));
  const left = new Set(adapter.keys());
  const adapted = model[withLayers]((layers) =>
    mapLayers(layers, (layer, path) => {
      const module = adapter.get(path);
      if (!module || declarationOf(layer).type !== "bitLinear" || own.has(`${path}.lrc_U`)) return layer;
      const linear = layer as BitLinear;
      requireShape(path, module, [linear.outFeatures, linear.inFeatures]);
      left.delete(path);
      return corrected(linear, module.rank);
    }),
  );
  if (left.size > 0) {
    throw new BitloomError("INVALID_OPTION", `${model.name} cannot take the adapter as corrections`, {
      expected: "modules that are BitLinear layers of the model, without a correction",
      received: [...left].slice(0, 5).join(", "),
      hint: "mergeAdapter adds it to the weights of any linear layer.",
    });
  }
  const parameters = new Map<string, MemoryParameter>();
  for (const [path, { n, k, rank, u, v }] of adapter) {
    parameters.set(`${path}.lrc_U`, { dims: [n, rank], data: u });
    parameters.set(`${path}.lrc_V`, { dims: [k, rank], data: v });
  }
  return { model: adapted as M, weights: overlaySource(weights, parameters) };
}

/**
 * Weights with an adapter added to them, W + U · V^T in f32: exact for ordinary layers; a BitLinear quantizes the
 * sum, and may lose most of a small adapter.
 * @throws BitloomError MISSING_TENSOR, SHAPE_MISMATCH, and INVALID_TENSOR for weights stored as ternary codes.
 */
export async function mergeAdapter(weights: ParameterSource, adapter: Adapter): Promise<ParameterSource> {
  const merged = new Map<string, MemoryParameter>();
  for (const [path, module] of adapter) {
    const name = `${path}.weight`;
    const { dims } = requireInfo(weights, name);
    requireShape(path, module, dims);
    const { k, rank, u, v } = module;
    const negative = { u: u.map((value) => -value), v };
    merged.set(name, { dims, data: without(await readFloats(weights, name), negative, k, rank) });
  }
  return overlaySource(weights, merged);
}

/**
 * The files of a LoRA adapter of scaling 1 that holds the corrections of a model, by name.
 * @param baseModel what the adapter belongs to: a path, or a name on the Hugging Face hub
 * @throws BitloomError INVALID_OPTION where there are none, and what `weights` throws.
 */
export async function adapterFiles(
  model: AnyModel,
  weights: ParameterSource,
  baseModel: string | null,
): Promise<ReadonlyMap<string, FilePieces>> {
  const factors = model.parameters().filter(({ path }) => path.endsWith(".lrc_U"));
  const modules = factors.map(({ path, dims }) => ({
    path: path.slice(0, -".lrc_U".length),
    rank: dims[1]!,
  }));
  if (modules.length === 0) {
    throw new BitloomError("INVALID_OPTION", `${model.name} has no corrections to write`, {
      expected: "a model with low-rank corrections, as addCorrections makes it",
      received: `${model.parameters().length} parameters`,
    });
  }
  const tensors = new Map<string, { dims: readonly number[]; data: Float32Array<ArrayBuffer> }>();
  for (const { path } of modules) {
    const [u, v] = [`${path}.lrc_U`, `${path}.lrc_V`] as const;
    const [k, rank] = requireInfo(weights, v).dims as [number, number];
    const a = transposed(await readFloats(weights, v), k, rank);
    tensors.set(`base_model.model.${path}.lora_A.weight`, { dims: [rank, k], data: a });
    const b = await readFloats(weights, u);
    tensors.set(`base_model.model.${path}.lora_B.weight`, { dims: requireInfo(weights, u).dims, data: b });
  }
  const r = modules[0]!.rank;
  const ranks = Object.fromEntries(
    modules.filter(({ rank }) => rank !== r).map(({ path, rank }) => [path, rank]),
  );
  const config = {
    peft_type: "LORA",
    task_type: model.kind === "language-model" ? "CAUSAL_LM" : null,
    base_model_name_or_path: baseModel,
    r,
    lora_alpha: r,
    lora_dropout: 0,
    rank_pattern: ranks,
    alpha_pattern: ranks,
    target_modules: modules.map(({ path }) => path),
    bias: "none",
    fan_in_fan_out: false,
    inference_mode: true,
  };
  return new Map<string, FilePieces>([
    ["adapter_model.safetensors", tensorFile(tensors, { format: "pt" })],
    ["adapter_config.json", [`${JSON.stringify(config, null, 2)}\n`]],
  ]);
}

/**
 * Writes `adapterFiles` into a new or empty folder.
 * @throws BitloomError as `adapterFiles`, and WRITE_FAILED.
 */
export async function writeAdapter(
  out: string,
  model: AnyModel,
  weights: ParameterSource,
  baseModel: string | null = null,
): Promise<void> {
  const files = await adapterFiles(model, weights, baseModel);
  const folder = await ArtifactFolder.create(out);
  try {
    for (const [name, pieces] of files) {
      const file = await folder.open(name);
      for (const piece of pieces) {
        await file.write(typeof piece === "string" ? new TextEncoder().encode(piece) : piece);
      }
      await folder.finish(file);
    }
    await folder.commit();
  } catch (error) {
    await folder.discard();
    throw error;
  }
}

function requireShape(path: string, { n, k }: AdapterModule, dims: readonly number[]): void {
  if (dims[0] === n && dims[1] === k) return;
  throw new BitloomError("SHAPE_MISMATCH", `The adapter of ${path} is for another weight`, {
    expected: `[${dims.join(", ")}]`,
    received: `[${n}, ${k}]`,
  });
}

/** [rows, columns] -> [columns, rows] */
function transposed(
  matrix: Float32Array<ArrayBuffer>,
  rows: number,
  columns: number,
): Float32Array<ArrayBuffer> {
  return matrix.map((_, i) => matrix[(i % rows) * columns + Math.floor(i / rows)]!);
}
