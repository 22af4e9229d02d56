import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { formatBytes } from "../codegen/schedule/bytes.ts";
import { randomParameter, randomSource } from "../src/checkpoint/random.ts";
import { bitLinear, compile, defineModel, f32, repeat } from "../src/index.ts";
import { type InstalledPackage, installPackage } from "./support/cli.ts";

/** 134 MB of packed weights: what is held of them twice would show. */
const large = defineModel({
  name: "large",
  inputs: { x: f32("batch", 8192) },
  symbols: { batch: { max: 1 } },
  layers: { layers: repeat(8, () => bitLinear(8192, 8192)) },
  forward: ({ x }, { layers }) => ({ y: layers.reduce((y, layer) => layer(y), x) }),
});

/** Beside the weights in device memory: two chunks, what hashes them, the manifest, and the garbage of reading. */
const MOST_EXTRA_BYTES = 48 * 1024 * 1024;

let bitloom: InstalledPackage;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-memory-"));
  bitloom = await installPackage();
  const weights = randomSource(large.parameters().map(randomParameter), 0);
  await compile(large, { out: join(folder, "large"), weights });
});
afterAll(async () => {
  await bitloom?.dispose();
  await rm(folder, { recursive: true, force: true });
});

it.each([1, 2])("loading takes the packed weights and a bounded buffer (threads: %i)", async (threads) => {
  const { stdout, stderr } = await bitloom.runModule(`
    import { readFileSync } from "node:fs";
    import { load } from "bitloom/runtime";

    const { rss } = process.memoryUsage;
    const idle = rss();
    let sampled = 0;
    const onProgress = () => { sampled = Math.max(sampled, rss()); };
    const model = await load(${JSON.stringify(join(folder, "large"))}, { threads: ${threads}, onProgress });
    // Linux knows the peak between the samples too.
    const status = process.platform === "linux" ? readFileSync("/proc/self/status", "utf8") : "";
    const exact = 1024 * Number(/VmHWM:\\s+(\\d+)/.exec(status)?.[1] ?? 0);
    const device = model.manifest.targets.wasm.memory.totalBytes;
    console.log(JSON.stringify({ idle, peak: Math.max(sampled, exact), device }));`);
  expect(stderr).toBe("");
  const { idle, peak, device } = JSON.parse(stdout);
  const { size } = await stat(join(folder, "large/weights.safetensors"));
  const extra = peak - idle - device;
  console.log(
    `loading ${formatBytes(size)} of weights on ${threads} threads: ${formatBytes(peak)} at the peak, ` +
      `of which ${formatBytes(idle)} an idle process, ${formatBytes(device)} device memory, ${formatBytes(extra)} the rest`,
  );
  // The measure sees the weights.
  expect(peak - idle).toBeGreaterThan(size);
  expect(extra).toBeLessThan(MOST_EXTRA_BYTES);
});
