import { describe, expect, test } from "vitest";
import {
  type CachedAttentionOptions,
  type Change,
  cachedAttentionGraph,
  type Ending,
} from "../../../test/support/cached-attention.ts";
import { schedule } from "../schedule.ts";

const decoding: CachedAttentionOptions = {
  ...{ batch: 2, seq: 1, together: 2, kvHeads: 2, dim: 8, capacity: 200 },
  ...{ change: "nothing", ending: "quantize" },
};

/** The kernels of a graph's steps but for those that make the product or move results to their places. */
async function kernels(options: Partial<CachedAttentionOptions>): Promise<readonly string[]> {
  const graph = cachedAttentionGraph({ ...decoding, ...options });
  const { targets } = await schedule({ run: graph }, { targets: ["webgpu"], maxThreads: 1 });
  return targets
    .webgpu!.plans.run!.map(({ kernel }) => kernel)
    .filter((name) => !/^(elementwise|copy_i8)/.test(name));
}

const fused = ["rope_cache_attention_decode"];
const apart = ["rope", "rope", "cache_write", "cache_write", "attention_decode"];
const quantize = "quantize_combined_attention_rms_norm";

test.each<readonly [Change, readonly string[]]>([
  ["nothing", fused],
  ["written keys are an output", [...fused, "copy_f32"]],
  ["turned queries are an output", apart],
  ["new keys are an output", apart],
  ["written keys are read", apart],
  ["keys are read as they were", [...apart, "copy_f32", "copy_f32"]],
  ["values go elsewhere", apart],
  ["values have a product of their own", apart],
  ["values are turned keys", apart],
  ["values are written over keys", [...apart, "copy_f32"]],
  ["queries turn by another table", apart],
])("one query a sequence, where %s", async (change, expected) => {
  const names = await kernels({ change });
  expect(names.toSorted()).toEqual([...expected, quantize].toSorted());
});

describe("what workgroups found for parts of the keys is combined", () => {
  test.each<readonly [Ending, readonly string[]]>([
    ["output", ["attention_combine"]],
    ["reshape", ["attention_combine"]],
    ["quantize", [quantize]],
    ["quantize a tensor", ["attention_combine", "row_magnitudes_rms_norm", "quantize_tensor_rms_norm"]],
    ["quantize and output", ["attention_combine", "quantize_rms_norm"]],
    ["rms_norm", ["rms_norm_combined_attention"]],
    ["softmax", ["softmax_combined_attention"]],
  ])("for %s", async (ending, expected) => {
    expect(await kernels({ ending })).toEqual([...fused, ...expected]);
  });

  test("not at all where one workgroup has all keys", async () => {
    expect(await kernels({ capacity: 64 })).toEqual([...fused, "quantize_rms_norm"]);
  });

  test("before rows too long to be read once", async () => {
    const names = await kernels({ kvHeads: 33, together: 1, dim: 256 });
    expect(names).toEqual([...fused, "attention_combine", "quantize_rms_norm"]);
  });
});

test("many queries read rows that one step made", async () => {
  const seq = { max: 5 };
  expect(await kernels({ seq })).toEqual(["rope_cache", "attention_cached", "quantize_rms_norm"]);
  // Heads that attention-decode does not read four elements at a time.
  expect(await kernels({ dim: 6 })).toEqual(["rope_cache", "attention_cached_few", "quantize_rms_norm"]);
});
