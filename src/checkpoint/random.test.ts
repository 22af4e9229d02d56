import { fc, test } from "@fast-check/vitest";
import { describe, expect } from "vitest";
import { bf16ToF32 } from "../../ir/tensor.ts";
import { randomCheckpoint, randomSource } from "./random.ts";
import { storedBytes } from "./source.ts";

const parameters = [
  { path: "w", dims: [1024, 1000], kind: "ternary" },
  { path: "v", dims: [1024, 1000], kind: "ternary" },
  { path: "e", dims: [300, 64], kind: "dense" },
  { path: "n", dims: [4096], kind: "norm" },
] as const;

const first = randomSource(parameters, 1);

async function read(path: string, offset: number, length: number, source = first): Promise<Uint8Array> {
  const into = new Uint8Array(length);
  await source.read(path, offset, into);
  return into;
}

describe("random parameters", () => {
  test.prop([fc.nat(100_000), fc.nat(5000)], { numRuns: 5 })(
    "are the same at any offset",
    async (offset, length) => {
      const whole = await read("w", 0, 256_000);
      expect(await read("w", offset, length)).toEqual(whole.slice(offset, offset + length));
    },
  );

  test("differ by path and by seed", async () => {
    const codes = await read("w", 0, 64);
    expect(await read("v", 0, 64)).not.toEqual(codes);
    expect(await read("w", 0, 64, randomSource(parameters, 2))).not.toEqual(codes);
    expect(await read("w", 0, 64, randomSource(parameters, 1))).toEqual(codes);
  });

  test("fill every read, wherever a path starts in the pool", async () => {
    const many = Array.from(
      { length: 50 },
      (_, i) => ({ path: `w${i}`, dims: [4, 64], kind: "ternary" }) as const,
    );
    const source = randomSource(many, 3);
    for (const { path } of many) {
      const codes = [...(await read(path, 0, 64, source))].flatMap((byte) =>
        [0, 2, 4, 6].map((i) => (byte >> i) & 3),
      );
      expect(new Set(codes)).toEqual(new Set([0, 1, 2]));
    }
  });

  test("are codes 0, 1 and 2 about equally often", async () => {
    const counts = [0, 0, 0, 0];
    for (const byte of await read("w", 0, 256_000)) {
      for (let i = 0; i < 8; i += 2) counts[(byte >> i) & 3]!++;
    }
    expect(counts[3]).toBe(0);
    for (const count of counts.slice(0, 3)) expect(count / 1_024_000).toBeCloseTo(1 / 3, 2);
  });

  test("are floats of the size a model has", async () => {
    const norms = new Float32Array((await read("n", 0, 16384)).buffer);
    expect(Math.min(...norms)).toBeGreaterThanOrEqual(0.875);
    expect(Math.max(...norms)).toBeLessThanOrEqual(1.125);
    const values = [...new Uint16Array((await read("e", 0, 38_400)).buffer)].map(bf16ToF32);
    expect(Math.max(...values)).toBeLessThanOrEqual(1);
    expect(values.reduce((sum, value) => sum + value, 0) / values.length).toBeCloseTo(0, 1);
  });

  test("a read past the end and an odd shape are refused", async () => {
    await expect(read("n", 16380, 8)).rejects.toMatchObject({ code: "INVALID_TENSOR" });
    expect(() => randomSource([{ path: "w", dims: [3, 4], kind: "ternary" }], 0)).toThrow(/multiple of 4/);
  });
});

describe("a published model's shapes", () => {
  test("2B-4T has 521 MB of codes and a head of 657 MB", () => {
    const { source } = randomCheckpoint("bitnet-b1.58-2B-4T");
    const infos = [...source.paths()].map((path) => source.info(path)!);
    const bytes = (kind: string) =>
      infos.filter((info) => info.form.kind === kind).reduce((sum, info) => sum + storedBytes(info), 0);
    expect(bytes("ternary-packed")).toBe(521_011_200);
    expect(storedBytes(source.info("model.embed_tokens.weight")!)).toBe(656_670_720);
    expect(source.info("model.layers.29.self_attn.k_proj.weight")?.dims).toEqual([640, 2560]);
  });
  test("an unknown name is refused", () => {
    expect(() => randomCheckpoint("toString")).toThrow(/bitnet-b1.58-2B-4T/);
  });
});
