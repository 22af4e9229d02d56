import { basename, join, resolve } from "node:path";
import { BitloomError } from "../../errors/index.ts";
import { sameDims } from "../../ir/types.ts";
import { tokenizerFileNames } from "../../runtime/tokenizer.ts";
import type { LanguageModelConfig } from "../dsl/families/config.ts";
import type { ParameterDeclaration } from "../dsl/layer.ts";
import { requirePath } from "../dsl/options.ts";
import { type Architecture, type CheckpointConfig, parseConfig, type Quantization } from "./config.ts";
import { detectTernary } from "./detect-ternary.ts";
import { familyParameters } from "./family-parameters.ts";
import { nonFiniteWeight, widen } from "./float-bits.ts";
import { existing, readJson, readOptionalJson } from "./json-file.ts";
import type { SafetensorsFile } from "./safetensors.ts";
import type { StoredTensor } from "./safetensors-header.ts";
import { floatTypes } from "./safetensors-source.ts";
import { type FloatType, type ParameterInfo, type ParameterSource, requireInfo } from "./source.ts";
import { openTensors, type TensorPlace } from "./tensor-places.ts";

/** A language model's weights with everything its family needs to build the graph. */
export interface Checkpoint {
  /** `config.quantized` tells, by module path, which linears are BitLinear. */
  readonly config: LanguageModelConfig;
  readonly quantization: Quantization;
  readonly source: ParameterSource;
  /** Files the tokenizer and its chat template are made of, by path. */
  readonly tokenizerFiles: readonly string[];
}

/** Tensors that older checkpoints carry and that hold nothing the model reads. */
const derivedTensor = /\.rotary_emb\.inv_freq$/;

/**
 * Opens a Hugging Face folder: config.json, and model.safetensors or its sharded index. Reads headers and
 * weight scales only; weights are read through `source`, which the caller closes.
 * Throws INVALID_OPTION, MISSING_FILE, CORRUPT_FILE, UNKNOWN_ARCHITECTURE, INVALID_CONFIG, MISSING_TENSOR, INVALID_TENSOR or
 * INVALID_WEIGHTS.
 */
