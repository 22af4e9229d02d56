import type { Uncovered } from "./rules.ts";

const training: Uncovered = {
  uncovered: "No kernel computes this gradient yet; the reference interpreter does.",
};

const buildTime = (what: string): Uncovered => ({
  uncovered: `${what} is computed once while a model is built; make its operands depend on parameters alone.`,
});

/** Ops that no target runs: what a pass replaces, and what is computed while a model is built. */
export const uncoveredRules = {
  bit_linear: { uncovered: "Run the pass lower-bitlinear first; building a model does." },
  absmean_quantize: buildTime("The ternary form of a weight"),
  quantize_int8: buildTime("The int8 form of a weight"),
  weight_scale: buildTime("The scale of a ternary weight"),
  rope_table: buildTime("A table of rotary angles"),
  constant: buildTime("A constant"),
  cross_entropy: training,
  cross_entropy_gradient: training,
  linear_input_gradient: training,
  linear_weight_gradient: training,
  embedding_gradient: training,
  rms_norm_gradient: training,
  attention_gradient: training,
} as const;
