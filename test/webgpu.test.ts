/**
 * The WebGPU target against the reference interpreter, op by op, as the WASM target is: once on Dawn in this process
 * and once in headless Chromium, which are two projects of vitest.config.ts. A browser has a compiler and a driver of its
 * own, so it runs kernels of every op, in fewer graphs; what the schedule makes of graphs is the same there, and tested in
 * webgpu-graphs.test.ts.
 */
import { afterAll, beforeAll, describe, expect, inject, test, vi } from "vitest";
import { wgslTier } from "./support/comparisons.ts";
import { attemptGroup, groupsOf } from "./support/op-groups.ts";
import { attemptOn, WebgpuProgram } from "./support/run-webgpu.ts";
import { converse, smallModel } from "./support/small-model.ts";
import { hardTrials } from "./support/trials.ts";
import { openWebgpuHost, type WebgpuHost } from "./support/webgpu-host.ts";

// A software device compiles each kernel for seconds.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 60_000 });

let host: WebgpuHost;
beforeAll(async () => {
  host = await openWebgpuHost(inject("webgpuEngine"));
});
afterAll(() => host?.close());

test("has all that variants of kernels require, so that none is left out", () => {
  expect(host.features).toEqual(["subgroups", "packedDot"]);
});

// Optimizers of shaders may take numbers for finite.
const [numbers] = hardTrials();
test(numbers!.name, () => attemptOn(host, numbers!));

test("a language model prefills in chunks and decodes, its states carried from call to call", async () => {
  const { reference, entries } = smallModel();
  const program = await WebgpuProgram.compile(entries, host);
  await converse(reference, (entry, tensors) => program.run(entry, tensors));
});

describe("the WebGPU target op by op", () => {
  const engine = inject("webgpuEngine") === "chromium" ? "browser" : "webgpu";
  test.each(groupsOf(engine))("%s", (_, group, runs) =>
    attemptGroup(group, runs, {
      attempt: (trial) => attemptOn(host, trial),
      tier: wgslTier,
    }),
  );
});
