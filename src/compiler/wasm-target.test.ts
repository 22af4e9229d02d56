import { expect, test } from "vitest";
import { schedule } from "../../codegen/schedule/schedule.ts";
import { parseGraph } from "../../ir/text/parse.ts";
import { writeWasmTarget } from "./wasm-target.ts";

const graph = parseGraph(`graph @g(batch <= 3) {
  %x: input f32[batch]
  %y: f32[batch] = relu(%x)
  return y = %y
}`);
const shared = "kernels.threads.wasm";
const engine = { simd: true, relaxedSimd: false, threads: true };

test.each([
  ["any engine", 2, undefined, 4],
  ["one without relaxed SIMD", 2, engine, [shared]],
  ["one with it", 2, { ...engine, relaxedSimd: true }, [shared, "kernels.threads.simd-relaxed.wasm"]],
  ["one thread", 1, engine, ["kernels.wasm"]],
  ["one without threads", 2, { ...engine, threads: false }, ["kernels.wasm"]],
] as const)("assembles the modules for %s", async (_, maxThreads, engine, expected) => {
  const plan = await schedule({ run: graph }, { targets: ["wasm"], maxThreads });
  const written: string[] = [];
  const write = async (path: string) => {
    if (path.endsWith(".wasm")) written.push(path);
  };
  const { target } = await writeWasmTarget({ write }, plan, engine);
  expect(Object.values(target.modules)).toEqual(written);
  if (typeof expected === "number") expect(written).toHaveLength(expected);
  else expect(written).toEqual(expected);
});