export async function openCheckpoint(folder: string): Promise<Checkpoint> {
  requirePath("openCheckpoint: folder", folder);
  const configPath = join(folder, "config.json");
  const config = parseConfig(
    await readJson(configPath),
    await readOptionalJson(join(folder, "generation_config.json")),
    configPath,
  );
  const { places, close } = await openTensors(folder);
  try {
    const declared = { ...config.model, tiedHead: config.tiedHead ?? !places.has("lm_head.weight") };
    const named = { ...declared, architecture: namedArchitecture(declared, places) };
    const weights = familyParameters(named).filter(({ kind }) => kind === "bitLinear");
    const linears = new Set(weights.map(moduleOf));
    const isBitLinear = (module: string) => linears.has(module) && isConverted(module, config);
    const family = { ...named, correctionRanks: correctionRanks(weights, isBitLinear, places) };
    const declarations = familyParameters(family);
    // Only a BitLinear has a norm of its own.
    const tensors = declarations.filter(({ path }) => {
      const owner = /^(.*)\.rms_norm\.weight$/.exec(path)?.[1];
      return owner === undefined || isBitLinear(owner);
    });
    const stored = await describeTensors(tensors, isBitLinear, config.quantization, places, folder);
    refuseUnknownTensors(places, stored, family.tiedHead);
    const source = sourceOf(places, stored, close);
    const infos = config.quantization === "none" ? await markTernary(tensors, source) : stored;
    return {
      config: { ...family, name: basename(resolve(folder)), quantized: isBitLinear },
      quantization: config.quantization,
      source: sourceOf(places, infos, close),
      tokenizerFiles: await existing(tokenizerFileNames.map((name) => join(folder, name))),
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A BitLinear with `lrc_U` [out, rank] beside its weight has a low-rank correction; config.json knows of none. */
function correctionRanks(
  weights: readonly ParameterDeclaration[],
  isBitLinear: (module: string) => boolean,
  places: ReadonlyMap<string, TensorPlace>,
): Readonly<Record<string, number>> {
  const ranks: Record<string, number> = {};
  for (const weight of weights) {
    const place = places.get(`${moduleOf(weight)}.lrc_U`);
    if (place === undefined || !isBitLinear(moduleOf(weight))) continue;
    const [out, most] = [weight.dims[0]!, Math.min(...weight.dims)];
    const [rows, rank = 0, ...rest] = place.tensor.shape;
    if (rows !== out || rank < 1 || rank > most || rest.length > 0) {
      throw wrongTensor(place.file, place.tensor, `F32, F16 or BF16 [${out}, rank], a rank of 1 to ${most}`);
    }
    ranks[moduleOf(weight)] = rank;
  }
  return ranks;
}

function sourceOf(
  places: ReadonlyMap<string, TensorPlace>,
  infos: ReadonlyMap<string, ParameterInfo>,
  close: () => Promise<void>,
): ParameterSource {
  return {
    info: (path) => infos.get(path),
    paths: () => infos.keys(),
    async read(path, byteOffset, into) {
      requireInfo(this, path);
      const { file, tensor } = places.get(path)!;
      await file.read(tensor, byteOffset, into);
    },
    close,
  };
}

/** Models published "unpacked" are ternary times a few magnitudes: their linears can be packed exactly. */
async function markTernary(
  tensors: readonly ParameterDeclaration[],
  source: ParameterSource,
): Promise<ReadonlyMap<string, ParameterInfo>> {
  const infos = new Map<string, ParameterInfo>();
  for (const { path, kind } of tensors) {
    const info = source.info(path)!;
    const ternary = kind === "bitLinear" ? await detectTernary(source, path) : undefined;
    const marked = ternary !== undefined && info.form.kind === "dense";
    infos.set(path, marked ? { ...info, form: { ...info.form, ternary } } : info);
  }
  return infos;
}

/** Files of either class exist with either naming of the sub-norms: the header decides, the class is the default. */
function namedArchitecture(
  declared: Parameters<typeof familyParameters>[0],
  places: ReadonlyMap<string, TensorPlace>,
): Architecture {
  if (declared.architecture === "LlamaForCausalLM") return declared.architecture;
  const named = (["BitNetForCausalLM", "BitnetForCausalLM"] as const).find((architecture) =>
    familyParameters({ ...declared, architecture, layers: 1 }).every(
      ({ path, kind }) => kind !== "norm" || places.has(path),
    ),
  );
  return named ?? declared.architecture;
}

/**
 * `modules_to_not_convert` names a module, a part of its path, or its last components; or it is a regular
 * expression for the beginning of a path, of which `.*` is understood: `model.layers.1.*`. A name without it
 * means whole components, where transformers takes `layers.1` for `layers.10` too.
 */
function isConverted(module: string, config: CheckpointConfig): boolean {
  if (config.quantization === "none") return false;
  return !config.unconverted.some((name) => {
    if (`.${module}.`.includes(`.${name}.`)) return true;
    const parts = name.split(/(?:\.\*)+/).map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
    return parts.length > 1 && new RegExp(`^${parts.join(".*")}`).test(module);
  });
}

async function describeTensors(
  tensors: readonly ParameterDeclaration[],
  isBitLinear: (module: string) => boolean,
  quantization: Quantization,
  places: ReadonlyMap<string, TensorPlace>,
  folder: string,
): Promise<Map<string, ParameterInfo>> {
  const packed = quantization === "packed-multiply" || quantization === "packed-divide";
  const isPacked = (tensor: ParameterDeclaration) =>
    packed && tensor.kind === "bitLinear" && isBitLinear(moduleOf(tensor));
  const needed = tensors.flatMap((tensor) =>
    isPacked(tensor) ? [tensor.path, scalePath(tensor.path)] : [tensor.path],
  );
  refuseMissing(needed, places, folder);
  const infos = new Map<string, ParameterInfo>();
  for (const tensor of tensors) {
    const { path, dims } = tensor;
    const place = places.get(path)!;
    if (isPacked(tensor)) {
      expectPacked(place, dims);
      const scale = await readScale(places.get(scalePath(path))!, dims[0]!, quantization);
      infos.set(path, { dims, form: { kind: "ternary-packed", scale, layout: "hf" } });
    } else {
      infos.set(path, { dims, form: { kind: "dense", dtype: expectFloats(place, dims) } });
    }
  }
  return infos;
}

function moduleOf({ path }: ParameterDeclaration): string {
  return path.slice(0, path.lastIndexOf("."));
}

function scalePath(weightPath: string): string {
  return `${weightPath}_scale`;
}

function refuseMissing(
  needed: readonly string[],
  places: ReadonlyMap<string, TensorPlace>,
  folder: string,
): void {
  const missing = needed.filter((path) => !places.has(path));
  if (missing.length === 0) return;
  const shown = missing.slice(0, 5).join(", ");
  throw new BitloomError(
    "MISSING_TENSOR",
    `The checkpoint lacks ${missing.length} of ${needed.length} tensors`,
    {
      expected: missing.length > 5 ? `${shown}, and ${missing.length - 5} more` : shown,
      received: `${places.size} tensors`,
      location: folder,
    },
  );
}

/** A tensor nobody reads means that the model computes something else than this family does. */
function refuseUnknownTensors(
  places: ReadonlyMap<string, TensorPlace>,
  infos: ReadonlyMap<string, ParameterInfo>,
  tiedHead: boolean,
): void {
  const unknown = [...places.keys()].filter((name) => {
    if (infos.has(name) || derivedTensor.test(name)) return false;
    if (name === "lm_head.weight" && tiedHead) return false;
    const weight = name.endsWith(".weight_scale") ? name.slice(0, -"_scale".length) : undefined;
    return weight === undefined || infos.get(weight)?.form.kind !== "ternary-packed";
  });
  if (unknown.length === 0) return;
  const [name] = unknown as [string];
  throw new BitloomError(
    "INVALID_TENSOR",
    `The checkpoint has ${unknown.length} tensors the family does not use`,
    {
      received: unknown.slice(0, 5).join(", "),
      location: `${places.get(name)!.file.file}, tensor "${name}"`,
      hint: "Check `architectures`, `attention_bias` and `quantization_config` in config.json.",
    },
  );
}

function expectFloats({ file, tensor }: TensorPlace, dims: readonly number[]): FloatType {
  const dtype = floatTypes[tensor.dtype];
  if (dtype === undefined || !sameDims(tensor.shape, dims)) {
    throw wrongTensor(file, tensor, `F32, F16 or BF16 [${dims.join(", ")}]`);
  }
  return dtype;
}

function expectPacked({ file, tensor }: TensorPlace, dims: readonly number[]): void {
  const [n, k] = dims as [number, number];
  if (n % 4 !== 0) {
    throw wrongTensor(file, tensor, `a row count that is a multiple of 4, and not ${n}, for packed weights`);
  }
  if (tensor.dtype !== "U8" || !sameDims(tensor.shape, [n / 4, k])) {
    throw wrongTensor(file, tensor, `U8 [${n / 4}, ${k}], the packed form of [${n}, ${k}]`);
  }
}

/** Reads a weight_scale and makes it multiplicative: alpha = RN(1 / weight_scale) for divide-style files. */
async function readScale(
  { file, tensor }: TensorPlace,
  rows: number,
  quantization: Quantization,
): Promise<Float32Array> {
  const dtype = floatTypes[tensor.dtype];
  const count = tensor.shape.reduce((product, dim) => product * dim, 1);
  if (dtype === undefined || (count !== 1 && count !== rows)) {
    throw wrongTensor(file, tensor, `F32, F16 or BF16, one number or one for each of ${rows} rows`);
  }
  const bytes = new Uint8Array(tensor.bytes);
  await file.read(tensor, 0, bytes);
  const stored = widen(bytes, dtype);
  const scale = quantization === "packed-divide" ? stored.map((value) => 1 / value) : stored;
  for (const [i, value] of scale.entries()) {
    if (!Number.isFinite(stored[i]!)) throw nonFiniteWeight(tensor.name, i, [count], stored[i]!);
    if (!(value > 0 && Number.isFinite(value))) {
      throw new BitloomError("INVALID_WEIGHTS", `Scale "${tensor.name}" cannot scale weights`, {
        expected: "a positive finite number",
        received: `${stored[i]} at index ${i}`,
        location: `${file.file}, tensor "${tensor.name}", byte ${tensor.offset}`,
      });
    }
  }
  return scale;
}

function wrongTensor(file: SafetensorsFile, tensor: StoredTensor, expected: string): BitloomError {
  return new BitloomError("INVALID_TENSOR", `Tensor "${tensor.name}" is not what config.json promises`, {
    expected,
    received: `${tensor.dtype} [${tensor.shape.join(", ")}]`,
    location: `${file.file}, tensor "${tensor.name}", byte ${tensor.offset}`,
  });
}
