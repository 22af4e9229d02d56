import { BitloomError } from "../../errors/index.ts";
import { overlaySource } from "../checkpoint/overlay.ts";
import type { ParameterSource } from "../checkpoint/source.ts";
import { declarationOf, type LayerTree, mapLayers } from "../dsl/layer.ts";
import { type BitLinearOptions, bitLinear } from "../dsl/layers/bit-linear.ts";
import type { Linear } from "../dsl/layers/linear.ts";
import { normalized } from "../dsl/layers/normalized.ts";
import { type AnyModel, withLayers } from "../dsl/model.ts";
import { knownOptions, oneOf, positiveNumber } from "../dsl/options.ts";

/**
 * Where SubLN is inserted:
 * - `output`: before the projections that end attention and feed-forward, as BitNet b1.58 and BitDistill
 *   (arXiv:2510.13998) do;
 * - `every`: before every projection that is converted, as `use_rms_norm` of transformers does;
 * - `none`.
 */
export type SubLNPlacement = "output" | "every" | "none";
export const subLNPlacements: readonly SubLNPlacement[] = ["output", "every", "none"];

export interface SubLNOptions {
  /** Default `output`. */
  readonly subln?: SubLNPlacement;
  /** Which layers are projections, by path; by default all but those called `lm_head` or `head`. */
  readonly modules?: (path: string) => boolean;
  /** Which of them end attention or feed-forward; by default those called o, o_proj, out_proj, down or down_proj. */
  readonly outputs?: (path: string) => boolean;
  /** Of the inserted norms. Default 1e-5. */
  readonly eps?: number;
}

export interface ConvertOptions extends SubLNOptions {
  /** How the new BitLinear layers quantize. Default as `bitLinear`. */
  readonly quantization?: Omit<BitLinearOptions, "bias">;
}

const isProjection = (path: string) => !/(?:^|\.)(?:lm_head|head)$/.test(path);
const isOutput = (path: string) => /(?:^|\.)(?:o|o_proj|out_proj|down|down_proj)$/.test(path);

/** Whether a model has a BitLinear. */
export function isBitnetModel(model: AnyModel): boolean {
  return model.parameters().some(({ kind }) => kind === "bitLinear");
}

/**
 * The model with BitLinear in the place of its linear layers, and with SubLN. Paths of weights stay, so that its
 * checkpoint is the latent one of the new model; `initializeSubLN` adds what it lacks. A SubLN of weight one is no
 * identity: it changes what the model computes, as quantization does, and training or distillation mends both.
 * @throws BitloomError INVALID_OPTION where nothing is to convert, or no output projection is found.
 */
export function convertToBitnet<M extends AnyModel>(model: M, options: ConvertOptions = {}): M {
  knownOptions("convertToBitnet", options, ["subln", "modules", "outputs", "eps", "quantization"]);
  const { quantization = {} } = options;
  return replaceLinears(model, options, (linear) => {
    const bias = "bias" in declarationOf(linear).parameters;
    return bitLinear(linear.inFeatures, linear.outFeatures, { ...quantization, bias } as BitLinearOptions);
  });
}

/** `convertToBitnet` for a model that has no BitLinear yet; any other as it is. */
export function autoConvertIfNeeded<M extends AnyModel>(model: M, options: ConvertOptions = {}): M {
  return isBitnetModel(model) ? model : convertToBitnet(model, options);
}

/**
 * The first stage of a conversion alone: SubLN is there, and all layers are still in full precision.
 * @throws BitloomError INVALID_OPTION where no norm would be inserted.
 */
export function insertSubLN<M extends AnyModel>(model: M, options: SubLNOptions = {}): M {
  knownOptions("insertSubLN", options, ["subln", "modules", "outputs", "eps"]);
  oneOf("subln", options.subln ?? "output", ["output", "every"]);
  return replaceLinears(model, options, (linear) => linear);
}

function replaceLinears<M extends AnyModel>(
  model: M,
  { subln = "output", modules = isProjection, outputs = isOutput, eps = 1e-5 }: SubLNOptions,
  replacement: (linear: Linear) => Linear,
): M {
  oneOf("subln", subln, subLNPlacements);
  positiveNumber("eps", eps);
  const before = new Set(model.parameters().map(({ path }) => path));
  const found: string[] = [];
  const wanted = (path: string) => subln === "every" || (subln === "output" && outputs(path));
  const result = model[withLayers]((layers) =>
    mapLayers(layers, (layer, path): LayerTree => {
      if (declarationOf(layer).type !== "linear" || !modules(path)) return layer;
      found.push(path);
      const linear = replacement(layer as Linear);
      // The first stage may have been here before.
      return wanted(path) && !before.has(`${path}.rms_norm.weight`) ? normalized(linear, eps) : linear;
    }),
  );
  if (found.length === 0) {
    throw new BitloomError("INVALID_OPTION", `${model.name} has no linear layer to convert`, {
      expected: "a linear that `modules` takes",
      received: [...before].slice(0, 5).join(", ") || "no parameters",
    });
  }
  if (subln === "output" && !found.some(outputs)) {
    throw new BitloomError("INVALID_OPTION", `${model.name} has no output projection to put a SubLN before`, {
      expected: "a linear that `outputs` takes, by default one called o_proj or down_proj",
      received: found.slice(0, 5).join(", "),
      hint: 'Name them with `outputs`, or choose `subln: "every"` or `"none"`.',
    });
  }
  return result as M;
}

/**
 * The weights of a converted model: ones for each inserted norm that `weights` does not hold.
 * @param weights the result reads through to them, and closing it closes them.
 */
export function initializeSubLN(model: AnyModel, weights: ParameterSource): ParameterSource {
  const missing = model.parameters().filter(({ path }) => {
    return path.endsWith(".rms_norm.weight") && weights.info(path) === undefined;
  });
  const ones = missing.map(({ path, dims }) => {
    return [path, { dims, data: new Float32Array(dims[0]!).fill(1) }] as const;
  });
  return overlaySource(weights, new Map(ones));
}
