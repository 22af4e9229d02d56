/** What a decoded token of a published model costs in dispatches on a GPU. Nothing is run, so no weights are needed. */
import { expect, test } from "vitest";
import { repeats } from "../codegen/schedule/repeats.ts";
import { schedule } from "../codegen/schedule/schedule.ts";
import { knownModels } from "../src/checkpoint/known-models.ts";
import { lowerModel } from "../src/compiler/lower.ts";
import { bitnet } from "../src/dsl/families/index.ts";
import { storedDensely } from "./support/small-model.ts";

const config = knownModels["bitnet-b1.58-2B-4T"]!;

/** The kernels that a call of the entry `decode` with so many sequences dispatches. */
async function dispatches(batch: number): Promise<readonly string[]> {
  const model = bitnet(config);
  const { decode } = lowerModel(model, storedDensely(model), { bounds: { batch } });
  const { targets } = await schedule({ decode: decode! }, { targets: ["webgpu"], maxThreads: 1 });
  return targets
    .webgpu!.plans.decode!.filter(({ guard }) => !guard || (guard.lower <= batch && batch <= guard.upper))
    .map(({ kernel }) => kernel);
}

test.each([
  [1, "ternary_gemv_one_row"],
  [4, "ternary_gemv"],
])("%i sequences of 2B-4T's shapes take nine dispatches a layer", async (batch, product) => {
  const kernels = await dispatches(batch);
  const layers = repeats(kernels).find(({ times }) => times === config.layers)!;
  const end = layers.start + layers.period * layers.times;
  expect(kernels.slice(layers.start, layers.start + layers.period)).toEqual([
    "quantize_rms_norm",
    `${product}_scale`, // q, k and v
    "rope_cache_attention_decode",
    "quantize_combined_attention_rms_norm",
    `${product}_scale_residual`, // o
    "quantize_rms_norm",
    `${product}_scale_2`, // gate and up
    "quantize_relu2_mul_rms_norm",
    `${product}_scale_residual_2`, // down
  ]);
  for (const kernel of [...kernels.slice(0, layers.start), ...kernels.slice(end)]) {
    expect(kernel).toMatch(/^(embedding|rms_norm|matmul|top_k)/);
  }
});
