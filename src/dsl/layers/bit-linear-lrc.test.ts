import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { topologicalOrder } from "../../../ir/graph.ts";
import { interpret } from "../../../ir/interpret.ts";
import { gradient } from "../../../ir/passes/gradient.ts";
import { runForwardPipeline } from "../../../ir/passes/pipelines.ts";
import { type Tensor, tensor } from "../../../ir/tensor.ts";
import { printGraph } from "../../../ir/text/print.ts";
import { verifyGraph } from "../../../ir/verify.ts";
import { errorOf, unchecked } from "../../../test/support/errors.ts";
import { Random } from "../../../test/support/random.ts";
import { randomTensors } from "../../../test/support/random-graph.ts";
import { WasmProgram } from "../../../test/support/run-wasm.ts";
import { relativeL2 } from "../../../test/support/tolerance.ts";
import { type BitLinearOptions, bitLinear, bitLinearLRC, defineModel, f32, mul, sum } from "../index.ts";

const sizes = fc.record({
  rows: fc.integer({ min: 1, max: 5 }),
  inFeatures: fc.integer({ min: 1, max: 70 }),
  outFeatures: fc.integer({ min: 1, max: 40 }),
  rank: fc.integer({ min: 1, max: 9 }),
  options: fc.constantFrom<BitLinearOptions>({}, { bias: true }, { groupSize: 16 }, { activation: null }),
  seed: fc.integer({ min: 0, max: 2 ** 30 }),
});

function corrected(inFeatures: number, outFeatures: number, rank: number, options: BitLinearOptions = {}) {
  return defineModel({
    name: "m",
    inputs: { x: f32("batch", inFeatures) },
    layers: { down: bitLinearLRC(inFeatures, outFeatures, { ...options, rank }) },
    forward: ({ x }, { down }) => ({ y: down(x) }),
  });
}

const plain = (inFeatures: number, outFeatures: number, options: BitLinearOptions) =>
  defineModel({
    name: "m",
    inputs: { x: f32("batch", inFeatures) },
    layers: { down: bitLinear(inFeatures, outFeatures, options) },
    forward: ({ x }, { down }) => ({ y: down(x) }),
  });

const f64 = ({ data }: Tensor) => Float64Array.from(data);

