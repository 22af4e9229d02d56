import type { Uncovered } from "./rules.ts";

const buildTime = (what: string): Uncovered => ({
  uncovered: `${what} is computed once while a model is built; make its operands depend on parameters alone.`,
});

/** Ops that no target runs: what a pass replaces, and what is computed while a model is built. */
export const uncoveredRules = {
  bit_linear: { uncovered: "Run the pass lower-bitlinear first; building a model does." },
  straight_through: { uncovered: "Run the pass canonicalize first; building a model does." },
  quantize_int8: buildTime("The int8 form of a weight"),
  rope_table: buildTime("A table of rotary angles"),
  constant: buildTime("A constant"),
} as const;

const training: Uncovered = {
  uncovered: "Training runs on CPU targets: no GPU kernel computes this yet.",
};

/** Ops that the CPU class of targets runs and the GPU class does not. */
export const uncoveredOnGpu = {
  absmean_quantize: buildTime("The ternary form of a weight"),
  weight_scale: buildTime("The scale of a ternary weight"),
  linear_input_gradient: training,
  linear_weight_gradient: training,
} as const;
