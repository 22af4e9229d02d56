/**
 * mix-quantization: has a BitLinear multiply mixtures of what is quantized and what is not, (1 - lambda) w + lambda q(w),
 * and the same of its input, so that quantization can set in step by step. Each layer's lambdas are scalar inputs.
 * Gradients go to w and x as they do through BitLinear: lambda leaves them unchanged. Where nothing is mixed,
 * the layer stays, and only the estimator of its weight's gradient, if it is not the identity, is put before it. It runs
 * on a traced graph, before gradient.
 *
 *   %y: f32[batch, 2] = bit_linear(%x, %w) {weight_scale = "row", activation = {bits = 8, granularity = "row"}}
 * becomes, where x0 is what is mixed and lambda the last argument,
 *   %x.codes: i8[batch, 4], %x.d: f32[batch, 1], %x.sum: i32[batch, 1] = quantize(%x) {bits = 8, granularity = "row"}
 *   %0: f32[batch, 4] = cast(%x.codes) {dtype = "f32"}
 *   %1: f32[batch, 4] = elementwise(%x, %0, %x.d, %lambda) {expr = add(mul(sub(1, x3), x0), mul(x3, mul(x1, x2)))}
 *   %x.mixed: f32[batch, 4] = straight_through(%1, %x)
 *   %w.ternary: f32[2, 4] ternary(row) = absmean_quantize(%w) {scale = "row"}
 *   %2: f32[2] = weight_scale(%w.ternary)
 *   %w.scale: f32[2, 1] = reshape(%2) {dims = [2, 1]}
 *   %3: f32[2, 1] = reciprocal(%w.scale)
 *   %4: f32[2, 4] = elementwise(%w, %w.scale, %3, %lambda) {expr = add(mul(sub(1, x3), x0), mul(x3, ...))}
 *   %w.mixed: f32[2, 4] = straight_through(%4, %w)
 *   %y: f32[batch, 2] = linear(%x.mixed, %w.mixed)
 */
import { makeValue } from "../builder.ts";
import { type Graph, type Node, topologicalOrder, type Value } from "../graph.ts";
import { SCALE_FLOOR } from "../numerics.ts";
import type { Attributes, OpName } from "../ops/index.ts";
import { derive, nameAfter, rebuild, remake } from "../rewrite.ts";
import { apply, arg, type ScalarExpr } from "../scalar.ts";
import { dense, type ScaleGranularity, type TensorType } from "../types.ts";
import { type Estimator, LATENT, mixture, type Noise, quantized, surrogate, withNoise } from "./mixture.ts";

/** Names of the scalar inputs, f32 [], that hold a layer's lambdas. Without one, lambda is 1. */
export interface LayerLambdas {
  readonly weights?: string | undefined;
  readonly activations?: string | undefined;
}

export interface MixOptions {
  /** How the gradient by a weight is estimated. Default `identity`. */
  readonly estimator?: Estimator;
  /** The lambdas of the layer with this path, that of its weight without `.weight`. Default: all are 1. */
  readonly lambdas?: (layer: string) => LayerLambdas;
  /**
   * Added to what of a weight is not quantized: (1 - lambda) (w + alpha u). One more input settles u: `noise_keys`,
   * i32 [...], random in all bits.
   */
  readonly noise?: Noise | undefined;
}

/** The input that settles the noise of a call. */
export const NOISE_KEYS = "noise_keys";

/** Inputs for lambdas and noise are added where there are layers that read them. */
export function mixQuantization(graph: Graph, options: MixOptions): Graph {
  const mixer = new Mixer(graph, options);
  const rebuilt = rebuild(graph, {
    visit: (node, operands) => (node.op === "bit_linear" ? mixer.layer(node, operands) : undefined),
  });
  return { ...rebuilt, inputs: [...rebuilt.inputs, ...mixer.inputs()] };
}

/** A lambda, or undefined for 1. */
type Lambda = Value | undefined;

class Mixer {
  readonly #estimator: Estimator;
  readonly #lambdasOf: NonNullable<MixOptions["lambdas"]>;
  readonly #noise: Noise | undefined;
  readonly #lambdas = new Map<string, Value>();
  /** Where each noisy weight's keys begin, and all of them. */
  readonly #keysOf = new Map<Value, number>();
  readonly #keys: Value;

