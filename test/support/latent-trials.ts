/** Latent weights that a call quantizes and packs itself, as training does, and everything that reads them. */
import { producer } from "../../ir/graph.ts";
import { interpret } from "../../ir/interpret.ts";
import type { OpName } from "../../ir/ops/index.ts";
import type { Tensor } from "../../ir/tensor.ts";
import { parseGraph } from "../../ir/text/parse.ts";
import { compareResults, stepwise } from "./comparisons.ts";
import { Random } from "./random.ts";
import { randomTensors } from "./random-graph.ts";
import type { Trial } from "./trials.ts";

/** Ops that only these trials put a target to: an encoded weight is neither input nor output of a call. */
export const latentOps: readonly OpName[] = ["absmean_quantize", "weight_scale"];

/** What reads codes and scales, or scales alone; integer products of groups take long to compile on a software device. */
function graphOf(scale: string): string {
  const weight = `%w: state "w" f32[9, 70]
    %g: input f32[5, 9]
    %ids: input i32[5]`;
  const readers = `%rows: f32[5, 70] = embedding(%t, %ids)
    %dx: f32[5, 70] = linear_input_gradient(%g, %t)`;
  if (scale === "group 12") {
    return `graph @latent() {
      ${weight}
      %t: f32[9, 70] ternary(group 12) = absmean_quantize(%w) {scale = {group = 12}}
      ${readers}
      return rows = %rows, dx = %dx
    }`;
  }
  return `graph @latent() {
    ${weight}
    %x: input f32[5, 70]
    %q: i8[5, 70], %d: f32[5, 1], %s: i32[5, 1] = quantize(%x) {bits = 8, granularity = "row"}
    %t: f32[9, 70] ternary(${scale}) = absmean_quantize(%w) {scale = "${scale}"}
    ${readers}
    %acc: i32[5, 9] = ternary_matmul(%q, %s, %t)
    %alpha: f32[9] = weight_scale(%t)
    return rows = %rows, dx = %dx, acc = %acc, alpha = %alpha
  }`;
}

/** Each output as close as its op must be on the interpreter's operands. */
function latentTrial(scale: string): Trial {
  const graph = parseGraph(graphOf(scale));
  const runs = [1, 2, 3].map((seed) => {
    const { symbols: _, ...tensors } = randomTensors(graph, new Random(seed));
    // A row whose mean is below the floor, and magnitudes that are ties once divided by their mean.
    const w = tensors.states.w!;
    for (let i = 0; i < 70; i++) w.data[70 + i] = seed === 1 ? 0 : 1e-7 * i;
    for (let i = 0; i < 70; i++) w.data[140 + i] = [0.5, 1.5, -0.5, -1.5][i % 4]!;
    return { entry: "run", tensors };
  });
  return {
    name: `latent weights, scales by ${scale}`,
    graphs: { run: graph },
    runs,
    check(received, tier = stepwise) {
      for (const [i, { tensors }] of runs.entries()) {
        const seen = new Map<unknown, readonly Tensor[]>();
        const { outputs } = interpret(graph, {
          ...tensors,
          onNode: (node, operands) => {
            seen.set(node, operands);
          },
        });
        for (const { name, value } of graph.outputs) {
          const node = producer(value)!;
          const results = { expected: [outputs[name]!], received: [received[i]!.outputs[name]!] };
          compareResults({ node, operands: seen.get(node)!, ...results }, tier);
        }
      }
    },
  };
}

export function latentTrials(): Trial[] {
  return ["tensor", "row", "group 12"].map(latentTrial);
}