describe("a BitLinear with a low-rank correction", () => {
  it("is a bit_linear and two linears of its own path's parameters", () => {
    const model = corrected(8, 6, 2, { bias: true });
    expect(model.parameters()).toEqual([
      { path: "down.weight", dims: [6, 8], kind: "bitLinear" },
      { path: "down.bias", dims: [6], kind: "bias" },
      { path: "down.lrc_U", dims: [6, 2], kind: "correction" },
      { path: "down.lrc_V", dims: [8, 2], kind: "correction" },
    ]);
    expect(printGraph(model.trace())).toMatchInlineSnapshot(`
      "graph @m(batch <= 64) {
        %x: input f32[batch, 8]
        %down.weight: parameter "down.weight" f32[6, 8]
        %down.bias: parameter "down.bias" f32[6]
        %down.lrc_V: parameter "down.lrc_V" f32[8, 2]
        %down.lrc_U: parameter "down.lrc_U" f32[6, 2]
        %down: f32[batch, 6] = bit_linear(%x, %down.weight, %down.bias) {weight_scale = "tensor", activation = {bits = 8, granularity = "row"}}
        %0: f32[2, 8] = transpose(%down.lrc_V) {permutation = [1, 0]}
        %down.narrow: f32[batch, 2] = linear(%x, %0)
        %down.correction: f32[batch, 6] = linear(%down.narrow, %down.lrc_U)
        %1: f32[batch, 6] = add(%down, %down.correction)
        return y = %1
      }
      "
    `);
  });

  it("adds U V^T x of the unquantized x to what the BitLinear computes", () => {
    fc.assert(
      fc.property(sizes, ({ rows, inFeatures: k, outFeatures: n, rank, options, seed }) => {
        const r = Math.min(rank, k, n);
        const graph = corrected(k, n, r, options).trace();
        const { inputs, parameters } = randomTensors(graph, new Random(seed), { batch: rows });
        const y = interpret(graph, { inputs, parameters }).outputs.y!;
        const base = interpret(plain(k, n, options).trace(), { inputs, parameters }).outputs.y!;
        const [x, u, v] = [inputs.x!, parameters["down.lrc_U"]!, parameters["down.lrc_V"]!].map(f64) as [
          Float64Array,
          Float64Array,
          Float64Array,
        ];
        const expected = Float64Array.from(base.data);
        for (let row = 0; row < rows; row++)
          for (let j = 0; j < r; j++) {
            let narrow = 0;
            for (let i = 0; i < k; i++) narrow += x[row * k + i]! * v[i * r + j]!;
            for (let i = 0; i < n; i++) expected[row * n + i]! += narrow * u[i * r + j]!;
          }
        expect(relativeL2(y, tensor("f32", [rows, n], expected))).toBeLessThan(1e-5);
      }),
    );
  });

  it("ends in one product: the sum is in the epilogue of the second linear or of the ternary one", () => {
    const graph = runForwardPipeline(corrected(64, 32, 4).trace(), { verify: true });
    const ops = topologicalOrder(graph).map(({ op }) => op);
    expect(ops.filter((op) => op === "ternary_matmul")).toHaveLength(1);
    expect(ops.filter((op) => op === "linear")).toHaveLength(2);
    expect(ops).not.toContain("add");
    expect(ops).not.toContain("elementwise");
  });

  it("runs on the WebAssembly target as in the interpreter", async () => {
    for (const [k, n, r] of [
      [64, 32, 4],
      [70, 33, 5],
    ] as const) {
      const before = corrected(k, n, r, { bias: true }).trace();
      const tensors = randomTensors(before, new Random(k), { batch: 3 });
      const { inputs, parameters } = tensors;
      const expected = interpret(before, { inputs, parameters }).outputs.y!;
      const graph = runForwardPipeline(before);
      const program = await WasmProgram.compile({ run: graph });
      const { outputs } = program.run("run", { inputs, parameters });
      expect(relativeL2(outputs.y!, expected)).toBeLessThan(1e-6);
    }
  });

  it("gives both factors gradients that finite differences of the correction agree with", () => {
    const model = defineModel({
      name: "m",
      inputs: { x: f32(3, 10), g: f32(3, 6) },
      layers: { down: bitLinearLRC(10, 6, { rank: 2 }) },
      forward: ({ x, g }, { down }) => ({ loss: sum(sum(mul(down(x), g), { axis: 1 }), { axis: 0 }) }),
    });
    const traced = model.trace();
    const graph = gradient(traced, { loss: "loss" });
    verifyGraph(graph);
    const { inputs, parameters } = randomTensors(traced, new Random(5));
    const lossOf = (changed: Record<string, Tensor>) =>
      interpret(traced, { inputs, parameters: { ...parameters, ...changed } }).outputs.loss!.data[0]!;
    const { outputs } = interpret(graph, { inputs, parameters });
    for (const path of ["down.lrc_U", "down.lrc_V"]) {
      const { type, data } = parameters[path]!;
      const exact = outputs[`${path}.gradient`]!;
      const step = 2 ** -4;
      const numeric = Float32Array.from(data, (_, i) => {
        const moved = (by: number) =>
          lossOf({
            [path]: tensor(
              "f32",
              type.dims,
              Float32Array.from(data, (x, j) => (i === j ? x + by : x)),
            ),
          });
        return (moved(step) - moved(-step)) / (2 * step);
      });
      expect(relativeL2(exact, tensor("f32", type.dims, numeric))).toBeLessThan(1e-3);
    }
  });

  it.each([0, 7, 1.5, Number.NaN, undefined])("refuses the rank %s for 8 features to 6", (rank) => {
    const error = errorOf(() => bitLinearLRC(8, 6, unchecked({ rank })));
    expect(error).toMatchObject({ code: "INVALID_OPTION", expected: "an integer in 1..6" });
  });
});
