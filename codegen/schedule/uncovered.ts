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
