import type { Uncovered } from "./rules.ts";

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
} as const;
