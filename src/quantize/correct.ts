import { BitloomError } from "../../errors/index.ts";
import { topologicalOrder } from "../../ir/graph.ts";
import type { ScaleGranularity } from "../../ir/types.ts";
import { throwIfAborted } from "../../runtime/abort.ts";
import { generator, hash } from "../checkpoint/generator.ts";
import { overlaySource } from "../checkpoint/overlay.ts";
import { readFloats } from "../checkpoint/read-floats.ts";
import type { MemoryParameter, ParameterSource } from "../checkpoint/source.ts";
import { declarationOf, mapLayers } from "../dsl/layer.ts";
import type { BitLinear } from "../dsl/layers/bit-linear.ts";
import { corrected } from "../dsl/layers/bit-linear-lrc.ts";
import { type AnyModel, withLayers } from "../dsl/model.ts";
import { invalidOption, knownOptions, oneOf } from "../dsl/options.ts";
import { frobenius, quantizationResidual, svdFactors, without, zeroFactors } from "./factors.ts";

export interface CorrectionOptions {
  /** Rank of each correction in percent of the smaller size of its layer, at least rank 1. Above 0, at most 100. */
  readonly rankPercentage: number;
  /** Which BitLinear layers get one, by path; all by default. */
  readonly modules?: (path: string) => boolean;
}

/**
 * The model with a low-rank correction at each of its BitLinear layers (arXiv:2412.07902). Every path stays; there
 * are `lrc_U` and `lrc_V` beside each `weight`, which `initializeCorrections` makes.
 * @throws BitloomError INVALID_OPTION for a percentage out of range, or where there is no BitLinear to correct.
 */
export function addCorrections<M extends AnyModel>(model: M, options: CorrectionOptions): M {
  knownOptions("addCorrections", options, ["rankPercentage", "modules"]);
  const { rankPercentage, modules = () => true } = options;
  requirePercentage(rankPercentage);
  const before = correctedPaths(model);
  let count = 0;
  const result = model[withLayers]((layers) =>
    mapLayers(layers, (layer, path) => {
      if (declarationOf(layer).type !== "bitLinear" || before.has(path) || !modules(path)) return layer;
      count++;
      const linear = layer as BitLinear;
      return corrected(linear, correctionRank(linear.inFeatures, linear.outFeatures, rankPercentage));
    }),
  );
  if (count === 0) {
    throw new BitloomError("INVALID_OPTION", `${model.name} has no BitLinear to correct`, {
      expected: "a BitLinear that `modules` takes and that has no correction yet",
      received:
        model
          .parameters()
          .map(({ path }) => path)
          .slice(0, 5)
          .join(", ") || "no parameters",
      hint: "convertToBitnet makes BitLinear layers of ordinary ones.",
    });
  }
  return result as M;
}

export function requirePercentage(percentage: number): void {
  if (!(percentage > 0 && percentage <= 100)) {
    throw invalidOption("rankPercentage", "a number above 0 and at most 100", percentage);
  }
}

/** The rank that a percentage of the smaller size comes to. */
export function correctionRank(inFeatures: number, outFeatures: number, percentage: number): number {
  return Math.max(1, Math.round((percentage / 100) * Math.min(inFeatures, outFeatures)));
}

/** Paths of the layers that have a correction. */
function correctedPaths(model: AnyModel): ReadonlySet<string> {
  const factors = model.parameters().filter(({ kind }) => kind === "correction");
  return new Set(factors.map(({ path }) => path.slice(0, path.lastIndexOf("."))));
}

/**
 * How corrections begin:
 * - `zeros`: U is zero, so nothing changes at first, and V is random, so that gradients flow;
 * - `svd_residual`: the best approximation of what quantization takes from the weight.
 */
export type CorrectionInit = "zeros" | "svd_residual";
export const correctionInits: readonly CorrectionInit[] = ["zeros", "svd_residual"];

export interface InitializeOptions {
  readonly init: CorrectionInit;
  /** Of the random factors of `zeros`. Default 0. */
  readonly seed?: number;
  readonly signal?: AbortSignal;
  /** Told of how many bytes of weights, as f32, have their factors. */
  readonly onProgress?: (progress: { readonly loaded: number; readonly total: number }) => void;
}

/** What one correction adds and mends. */
export interface CorrectionStatistics {
  readonly path: string;
  readonly rank: number;
  readonly parameters: number;
  /** As f32. */
  readonly bytes: number;
  /** Frobenius norm of W - dequantized(W), and what is left of it beside U · V^T. */
  readonly residualNorm: { readonly before: number; readonly after: number };
}

/**
 * Factors for every correction of a model that its weights do not hold yet.
 * @param weights the latent weights of the model; the result reads through to them, and closing it closes them.
 * @throws BitloomError INVALID_OPTION, INVALID_TENSOR where `weights` holds ternary codes, which have no residual,
 *   INVALID_WEIGHTS for values that are not finite, ABORTED, and what `weights` throws.
 */
export async function initializeCorrections(
  model: AnyModel,
  weights: ParameterSource,
  options: InitializeOptions,
): Promise<{ readonly weights: ParameterSource; readonly statistics: readonly CorrectionStatistics[] }> {
  knownOptions("initializeCorrections", options, ["init", "seed", "signal", "onProgress"]);
  const { seed = 0, signal, onProgress } = options;
  oneOf("init", options.init, correctionInits);
  const made = new Map<string, MemoryParameter>();
  const statistics: CorrectionStatistics[] = [];
  const all = corrections(model);
  const total = all.reduce((sum, { n, k }) => sum + 4 * n * k, 0);
  let loaded = 0;
  for (const { path, n, k, rank, scale } of all) {
    throwIfAborted(signal);
    onProgress?.({ loaded, total });
    loaded += 4 * n * k;
    if (made.has(`${path}.lrc_U`) || weights.info(`${path}.lrc_U`) !== undefined) continue;
    const w = await readFloats(weights, `${path}.weight`);
    const residual = quantizationResidual(w, n, k, scale);
    const next = generator(hash(path, seed));
    const factors =
      options.init === "zeros"
        ? zeroFactors(n, k, rank, () => next() / 2 ** 32)
        : await svdFactors(residual, n, k, rank);
    made.set(`${path}.lrc_U`, { dims: [n, rank], data: factors.u });
    made.set(`${path}.lrc_V`, { dims: [k, rank], data: factors.v });
    statistics.push({
      path,
      rank,
      parameters: (n + k) * rank,
      bytes: 4 * (n + k) * rank,
      residualNorm: { before: frobenius(residual), after: frobenius(without(residual, factors, k, rank)) },
    });
  }
  return { weights: overlaySource(weights, made), statistics };
}

interface Correction {
  readonly path: string;
  readonly n: number;
  readonly k: number;
  readonly rank: number;
  readonly scale: ScaleGranularity;
}

/** The corrected layers that the model calls. */
function corrections(model: AnyModel): readonly Correction[] {
  const dims = new Map(model.parameters().map((parameter) => [parameter.path, parameter.dims]));
  return topologicalOrder(model.trace()).flatMap((node): Correction[] => {
    if (node.op !== "bit_linear") return [];
    const { origin } = node.operands[1]!;
    if (origin.kind !== "parameter") return [];
    const path = origin.path.slice(0, origin.path.lastIndexOf("."));
    const [n, rank] = dims.get(`${path}.lrc_U`) ?? [];
    if (n === undefined || rank === undefined) return [];
    const [, k] = dims.get(origin.path) as readonly [number, number];
    return [{ path, n, k, rank, scale: node.attributes.weight_scale }];
  });
}