  constructor(graph: Graph, { estimator = "identity", lambdas = () => ({}), noise }: MixOptions) {
    this.#estimator = estimator;
    this.#lambdasOf = lambdas;
    this.#noise = noise;
    let count = 0;
    for (const { op, operands } of topologicalOrder(graph)) {
      const w = operands[1]!;
      if (op !== "bit_linear" || w.type.encoding || this.#keysOf.has(w)) continue;
      if (!noise || this.#lambdasOf(layerOf(w)).weights === undefined) continue;
      this.#keysOf.set(w, count);
      const [n, k] = w.type.dims as [number, number];
      count += 2 * n + k;
    }
    this.#keys = input(NOISE_KEYS, dense("i32", [count]));
  }

  inputs(): readonly Value[] {
    return [...this.#lambdas.values(), ...(this.#keysOf.size > 0 ? [this.#keys] : [])];
  }

  /** What takes the layer's place, if anything; `operands` are rebuilt. */
  layer(node: Node<"bit_linear">, [x, w, bias]: readonly Value[]): readonly Value[] | undefined {
    if (w!.type.encoding) return undefined;
    const { weights, activations } = this.#lambdasOf(layerOf(w!));
    const { weight_scale: scale, activation } = node.attributes;
    const weight = new TernaryWeight(node, w!, scale, this.#estimator);
    if (weights === undefined && (activations === undefined || activation === null)) {
      if (this.#estimator === "identity") return undefined;
      const operands = [x!, weight.estimated(), ...(bias ? [bias] : [])];
      return remake(node, "bit_linear", operands, node.attributes).results;
    }
    const lambda = this.#lambda(weights);
    const mixed = [
      activation ? mixActivation(node, x!, activation, this.#lambda(activations)) : x!,
      weight.mixed(lambda, lambda && this.#noiseOf(node, w!)),
    ];
    if (!bias) return remake(node, "linear", mixed, {}).results;
    return remake(node, "add", [one(node, "linear", mixed, {}), bias], {}).results;
  }

  #lambda(name: string | undefined): Lambda {
    if (name === undefined) return undefined;
    const value = this.#lambdas.get(name) ?? input(name, dense("f32", []));
    this.#lambdas.set(name, value);
    return value;
  }

  /**
   * Random bits, i32 [N, K], from 2N + K random keys: a_n c_k + b_n modulo 2^32, of which the upper bits count. With a_n
   * odd, the bits of a row are independent of each other, and so are those of a column.
   */
  #noiseOf(node: Node, w: Value): MixNoise | undefined {
    const start = this.#keysOf.get(w);
    if (start === undefined || !this.#noise) return undefined;
    const [n, k] = w.type.dims as [number, number];
    const keys = (offset: number, size: number, dims: readonly number[]) => {
      const part = one(node, "slice", [this.#keys], { axis: 0, start: start + offset, size });
      return one(node, "reshape", [part], { dims: [...dims] });
    };
    const [two, unit] = [2, 1].map((value) => one(node, "constant", [], { value, dtype: "i32" }));
    const odd = one(node, "add", [one(node, "mul", [keys(0, n, [n, 1]), two!], {}), unit!], {});
    const products = one(node, "mul", [odd, keys(2 * n, k, [1, k])], {});
    const bits = one(node, "add", [products, keys(n, n, [n, 1])], {});
    return { bits, kind: this.#noise };
  }
}

interface MixNoise {
  readonly bits: Value;
  readonly kind: Noise;
}

/** A latent weight [N, K] in the forms that a layer may read. */
class TernaryWeight {
  readonly #node: Node;
  readonly #latent: Value;
  readonly #scale: ScaleGranularity;
  readonly #estimator: Estimator;

  constructor(node: Node, latent: Value, scale: ScaleGranularity, estimator: Estimator) {
    this.#node = node;
    this.#latent = latent;
    this.#scale = scale;
    this.#estimator = estimator;
  }

  /** The ternary weight, with the gradient of the estimator's surrogate. */
  estimated(): Value {
    const operands = this.#operands();
    return this.#straight(this.#ternary(), expression(this.#node, operands, surrogate(this.#estimator)));
  }

  /** The weight as the layer multiplies it, f32. */
  mixed(lambda: Lambda, noise: MixNoise | undefined): Value {
    const node = this.#node;
    const operands = this.#operands();
    const share = lambda && arg(operands.push(lambda) - 1);
    const estimate =
      this.#estimator === "identity"
        ? this.#latent
        : expression(node, operands, mixture(share, LATENT, surrogate(this.#estimator)));
    const bits = noise && arg(operands.push(noise.bits) - 1);
    const latent = bits ? withNoise(LATENT, bits, noise.kind) : LATENT;
    return this.#straight(expression(node, operands, mixture(share, latent, quantized)), estimate);
  }

  #straight(value: Value, estimate: Value): Value {
    const name = nameAfter(this.#latent, "mixed");
    return derive(this.#node, "straight_through", [value, estimate], {}, [name]).results[0]!;
  }

  #ternary(): Value {
    const name = nameAfter(this.#latent, "ternary");
    return derive(this.#node, "absmean_quantize", [this.#latent], { scale: this.#scale }, [name]).results[0]!;
  }

  #operands(): Value[] {
    const scales = this.#scales();
    return [this.#latent, scales, one(this.#node, "reciprocal", [scales], {})];
  }

  /** Scales, f32 [N, 1] or [N, K]. */
  #scales(): Value {
    if (typeof this.#scale === "object") return groupScales(this.#node, this.#latent, this.#scale.group);
    const scales = one(this.#node, "weight_scale", [this.#ternary()], {});
    const dims = [this.#latent.type.dims[0]!, 1];
    return derive(this.#node, "reshape", [scales], { dims }, [nameAfter(this.#latent, "scale")]).results[0]!;
  }
}

/**
 * The contract's scales of groups, f32 [N, K], but summed as the target sums: `weight_scale` has none of groups. No
 * gradient flows to them.
 */
function groupScales(node: Node, w: Value, group: number): Value {
  const [n, k] = w.type.dims as [number, number];
  const least = one(node, "constant", [], { value: SCALE_FLOOR, dtype: "f32" });
  const scalesOf = (start: number, size: number, length: number) => {
    const part = one(node, "slice", [w], { axis: 1, start, size });
    const grouped = one(node, "reshape", [part], { dims: [n, size / length, length] });
    const mean = one(node, "mean", [one(node, "abs", [grouped], {})], { axis: 2, keep_dims: true });
    const alpha = one(node, "max", [mean, least], {});
    const repeated = one(node, "broadcast", [alpha], { dims: [n, size / length, length] });
    return one(node, "reshape", [repeated], { dims: [n, size] });
  };
  const whole = k - (k % group);
  const parts = [
    ...(whole > 0 ? [scalesOf(0, whole, group)] : []),
    ...(whole < k ? [scalesOf(whole, k - whole, k - whole)] : []),
  ];
  const scales = one(node, "concat", parts, { axis: 1 });
  const zero = one(node, "constant", [], { value: 0, dtype: "f32" });
  return one(node, "straight_through", [scales, one(node, "broadcast", [zero], { dims: [n, k] })], {});
}

function mixActivation(
  node: Node,
  x: Value,
  activation: NonNullable<Node<"bit_linear">["attributes"]["activation"]>,
  lambda: Lambda,
): Value {
  const names = ["codes", "d", "sum"].map((suffix) => nameAfter(x, suffix));
  const [codes, d] = derive(node, "quantize", [x], { ...activation }, names).results as [Value, Value, Value];
  const operands = [x, one(node, "cast", [codes], { dtype: "f32" }), d, ...(lambda ? [lambda] : [])];
  const expr = mixture(lambda && arg(3), arg(0), apply("mul", arg(1), arg(2)));
  const value = expression(node, operands, expr);
  return derive(node, "straight_through", [value, x], {}, [nameAfter(x, "mixed")]).results[0]!;
}

function expression(node: Node, operands: readonly Value[], expr: ScalarExpr): Value {
  return one(node, "elementwise", operands, { expr });
}

function one<Op extends OpName>(
  node: Node,
  op: Op,
  operands: readonly Value[],
  attributes: Attributes<Op>,
): Value {
  return derive(node, op, operands, attributes).results[0]!;
}

function input(name: string, type: TensorType): Value {
  return makeValue(type, { kind: "input", name }, name);
}

/** The path of the layer that a weight belongs to. */
function layerOf({ origin }: Value): string {
  return origin.kind === "parameter" ? origin.path.replace(/\.weight$/, "") : "";
}
