import { describe, expect, it } from "vitest";
import { interpret } from "../../../ir/interpret.ts";
import { bindParameters, type StoredParameter } from "../../../ir/passes/bind-parameters.ts";
import { encodedTensor, type Tensor, tensor } from "../../../ir/tensor.ts";
import { encoded } from "../../../ir/types.ts";
import { type CheckpointName, checkpoints, readGolden } from "../../../test/support/checkpoints.ts";
import { openCheckpoint } from "../../checkpoint/huggingface.ts";
import { type ParameterInfo, type ParameterSource, storedBytes } from "../../checkpoint/source.ts";
import { languageModel } from "./index.ts";

/** The oracle: the family's own graph on the checkpoint's own weights, in the reference interpreter. */
async function loadReference(name: CheckpointName) {
  const { config, source } = await openCheckpoint(checkpoints[name].folder);
  const model = languageModel(config);
  const parameters: Record<string, Tensor> = {};
  for (const { path } of model.parameters()) parameters[path] = await readParameter(source, path);
  await source.close();
  const graph = bindParameters(model.trace({ symbols: { seq: { max: 128 } } }), (path) =>
    stored(source.info(path)!),
  );
  return {
    model,
    paths: [...source.paths()],
    run(tokens: readonly number[], position = 0, states: Record<string, Tensor> = {}) {
      const inputs = {
        tokens: tensor("i32", [1, tokens.length], tokens),
        positions: tensor("i32", [1], [position]),
        slots: tensor("i32", [1], [0]),
      };
      const result = interpret(graph, { inputs, parameters, states, symbols: { slots: 1 } });
      const logits = result.outputs.logits!.data as Float32Array;
      const width = model.vocabularySize;
      const rows = tokens.map((_, row) => logits.subarray(row * width, (row + 1) * width));
      return { rows, states: result.states };
    },
  };
}

function stored({ dims, form }: ParameterInfo): StoredParameter {
  return form.kind === "dense"
    ? { dims, form }
    : { dims, form: { kind: "ternary", scale: form.scale.length === 1 ? "tensor" : "row" } };
}

async function readParameter(source: ParameterSource, path: string): Promise<Tensor> {
  const info = source.info(path)!;
  const bytes = new Uint8Array(storedBytes(info));
  await source.read(path, 0, bytes);
  if (info.form.kind === "dense") return tensor("f32", info.dims, new Float32Array(bytes.buffer));
  const [n = 0, k = 0] = info.dims;
  const codes = Int8Array.from({ length: n * k }, (_, i) => {
    const row = Math.floor(i / k);
    const bits = 2 * Math.floor(row / (n / 4));
    return ((bytes[(row % (n / 4)) * k + (i % k)]! >> bits) & 3) - 1;
  });
  return encodedTensor(
    encoded([n, k], { kind: "ternary", scale: "tensor" }) as never,
    codes,
    info.form.scale,
  );
}

function relativeL2(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let error = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    error += (actual[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  return Math.sqrt(error / norm);
}

const argmax = (row: Float32Array) => row.indexOf(Math.max(...row));

describe.each(Object.keys(checkpoints) as CheckpointName[])(
  "%s in the reference interpreter",
  async (name) => {
    const reference = await loadReference(name);
    const golden = await readGolden(name);

    it("declares exactly the checkpoint's tensors", () => {
      const paths = reference.model.parameters().map(({ path }) => path);
      expect(paths.sort()).toEqual(reference.paths.sort());
    });

    it("computes PyTorch's logits at the end of every prompt, and its choice at every position", () => {
      const errors = golden.map(({ input_ids, last_logits, argmax_per_position }) => {
        const { rows } = reference.run(input_ids);
        expect(rows.map(argmax)).toEqual(argmax_per_position);
        return relativeL2(rows.at(-1)!, last_logits);
      });
      // PyTorch multiplies in floats, the contract in integers: an activation code may flip, and costs a few 1e-3.
      expect(Math.max(...errors)).toBeLessThan(1e-2);
      expect(errors.filter((error) => error > 1e-6).length).toBeLessThanOrEqual(1);
    });

    it("gives the same logits however a prompt is cut into calls", () => {
      const { input_ids } = golden.reduce((a, b) => (a.input_ids.length < b.input_ids.length ? b : a));
      const whole = reference.run(input_ids).rows;
      const first = reference.run(input_ids.slice(0, 3));
      const second = reference.run(input_ids.slice(3), 3, first.states);
      expect([...first.rows, ...second.rows]).toEqual(whole);
    });
  },
);

it("continues every prompt through its cache with PyTorch's 32 greedy tokens", async () => {
  const reference = await loadReference("bitnet-tiny-packed");
  for (const { input_ids, greedy_ids } of await readGolden("bitnet-tiny-packed")) {
    const tokens = [...input_ids];
    let { rows, states } = reference.run(tokens);
    while (tokens.length < greedy_ids.length) {
      const next = argmax(rows.at(-1)!);
      ({ rows, states } = reference.run([next], tokens.length, states));
      tokens.push(next);
    }
    expect(tokens).toEqual(greedy_ids);
  }
});
