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
