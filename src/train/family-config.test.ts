import { expect, test } from "vitest";
import { alphabetConfig } from "../../test/support/alphabet-model.ts";
import type { LanguageModelConfig } from "../dsl/families/index.ts";
import { firstDifference } from "./family-config.ts";

const down = "model.layers.0.mlp.down_proj";
const but = (path: string) => path !== down;

test.each<[string, Partial<LanguageModelConfig>, Partial<LanguageModelConfig>]>([
  [
    "the norm of BitLinears there are not",
    { quantized: false, projectionNormEpsilon: 1e-6 },
    { quantized: false },
  ],
  ["a correction of no BitLinear", { quantized: but, correctionRanks: { [down]: 4 } }, { quantized: but }],
  ["a token twice", { eosTokens: [5, 5] }, { eosTokens: [5] }],
  ["a name", { name: "one" }, { name: "other" }],
])("%s makes no other model", (_, left, right) => {
  expect(firstDifference({ ...alphabetConfig, ...left }, { ...alphabetConfig, ...right })).toBeUndefined();
});

test.each<[string, Partial<LanguageModelConfig>, unknown]>([
  ["projectionNormEpsilon", { projectionNormEpsilon: 1e-6 }, 1e-6],
  [`correctionRanks of ${down}`, { correctionRanks: { [down]: 4 } }, 4],
  ["eosTokens", { eosTokens: [5] }, [5]],
])("%s makes another model", (field, changed, left) => {
  expect(firstDifference({ ...alphabetConfig, ...changed }, alphabetConfig)).toMatchObject({ field, left });
});
