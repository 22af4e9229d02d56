/**
 * How fast weights are packed: GB/s of input, for latent f32 and bf16 weights, packed weights of transformers
 * and an int8 head, on one thread. Latent weights are read twice (scales, then codes); the time covers both.
 * Run: npx jiti bench/packing.ts
 */
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { WeightBuffer, WeightLayout } from "../codegen/schedule/plan.ts";
import { ternaryCodeBytes } from "../codegen/schedule/weights.ts";
import { makeNode, makeValue } from "../ir/builder.ts";
import type { Value } from "../ir/graph.ts";
import { dense, encoded } from "../ir/types.ts";
import { randomSource } from "../src/checkpoint/random.ts";
import { type FloatType, memorySource, type ParameterSource, storedBytes } from "../src/checkpoint/source.ts";
import { Workspace, weightFiller } from "../src/compiler/prepare/index.ts";

const [n, k] = [6912, 2560];
const workspace = await Workspace.open();

function report(name: string, bytes: number, seconds: number): void {
  console.log(`${name.padEnd(44)} ${(bytes / seconds / 1e9).toFixed(2).padStart(6)} GB/s of input`);
}

async function best(run: () => Promise<unknown>): Promise<number> {
  let seconds = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 5; i++) {
    const start = performance.now();
    await run();
    seconds = Math.min(seconds, (performance.now() - start) / 1000);
  }
  return seconds;
}

/** Fills one buffer; the bytes go nowhere. */
async function fillSeconds(source: ParameterSource, value: Value, layout: WeightLayout): Promise<number> {
  const bytes = layout === "int8-codes" ? n * k + 16 : ternaryCodeBytes(n, k);
  const buffer: WeightBuffer = { name: "w", value, layout, dtype: "u8", offset: 0, bytes };
  return best(async () => (await weightFiller(source, workspace))(buffer, async () => {}));
}

const parameter = (dtype: FloatType) => makeValue(dense(dtype, [n, k]), { kind: "parameter", path: "w" });
const ternary = (w: Value) => makeNode("absmean_quantize", [w], { scale: "tensor" }).results[0]!;

const latent = Float32Array.from({ length: n * k }, (_, i) => Math.sin(i * 12.9898) * 2);
const f32 = memorySource(new Map([["w", { dims: [n, k], data: latent }]]));
const bits = Uint16Array.from(new Uint32Array(latent.buffer), (x) => x >>> 16);
const bf16 = memorySource(
  new Map([["w", { dims: [n, k], data: bits, form: { kind: "dense", dtype: "bf16" } as const }]]),
);
const packed = randomSource([{ path: "w", dims: [n, k], kind: "ternary" }], 1);
const wide = makeNode("cast", [parameter("bf16")], { dtype: "f32" }).results[0]!;
const int8 = makeNode("quantize_int8", [parameter("f32")], {}).results[0]!;
const codes = makeValue(encoded([n, k], { kind: "ternary", scale: "tensor" }), {
  kind: "parameter",
  path: "w",
});

console.log(`[${n}, ${k}], best of 5`);
report(
  "f32 latent -> codes",
  latent.byteLength,
  await fillSeconds(f32, ternary(parameter("f32")), "ternary-codes"),
);
report("bf16 latent -> codes", bits.byteLength, await fillSeconds(bf16, ternary(wide), "ternary-codes"));
report("transformers' packed -> codes", (n * k) / 4, await fillSeconds(packed, codes, "ternary-codes"));
report("f32 -> int8", latent.byteLength, await fillSeconds(f32, int8, "int8-codes"));

const folder = await mkdtemp(join(tmpdir(), "bitloom-bench-"));
try {
  const file = await open(join(folder, "weights"), "w+");
  await file.write(new Uint8Array(latent.buffer));
  const fromFile: ParameterSource = {
    ...f32,
    async read(_path, byteOffset, into) {
      await file.read(into, 0, into.byteLength, byteOffset);
    },
  };
  const piece = new Uint8Array(2 ** 21);
  const reading = await best(async () => {
    for (let at = 0; at < storedBytes(f32.info("w")!); at += piece.byteLength)
      await fromFile.read("w", at, piece);
  });
  report("reading the f32 file alone (page cache)", latent.byteLength, reading);
  const seconds = await fillSeconds(fromFile, ternary(parameter("f32")), "ternary-codes");
  report("f32 latent file -> codes, read twice", latent.byteLength, seconds);
  await file.close();
} finally {
  await rm(folder, { recursive: true });
}
