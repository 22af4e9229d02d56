import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fc, test } from "@fast-check/vitest";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { BitloomError } from "../../errors/index.ts";
import {
  dtypeBytes,
  encodeHeader,
  type SafetensorsType,
  type TensorDeclaration,
} from "../../runtime/safetensors.ts";
import { openSafetensors } from "./safetensors.ts";
import { parseHeader } from "./safetensors-header.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-safetensors-"));
});
afterAll(() => rm(folder, { recursive: true }));

const declaration = fc.record({
  name: fc.oneof(fc.string(), fc.constant("__proto__")),
  dtype: fc.constantFrom(...(Object.keys(dtypeBytes) as SafetensorsType[])),
  shape: fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 3 }),
});
const declarations = fc
  .uniqueArray(declaration, { selector: ({ name }) => name, maxLength: 6 })
  .filter((tensors) => tensors.every(({ name }) => name !== "__metadata__"));

function bytesOf({ dtype, shape }: TensorDeclaration): number {
  return shape.reduce((product, dim) => product * dim, dtypeBytes[dtype]);
}

/** A file's bytes from a raw JSON header. */
function rawFile(header: unknown, dataBytes = 0): Uint8Array {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + json.byteLength + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.byteLength), true);
  file.set(json, 8);
  return file;
}

function parse(header: unknown, dataBytes = 0): unknown {
  const file = rawFile(header, dataBytes);
  return parseHeader(file.subarray(8, file.byteLength - dataBytes), file.byteLength, "x.safetensors");
}

