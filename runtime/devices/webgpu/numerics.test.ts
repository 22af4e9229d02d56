import { expect, it } from "vitest";
import { openGpu } from "../../../test/support/dawn.ts";
import type { Numerics } from "../device.ts";
import { probeNumerics } from "./numerics.ts";

it("finds that the machine's GPU rounds as all targets are to", async () => {
  const device = await (await (await openGpu()).requestAdapter())!.requestDevice();
  expect(await probeNumerics(device)).toMatchObject({ roundsToNearest: true });
  device.destroy();
});

interface Arithmetic {
  readonly multiply: (a: number, b: number) => number;
  readonly add: (a: number, b: number) => number;
  readonly multiplyAdd?: (a: number, b: number, c: number) => number;
}

const exact: Arithmetic = {
  multiply: (a, b) => Math.fround(a * b),
  add: (a, b) => Math.fround(a + b),
};

/** A device that computes the probe as `arithmetic` does. */
function gpuWith({
  multiply,
  add,
  multiplyAdd = (a, b, c) => add(multiply(a, b), c),
}: Arithmetic): GPUDevice {
  const results: number[] = [];
  const pass = { setPipeline() {}, setBindGroup() {}, dispatchWorkgroups() {}, end() {} };
  const encoder = { beginComputePass: () => pass, copyBufferToBuffer() {}, finish() {} };
  const device = {
    createShaderModule() {},
    createComputePipelineAsync: async () => ({ getBindGroupLayout() {} }),
    createBindGroup() {},
    createBuffer: () => ({
      async mapAsync() {},
      getMappedRange: () => Float32Array.from(results).buffer,
      destroy() {},
    }),
    createCommandEncoder: () => encoder,
    queue: {
      writeBuffer(_buffer: unknown, _offset: number, operands: Float32Array) {
        for (let at = 0; at < operands.length; at += 8) {
          const [a, b, c, d, x, y, z] = operands.subarray(at) as unknown as number[];
          results.push(multiply(a!, b!), add(c!, d!), multiplyAdd(x!, y!, z!), 0);
        }
      },
      submit() {},
    },
  };
  return device as unknown as GPUDevice;
}

/** The float that `choose` picks for a number between two. */
function rounded(value: number, choose: (low: number, high: number, value: number) => number): number {
  const nearest = Math.fround(value);
  if (nearest === value) return value;
  const bits = new Int32Array(Float32Array.of(nearest).buffer);
  bits[0]! += value > nearest === nearest > 0 ? 1 : -1;
  const other = new Float32Array(bits.buffer)[0]!;
  return choose(Math.min(nearest, other), Math.max(nearest, other), value);
}
const towardZero = (value: number) => rounded(value, (low, high) => (value > 0 ? low : high));
const up = (value: number) => rounded(value, (_, high) => high);
const down = (value: number) => rounded(value, (low) => low);
const tiesAway = (value: number) =>
  rounded(value, (low, high) =>
    high - value === value - low ? (value > 0 ? high : low) : Math.fround(value),
  );
const flushed = (value: number) => (Math.abs(value) < 2 ** -126 ? 0 : value);

it.each<[string, Partial<Arithmetic>, Partial<Numerics>]>([
  ["is exact", {}, {}],
  ["rounds products toward zero", { multiply: (a, b) => towardZero(a * b) }, { roundsToNearest: false }],
  ["rounds products up", { multiply: (a, b) => up(a * b) }, { roundsToNearest: false }],
  ["rounds products down", { multiply: (a, b) => down(a * b) }, { roundsToNearest: false }],
  ["rounds ties of products away", { multiply: (a, b) => tiesAway(a * b) }, { roundsToNearest: false }],
  ["rounds sums toward zero", { add: (a, b) => towardZero(a + b) }, { roundsToNearest: false }],
  ["rounds sums up", { add: (a, b) => up(a + b) }, { roundsToNearest: false }],
  ["rounds ties of sums away", { add: (a, b) => tiesAway(a + b) }, { roundsToNearest: false }],
  ["contracts", { multiplyAdd: (a, b, c) => Math.fround(a * b + c) }, { contracts: true }],
  ["flushes products", { multiply: (a, b) => flushed(Math.fround(a * b)) }, { keepsSubnormals: false }],
  ["flushes sums", { add: (a, b) => flushed(Math.fround(a + b)) }, { keepsSubnormals: false }],
  [
    "flushes factors",
    { multiply: (a, b) => Math.fround(flushed(a) * flushed(b)) },
    { keepsSubnormals: false },
  ],
  ["flushes summands", { add: (a, b) => Math.fround(flushed(a) + flushed(b)) }, { keepsSubnormals: false }],
])("tells of a GPU that %s", async (_, arithmetic, found) => {
  const expected = { roundsToNearest: true, contracts: false, keepsSubnormals: true, ...found };
  expect(await probeNumerics(gpuWith({ ...exact, ...arithmetic }))).toEqual(expected);
});
