import { describe, expect, it } from "vitest";
import { interpret } from "../../ir/interpret.ts";
import { tensor } from "../../ir/tensor.ts";
import { printGraph } from "../../ir/text/print.ts";
import { errorOf } from "../../test/support/errors.ts";
import { Random } from "../../test/support/random.ts";
import { randomTensors } from "../../test/support/random-graph.ts";
import { readFloats } from "../checkpoint/read-floats.ts";
import { memorySource } from "../checkpoint/source.ts";
import { bitLinear, block, defineModel, f32, linear, relu2, rmsNorm, type Tensor } from "../dsl/index.ts";
import {
  autoConvertIfNeeded,
  type ConvertOptions,
  convertToBitnet,
  initializeSubLN,
  insertSubLN,
  isBitnetModel,
} from "./convert.ts";

/** A feed-forward with a head, of whichever linears and norms. */
const ordinary = defineModel({
  name: "m",
  inputs: { x: f32("batch", 8) },
  layers: {
    mlp: block({ up: linear(8, 12, { bias: true }), down: linear(12, 8) }, ({ up, down }) => {
      return (x: Tensor<"f32", ["batch", 8]>) => down(relu2(up(x)));
    }),
    head: linear(8, 3),
  },
  forward: ({ x }, { mlp, head }) => ({ y: head(mlp(x)) }),
});

const paths = (options?: ConvertOptions) =>
  convertToBitnet(ordinary, options)
    .parameters()
    .map(({ path, kind }) => `${path} ${kind}`);

describe("a converted model", () => {
  it("has BitLinear for its projections, and a SubLN before the last of them", () => {
    expect(paths()).toEqual([
      "mlp.up.weight bitLinear",
      "mlp.up.bias bias",
      "mlp.down.rms_norm.weight norm",
      "mlp.down.weight bitLinear",
      "head.weight linear",
    ]);
    expect(paths({ subln: "every" }).filter((path) => path.endsWith("norm"))).toEqual([
      "mlp.up.rms_norm.weight norm",
      "mlp.down.rms_norm.weight norm",
    ]);
    expect(paths({ subln: "none", modules: () => true })).toContain("head.weight bitLinear");
    const grouped = convertToBitnet(ordinary, { quantization: { groupSize: 4 } });
    expect(printGraph(grouped.trace())).toContain("{weight_scale = {group = 4}");
  });

  it("computes what the same model described by hand does", () => {
    const byHand = defineModel({
      name: "m",
      inputs: { x: f32("batch", 8) },
      layers: {
        mlp: {
          up: bitLinear(8, 12, { bias: true }),
          norm: rmsNorm(12, { eps: 1e-3 }),
          down: bitLinear(12, 8),
        },
        head: linear(8, 3),
      },
      forward: ({ x }, { mlp: { up, norm, down }, head }) => ({ y: head(down(norm(relu2(up(x))))) }),
    });
    const graph = byHand.trace();
    const { inputs, parameters } = randomTensors(graph, new Random(2));
    const { "mlp.norm.weight": norm, ...rest } = parameters;
    const converted = convertToBitnet(ordinary, { eps: 1e-3 }).trace();
    const results = interpret(converted, {
      inputs,
      parameters: { ...rest, "mlp.down.rms_norm.weight": norm! },
    });
    expect(results.outputs).toEqual(interpret(graph, { inputs, parameters }).outputs);
  });

  it("is recognized, and not converted twice", () => {
    const converted = autoConvertIfNeeded(ordinary);
    expect([isBitnetModel(ordinary), isBitnetModel(converted)]).toEqual([false, true]);
    expect(autoConvertIfNeeded(converted)).toBe(converted);
    expect(errorOf(() => convertToBitnet(converted)).code).toBe("INVALID_OPTION");
  });

  it("comes about in two stages as in one", () => {
    const first = insertSubLN(ordinary);
    expect(isBitnetModel(first)).toBe(false);
    expect(printGraph(convertToBitnet(first).trace())).toBe(printGraph(convertToBitnet(ordinary).trace()));
  });

  it("begins with norms of weight one, which change what it computes", async () => {
    const random = new Random(4);
    const weights = memorySource(
      new Map(
        ordinary.parameters().map(({ path, dims }) => {
          const data = Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => random.normal());
          return [path, { dims, data }];
        }),
      ),
    );
    const first = insertSubLN(ordinary);
    const source = initializeSubLN(first, weights);
    expect([...(await readFloats(source, "mlp.down.rms_norm.weight"))]).toEqual(Array(12).fill(1));
    const parameters = Object.fromEntries(
      await Promise.all(
        first
          .parameters()
          .map(
            async ({ path, dims }) => [path, tensor("f32", dims, await readFloats(source, path))] as const,
          ),
      ),
    );
    const inputs = { x: tensor("f32", [1, 8], [1, 2, 3, 4, 5, 6, 7, 8]) };
    const before = interpret(ordinary.trace(), { inputs, parameters }).outputs.y;
    expect(interpret(first.trace(), { inputs, parameters }).outputs.y).not.toEqual(before);
  });

  it("is refused where no layer would be converted, or no output projection is found", () => {
    const none = errorOf(() => convertToBitnet(ordinary, { modules: () => false }));
    expect(none).toMatchObject({
      code: "INVALID_OPTION",
      message: expect.stringContaining("no linear layer"),
    });
    const outputs = errorOf(() => convertToBitnet(ordinary, { outputs: () => false }));
    expect(outputs).toMatchObject({ code: "INVALID_OPTION", received: "mlp.up, mlp.down" });
    expect(errorOf(() => convertToBitnet(ordinary, { eps: 0 })).code).toBe("INVALID_OPTION");
  });
});