function failure(run: () => unknown): BitloomError {
  try {
    run();
  } catch (error) {
    if (error instanceof BitloomError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("writing and reading", () => {
  test.prop([declarations, fc.dictionary(fc.string(), fc.string())], { numRuns: 60 })(
    "gives every tensor back",
    async (tensors, metadata) => {
      const path = join(folder, "round-trip.safetensors");
      const data = Uint8Array.from(
        { length: tensors.reduce((sum, t) => sum + bytesOf(t), 0) },
        (_, i) => i * 7,
      );
      const header = encodeHeader(tensors, metadata);
      expect(header.byteLength % 64).toBe(0);
      await writeFile(path, Buffer.concat([header, data]));
      const file = await openSafetensors(path);
      try {
        expect([...file.metadata]).toEqual(Object.entries(metadata));
        let position = 0;
        for (const declared of tensors) {
          const tensor = file.tensors.get(declared.name)!;
          expect(tensor).toMatchObject(declared);
          const skip = Math.min(3, tensor.bytes);
          const into = new Uint8Array(tensor.bytes - skip);
          await file.read(tensor, skip, into);
          expect(into).toEqual(data.slice(position + skip, position + tensor.bytes));
          position += tensor.bytes;
        }
        expect(file.tensors.size).toBe(tensors.length);
      } finally {
        await file.close();
      }
    },
  );

  test("refuses two tensors of one name", () => {
    const tensor = { name: "a", dtype: "U8", shape: [1] } as const;
    expect(failure(() => encodeHeader([tensor, tensor])).code).toBe("INVALID_TENSOR");
  });
});

describe("bad files", () => {
  const good = { dtype: "F32", shape: [2], data_offsets: [0, 8] };

  test("a range outside the file names file, tensor and byte", () => {
    const error = failure(() => parse({ a: good }, 7));
    expect(error.code).toBe("CORRUPT_FILE");
    expect(error.message).toContain('tensor "a"');
    expect(error.message).toContain("x.safetensors");
    expect(error.location).toMatch(/byte \d+/);
  });

  test.each<[string, unknown, number, string, RegExp]>([
    ["shape against bytes", { a: { ...good, shape: [3] } }, 8, "INVALID_TENSOR", /12 bytes for F32 \[3\]/],
    ["a huge shape", { a: { ...good, shape: [2 ** 40, 2 ** 40] } }, 8, "INVALID_TENSOR", /disagree/],
    [
      "a reversed range",
      { a: { ...good, data_offsets: [8, 0] } },
      8,
      "INVALID_TENSOR",
      /ends before it begins/,
    ],
    ["a negative offset", { a: { ...good, data_offsets: [-8, 0] } }, 8, "INVALID_TENSOR", /malformed/],
    ["an unknown dtype", { a: { ...good, dtype: "toString" } }, 8, "INVALID_TENSOR", /toString/],
    [
      "an overlap",
      { a: good, b: { ...good, data_offsets: [4, 12] } },
      12,
      "INVALID_TENSOR",
      /overlaps tensor "a"/,
    ],
    [
      "a hole",
      { a: good, b: { ...good, data_offsets: [12, 20] } },
      20,
      "CORRUPT_FILE",
      /belong to no tensor/,
    ],
    ["bytes at the end", { a: good }, 9, "CORRUPT_FILE", /1 bytes after the last tensor/],
    [
      "a name twice",
      '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\\u0061":1}',
      0,
      "INVALID_TENSOR",
      /twice/,
    ],
    ["an array", "[]", 0, "CORRUPT_FILE", /not a JSON object/],
    ["no JSON", '{"a": nonsense}', 0, "CORRUPT_FILE", /not JSON/],
    ["deep nesting", `{"a":${"[".repeat(100_000)}`, 0, "CORRUPT_FILE", /nested too deeply/],
    ["an unclosed string", '{"a', 0, "CORRUPT_FILE", /not JSON/],
    ["metadata of numbers", { __metadata__: { a: 1 } }, 0, "CORRUPT_FILE", /__metadata__/],
  ])("%s", (_, header, dataBytes, code, message) => {
    const error = failure(() => parse(header, dataBytes));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
  });

  test("a missing, an empty and a short file, and an absurd header length", async () => {
    await expect(openSafetensors(join(folder, "none"))).rejects.toMatchObject({ code: "MISSING_FILE" });
    const path = join(folder, "bad.safetensors");
    for (const bytes of [[], [1, 0, 0], [200, 0, 0, 0, 0, 0, 0, 0], Array(64).fill(255)]) {
      await writeFile(path, Uint8Array.from(bytes));
      await expect(openSafetensors(path)).rejects.toMatchObject({ code: "CORRUPT_FILE" });
    }
  });

  test("a file that shrinks after it was opened", async () => {
    const path = join(folder, "shrinks.safetensors");
    const bytes = rawFile({ a: good }, 8);
    await writeFile(path, bytes);
    const file = await openSafetensors(path);
    await truncate(path, bytes.byteLength - 4);
    await expect(file.read(file.tensors.get("a")!, 0, new Uint8Array(8))).rejects.toMatchObject({
      code: "CORRUPT_FILE",
    });
    await file.close();
  });

  const small = encodeHeader([
    { name: "a", dtype: "F32", shape: [2, 3] },
    { name: "b", dtype: "U8", shape: [8] },
  ]);
  test.prop(
    [fc.array(fc.tuple(fc.nat(small.byteLength + 31), fc.nat(255)), { minLength: 1, maxLength: 4 })],
    {
      numRuns: 300,
    },
  )("altered bytes are accepted or give a coded error", async (changes) => {
    const bytes = new Uint8Array(small.byteLength + 32);
    bytes.set(small);
    for (const [at, value] of changes) bytes[at] = value;
    const path = join(folder, "fuzzed.safetensors");
    await writeFile(path, bytes);
    try {
      const file = await openSafetensors(path);
      for (const tensor of file.tensors.values()) await file.read(tensor, 0, new Uint8Array(tensor.bytes));
      await file.close();
    } catch (error) {
      expect(error).toBeInstanceOf(BitloomError);
      expect(["CORRUPT_FILE", "INVALID_TENSOR"]).toContain((error as BitloomError).code);
    }
  });

  test.prop([fc.json()], { numRuns: 200 })("any JSON header is accepted or gives a coded error", (json) => {
    try {
      parse(json);
    } catch (error) {
      expect(error).toBeInstanceOf(BitloomError);
    }
  });
});

test("reads a file that PyTorch wrote", async () => {
  const path = new URL("../../test/goldens/bitnet-tiny-latent/model.safetensors", import.meta.url).pathname;
  const file = await openSafetensors(path);
  const tensor = file.tensors.get("model.norm.weight")!;
  const into = new Uint8Array(8);
  await file.read(tensor, 16, into);
  await file.close();
  const bytes = await readFile(path);
  expect(into).toEqual(new Uint8Array(bytes.subarray(tensor.offset + 16, tensor.offset + 24)));
  expect(tensor.shape).toEqual([256]);
});
