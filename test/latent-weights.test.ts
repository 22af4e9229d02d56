/** Latent weights that a call quantizes and packs itself, as training does, against the interpreter. */
import { expect, test } from "vitest";
import { interpret } from "../ir/interpret.ts";
import { parseGraph } from "../ir/text/parse.ts";
import { Random } from "./support/random.ts";
import { randomTensors } from "./support/random-graph.ts";
import { WasmProgram } from "./support/run-wasm.ts";
import { expectSameBits } from "./support/same-bits.ts";
import { relativeL2 } from "./support/tolerance.ts";

/** Everything that reads a ternary weight. */
function graphOf(scale: string): string {
  const attribute = scale === "group 12" ? "{group = 12}" : `"${scale}"`;
  const grouped = scale === "group 12";
  return `graph @latent(batch <= 5) {
    %x: input f32[batch, 70]
    %g: input f32[batch, 9]
    %ids: input i32[batch]
    %w: state "w" f32[9, 70]
    %q: i8[batch, 70], %d: f32[batch, 1], %s: i32[batch, 1] = quantize(%x) {bits = 8, granularity = "row"}
    %t: f32[9, 70] ternary(${scale}) = absmean_quantize(%w) {scale = ${attribute}}
    %acc: ${grouped ? "f32" : "i32"}[batch, 9] = ternary_matmul(%q, %s, %t)
    %rows: f32[batch, 70] = embedding(%t, %ids)
    %y: f32[batch, 9] = linear(%x, %t)
    %dx: f32[batch, 70] = linear_input_gradient(%g, %t)
    ${grouped ? "" : "%alpha: f32[9] = weight_scale(%t)"}
    return acc = %acc, rows = %rows, y = %y, dx = %dx${grouped ? "" : ", alpha = %alpha"}
  }`;
}

test.each(["tensor", "row", "group 12"])("scales by %s", async (scale) => {
  const graph = parseGraph(graphOf(scale));
  const program = await WasmProgram.compile({ run: graph });
  for (const seed of [1, 2, 3]) {
    const { symbols, ...tensors } = randomTensors(graph, new Random(seed), { batch: 5 });
    // A row whose mean is below the floor, and magnitudes that are ties once divided by their mean.
    const w = tensors.states.w!;
    for (let i = 0; i < 70; i++) w.data[70 + i] = seed === 1 ? 0 : 1e-7 * i;
    for (let i = 0; i < 70; i++) w.data[140 + i] = [0.5, 1.5, -0.5, -1.5][i % 4]!;
    const expected = interpret(graph, { ...tensors, symbols }).outputs;
    for (const threads of [1, 3]) {
      const given = { ...tensors, symbols: Object.fromEntries(symbols) };
      const { outputs } = program.run("run", given, { threads, relaxed: threads === 3 });
      for (const name of ["acc", "rows", "alpha"]) {
        if (expected[name]) expectSameBits(outputs[name]!, expected[name], name);
      }
      expect(relativeL2(outputs.y!, expected.y!)).toBeLessThan(1e-6);
      // Gradients are multiplied with codes in 16 bits, but in f32 with groups of them.
      const close = scale === "group 12" ? 1e-6 : 1e-3;
      expect(relativeL2(outputs.dx!, expected.dx!)).toBeLessThan(close);
    }
  }
});
