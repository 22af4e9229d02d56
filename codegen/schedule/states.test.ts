import { expect, test } from "vitest";
import { interpret } from "../../ir/interpret.ts";
import { tensor } from "../../ir/tensor.ts";
import { parseGraph } from "../../ir/text/parse.ts";
import { WasmProgram } from "../../test/support/run-wasm.ts";
import { expectSameBits } from "../../test/support/same-bits.ts";
import { schedule } from "./schedule.ts";

test("entries that bound a state's symbol differently are refused: one would write past its end", async () => {
  const graph = (max: number) =>
    parseGraph(`graph @g(batch <= ${max}) {
      %x: input f32[batch, 8]
      %s: state "s" f32[batch, 8]
      %y: f32[batch, 8] = add(%x, %s)
      next %s = %y
      return y = %y
    }`);
  await expect(
    schedule({ small: graph(2), large: graph(4) }, { targets: ["wasm"], maxThreads: 1 }),
  ).rejects.toMatchObject({
    code: "INVALID_GRAPH",
    expected: "f32[batch, 8] within [2, 8]",
    received: "f32[batch, 8] within [4, 8]",
  });
});

test("a cache whose capacity is a symbol keeps its rows apart", async () => {
  const graph = parseGraph(`graph @g(batch <= 2, capacity <= 8) {
    %x: input f32[batch, 1, 1, 4]
    %mask: input f32[capacity]
    %slots: input i32[batch]
    %positions: input i32[batch]
    %s: state "s" f32[2, capacity, 1, 4]
    %n: f32[2, capacity, 1, 4] = cache_write(%s, %x, %slots, %positions)
    %o: f32[2, capacity, 1, 4] = neg(%n)
    next %s = %n
    return o = %o, mask = %mask
  }`);
  const inputs = {
    x: tensor("f32", [2, 1, 1, 4], [1, 2, 3, 4, 5, 6, 7, 8]),
    mask: tensor("f32", [3], [0, 0, 0]),
    slots: tensor("i32", [2], [0, 1]),
    positions: tensor("i32", [2], [1, 2]),
  };
  const program = await WasmProgram.compile({ run: graph });
  const expected = interpret(graph, { inputs, parameters: {} }).outputs.o!;
  expectSameBits(program.run("run", { inputs, parameters: {} }).outputs.o!, expected, "o");
});

const transitions = parseGraph(`graph @g(batch <= 4) {
  %x: input f32[batch, 4]
  %w: input f32[4, 4]
  %own: state "own" f32[4, 4]
  %shifted: state "shifted" f32[4, 4]
  %fresh: state "fresh" f32[4, 4]
  %late: state "late" f32[4, 4]
  %a: state "a" f32[4, 4]
  %b: state "b" f32[4, 4]
  %n: f32[4, 4] = add(%own, %w)
  %t: f32[4, 4] = transpose(%shifted) {permutation = [1, 0]}
  %m: f32[4, 4] = add(%shifted, %t)
  %f: f32[4, 1] = max_reduce(%fresh) {axis = 1, keep_dims = true}
  %g: f32[4, 4] = add(%w, %f)
  %l: f32[4, 4] = neg(%w)
  %k: f32[4, 4] = mul(%late, %l)
  %sum: f32[4, 4] = add(%a, %b)
  next %own = %n
  next %shifted = %m
  next %fresh = %g
  next %late = %l
  next %a = %b
  next %b = %sum
  return k = %k
}`);

test("next states are computed in place where no step reads what they replace", async () => {
  const value = (seed: number) =>
    tensor(
      "f32",
      [4, 4],
      Array.from({ length: 16 }, (_, i) => Math.sin(seed + i * 12.9898)),
    );
  const names = ["own", "shifted", "fresh", "late", "a", "b"];
  const given = {
    inputs: { x: tensor("f32", [1, 4], [1, 2, 3, 4]), w: value(1) },
    parameters: {},
    states: Object.fromEntries(names.map((name, i) => [name, value(i + 2)])),
  };
  const expected = interpret(transitions, given);
  const { outputs, states } = (await WasmProgram.compile({ run: transitions })).run("run", given);
  expectSameBits(outputs.k!, expected.outputs.k!, "k");
  for (const name of names) expectSameBits(states[name]!, expected.states[name]!, name);

  const plan = await schedule({ run: transitions }, { targets: ["wasm", "webgpu"], maxThreads: 1 });
  const copies = (target: "wasm" | "webgpu") =>
    plan.targets[target]!.plans.run!.flatMap(({ label }) =>
      label.startsWith("next ") ? [label] : [],
    ).sort();
  expect(copies("wasm")).toEqual(["next a", "next a", "next b", "next late", "next shifted"]);
  expect(copies("webgpu")).toEqual(["next a", "next a", "next b", "next late", "next own", "next shifted"]);
});
