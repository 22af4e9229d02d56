import type { RopeScaling } from "../families/config.ts";
import { located } from "../located.ts";
import { invalidOption, knownOptions, positiveInteger, positiveNumber } from "../options.ts";
import type { Dim } from "../shape-types.ts";
import type { Tensor } from "../tensor.ts";
import { traceOf } from "../trace.ts";

/** The angles of a rotary embedding. */
export interface RopeOptions<Batch extends Dim = Dim> {
  /** Base of the frequencies theta^(-2i/headDim), such as 10000. */
  readonly theta: number;
  /** How the frequencies are stretched beyond the trained context. Default: not at all. */
  readonly scaling?: RopeScaling | undefined;
  /** Position of each sequence's first token. A language model's own positions by default. */
  readonly positions?: Tensor<"i32", [Batch]>;
  /** Positions the tables hold. A language model's context length by default. */
  readonly length?: number;
}

/**
 * Rotary position embedding (RoPE, arXiv:2104.09864) on halves, as in GPT-NeoX, Llama and BitNet: channel i
 * and channel i + headDim/2 of every head are turned by the angle position * theta^(-2i/headDim).
 * `f32[batch, seq, heads, headDim]` -> the same shape.
 *
 * ```ts
 * const q = rope(reshape(q_proj(x), ["batch", "seq", 4, 64]), { theta: 500_000 });
 * ```
 * @throws BitloomError INVALID_OPTION without positions and length outside of a language model.
 */
export function rope<Batch extends Dim, Seq extends Dim, Heads extends Dim, D extends Dim>(
  x: Tensor<"f32", [Batch, Seq, Heads, D]>,
  options: RopeOptions<NoInfer<Batch>>,
): Tensor<"f32", [Batch, Seq, Heads, D]> {
  const trace = traceOf("rope", x);
  knownOptions("rope", options, ["theta", "scaling", "positions", "length"]);
  const theta = positiveNumber("rope: theta", options.theta);
  const positions = options.positions ?? trace.sequence?.positions;
  if (positions === undefined) throw invalidOption("rope: positions", "a tensor i32[batch]", positions);
  traceOf("rope", x, positions);
  const length = positiveInteger("rope: length", options.length ?? trace.sequence?.contextLength ?? 0);
  const dim = x.dims.at(-1);
  if (x.dims.length !== 4 || typeof dim !== "number" || dim % 2 !== 0) {
    throw located("SHAPE_MISMATCH", "rope turns pairs of channels", {
      expected: "f32[batch, seq, heads, headDim] with an even headDim",
      received: String(x),
    });
  }
  const scaling = scalingAttributes(options.scaling);
  const table = (fn: "cos" | "sin") => {
    const attributes = { theta, dim, length, fn, ...(scaling && { scaling }) };
    return trace.shared(`rope_table ${JSON.stringify(attributes)}`, () =>
      trace.tensor("rope_table", [], attributes, fn),
    );
  };
  return trace.tensor("rope", [x, table("cos"), table("sin"), positions], {});
}

function scalingAttributes(scaling: RopeScaling | undefined) {
  if (scaling?.kind !== "llama3") return scaling;
  const { kind, factor, lowFrequencyFactor, highFrequencyFactor, originalContextLength } = scaling;
  return {
    kind,
    factor,
    low_frequency_factor: lowFrequencyFactor,
    high_frequency_factor: highFrequencyFactor,
    original_length: originalContextLength,
  };
}
