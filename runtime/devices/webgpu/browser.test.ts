import { fileURLToPath } from "node:url";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { askWorker, launchBrowser } from "../../../test/support/browser.ts";
import { bundleForBrowser } from "../../../test/support/bundle.ts";
import { type FakeArtifact, fakeArtifact } from "../../../test/support/fake-artifact.ts";
import type { ArtifactCalls, ArtifactResults } from "../../../test/support/run-artifact.ts";

const answer = `
import { runArtifact } from "./run-artifact.js";
export default (calls) => runArtifact(calls);`;

let runner: string;
let artifact: FakeArtifact;
const opened: Browser[] = [];
beforeAll(async () => {
  runner = await bundleForBrowser(
    fileURLToPath(new URL("../../../test/support/run-artifact.ts", import.meta.url)),
  );
  artifact = await fakeArtifact({ weightsBytes: 5000, targets: ["wasm", "webgpu"] });
});
afterAll(async () => {
  for (const browser of opened) await browser.close();
});

const open = async (webgpu: boolean) => {
  const browser = await launchBrowser({ webgpu });
  opened.push(browser);
  return (device: ArtifactCalls["device"], batches: readonly number[]) =>
    askWorker<ArtifactCalls, ArtifactResults>(
      browser,
      { answer, crossOriginIsolated: false, routes: { "/run-artifact.js": { text: runner } } },
      {
        files: Object.fromEntries(artifact.files),
        calls: batches.map((batch) => ({ x: new Float32Array(4 * batch).fill(batch) })),
        threads: 1,
        device,
      },
    );
};

it("runs in a worker of a page that has a GPU", async () => {
  const ask = await open(true);
  const { device, calls } = await ask("webgpu", [1, 3, 2]);
  expect(device).toMatch(/^WebGPU, /);
  for (const [index, batch] of [1, 3, 2].entries()) {
    const { y, checksum } = calls[index]!;
    expect(Array.from(y!)).toEqual(new Array(4 * batch).fill(2 * batch));
    expect(Array.from(checksum!)).toEqual([artifact.checksum]);
  }
  // The processor plays this one.
  await expect(ask("auto", [1])).rejects.toThrow(/Running on WebAssembly.*played by the processor/);
});

it("says where a page has none", async () => {
  const ask = await open(false);
  await expect(ask("webgpu", [1])).rejects.toThrow(/\[NO_DEVICE\]/);
  await expect(ask("auto", [1])).rejects.toThrow(/Running on WebAssembly: This machine offers no GPU/);
  expect((await ask("wasm", [1])).device).toMatch(/^WebAssembly/);
});
