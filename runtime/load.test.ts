import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { fc, it as property } from "@fast-check/vitest";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import {
  type FakeArtifact,
  fakeArtifact,
  memorySource,
  seal,
  sha256Chunks,
  writeArtifact,
} from "../test/support/fake-artifact.ts";
import { BitloomError, load, loadLanguageModel, type Model, type ProgressEvent } from "./index.ts";
import { CHUNK_BYTES } from "./manifest.ts";

let small: FakeArtifact;
let large: FakeArtifact;
beforeAll(async () => {
  small = await fakeArtifact();
  large = await fakeArtifact({ weightsBytes: 2 * CHUNK_BYTES + 12_345 });
});

const loaded: Model[] = [];
const track = async <M extends Model>(model: Promise<M>): Promise<M> => {
  loaded.push(await model);
  return model;
};
afterEach(async () => {
  for (const model of loaded.splice(0)) await model.dispose();
});

const failure = async (promise: Promise<unknown>): Promise<BitloomError> => {
  const error = await promise.then(
    () => undefined,
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(BitloomError);
  return error as BitloomError;
};

/** Twice, with a pause: what backs array buffers is freed behind the collector's back. */
const collectGarbage = async (): Promise<void> => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  for (let i = 0; i < 2; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};

const one = { threads: 1 } as const;
const checksumOf = async (model: Model) => (await model.run({ x: new Float32Array(4) })).checksum!.data[0];

describe("load", () => {
  it.each([1000, 64 * 1024, 3 * CHUNK_BYTES])(
    "puts every weight in its place from pieces of %i bytes",
    async (piece) => {
      const model = await track(load(memorySource(large.files, piece), one));
      expect(await checksumOf(model)).toBe(large.checksum);
    },
  );

  it("opens only the files it needs, one module among them", async () => {
    const source = memorySource(small.files);
    await track(load(source, one));
    expect(source.opened).toEqual(["manifest.json", "kernels.wasm", "weights.safetensors"]);
    expect(source.streaming.size).toBe(0);
  });

  it("fills the weights from several shards", async () => {
    const artifact = await fakeArtifact({ weightsBytes: 5000 });
    const weights = artifact.files.get("weights.safetensors")!.subarray(40);
    const { manifest, files } = artifact;
    files.delete("weights.safetensors");
    manifest.files = manifest.files.filter(({ path }) => path !== "weights.safetensors");
    manifest.weights.shards = [];
    for (const [path, start, end] of [
      ["a", 0, 1234],
      ["b", 1234, 5000],
    ] as const) {
      const bytes = new Uint8Array(16 + end - start);
      bytes.set(weights.subarray(start, end), 16);
      files.set(path, bytes);
      manifest.files.push({ path, bytes: bytes.length, sha256: sha256Chunks(bytes) });
      manifest.weights.shards.push({ path, dataOffset: 16, bytes: end - start, regionOffset: start });
    }
    seal(artifact);
    expect(await checksumOf(await track(load(memorySource(files), one)))).toBe(artifact.checksum);
  });

  it("reports how each file advances, and readiness last", async () => {
    const events: ProgressEvent[] = [];
    await track(
      load(memorySource(large.files, 1_000_000), { ...one, onProgress: (event) => events.push(event) }),
    );
    const weights = events.filter(({ file }) => file === "weights.safetensors");
    expect(weights.slice(0, 2).map(({ status }) => status)).toEqual(["initiate", "download"]);
    expect(weights.at(-1)).toMatchObject({ status: "done", progress: 100 });
    const loads = weights.filter(({ status }) => status === "progress").map(({ loaded }) => loaded);
    expect(loads).toEqual([...loads].sort((a, b) => a - b));
    expect(loads.at(-1)).toBe(weights[0]!.total);
    expect(events.at(-1)).toMatchObject({ status: "ready", file: "fake", progress: 100 });
    expect(events.filter(({ status }) => status === "ready")).toHaveLength(1);
  });

  it("reads folders, by path and by file URL", async () => {
    const folder = await mkdtemp(join(tmpdir(), "bitloom-load-"));
    try {
      await writeArtifact(large.files, folder);
      for (const location of [folder, pathToFileURL(folder), pathToFileURL(folder).href]) {
        expect(await checksumOf(await track(load(location, one)))).toBe(large.checksum);
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("reads the files of a folder picker", async () => {
    const files = [...small.files].map(([path, bytes]) => {
      const file = new File([bytes], path.split("/").at(-1)!);
      return Object.assign(file, { webkitRelativePath: `picked/${path}` });
    });
    expect(await checksumOf(await track(load(files, one)))).toBe(small.checksum);
  });

  it("refuses options that mean nothing", async () => {
    const source = memorySource(small.files);
    for (const threads of [0, -1, 1.5, Number.NaN]) {
      expect((await failure(load(source, { threads }))).code).toBe("INVALID_OPTION");
    }
    expect((await failure(load(source, { device: "tpu" as never }))).code).toBe("INVALID_OPTION");
    for (const [place, shown] of [
      [7, "7"],
      [null, "null"],
      [undefined, "undefined"],
      ["", '""'],
    ] as const) {
      const error = await failure(load(place as never));
      expect(error).toMatchObject({ code: "INVALID_OPTION", received: shown });
    }
    for (const options of [null, 3, { treads: 1 }, { signal: "x" }, { onProgress: 1 }, { onWarning: "no" }]) {
      expect((await failure(load(source, options as never))).code).toBe("INVALID_OPTION");
    }
  });

  it("names a missing folder and a missing file", async () => {
    expect(await failure(load("/nonexistent/artifact"))).toMatchObject({ code: "MISSING_FILE" });
    const folder = await mkdtemp(join(tmpdir(), "bitloom-load-"));
    try {
      await writeArtifact(
        new Map([...small.files].filter(([path]) => path !== "weights.safetensors")),
        folder,
      );
      const error = await failure(load(folder, one));
      expect(error.code).toBe("MISSING_FILE");
      expect(error.location).toContain("weights.safetensors");
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("turns a failing source into READ_FAILED with its cause", async () => {
    const cause = new Error("cable cut");
    const source = memorySource(small.files);
    const error = await failure(
      load({
        open: async (path, options) =>
          path === "weights.safetensors"
            ? {
                stream: new ReadableStream({
                  pull: () => {
                    throw cause;
                  },
                }),
              }
            : source.open(path, options),
      }),
    );
    expect(error).toMatchObject({ code: "READ_FAILED", cause });
  });

  it("refuses an artifact of another target and a plain model as a language model", async () => {
    const artifact = await fakeArtifact();
    artifact.manifest.targets = {};
    seal(artifact);
    expect((await failure(load(memorySource(artifact.files)))).code).toBe("NO_DEVICE");
    expect((await failure(loadLanguageModel(memorySource(small.files)))).code).toBe("INVALID_INPUT");
  });

  it("names the bytes it could not allocate", async () => {
    class Memory {
      constructor() {
        throw new RangeError("could not allocate memory");
      }
    }
    const { Module, Instance, compile, instantiate } = WebAssembly;
    vi.stubGlobal("WebAssembly", { Module, Instance, compile, instantiate, Memory });
    try {
      const error = await failure(load(memorySource(small.files), one));
      expect(error.code).toBe("OUT_OF_MEMORY");
      expect(error.expected).toContain("65536 bytes");
      expect(error.received).toBe("could not allocate memory");
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it("loads unverified where there is no crypto.subtle, and says so", async () => {
    vi.stubGlobal("crypto", {});
    try {
      const onWarning = vi.fn();
      const model = await track(load(memorySource(small.files), { ...one, onWarning }));
      expect(onWarning).toHaveBeenCalledWith(expect.objectContaining({ code: "NOT_VERIFIED" }));
      expect(model.warnings).toHaveLength(1);
    } finally {
      vi.unstubAllGlobals();
    }
  });
});

describe("corruption", () => {
  const withFile = (artifact: FakeArtifact, path: string, bytes: Uint8Array<ArrayBuffer>) =>
    memorySource(new Map(artifact.files).set(path, bytes));
  const paths = fc.constantFrom("weights.safetensors", "kernels.wasm");

  property.prop([paths, fc.nat(), fc.integer({ min: 1, max: 255 })])(
    "of any byte is found, and its range named",
    async (path, position, change) => {
      const bytes = small.files.get(path)!.slice();
      bytes[position % bytes.length]! ^= change;
      const error = await failure(load(withFile(small, path, bytes), one));
      expect(error.code).toBe("CORRUPT_FILE");
      expect(error.location).toBe(`${path} bytes 0 to ${bytes.length - 1}`);
    },
  );

  it("names the chunk of a large file", async () => {
    for (const position of [0, CHUNK_BYTES - 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 100]) {
      const bytes = large.files.get("weights.safetensors")!.slice();
      bytes[position]! ^= 1;
      const start = Math.floor(position / CHUNK_BYTES) * CHUNK_BYTES;
      const end = Math.min(start + CHUNK_BYTES, bytes.length) - 1;
      const error = await failure(load(withFile(large, "weights.safetensors", bytes), one));
      expect(error.location).toBe(`weights.safetensors bytes ${start} to ${end}`);
    }
  });

  property.prop([paths, fc.nat(), fc.boolean(), fc.boolean()])(
    "of the length is found, and both lengths named",
    async (path, cut, longer, verify) => {
      const bytes = small.files.get(path)!;
      const wrong = longer
        ? Uint8Array.from([...bytes, ...new Uint8Array(1 + (cut % 100))])
        : bytes.slice(0, cut % bytes.length);
      const error = await failure(load(withFile(small, path, wrong), { ...one, verify }));
      expect(error.code).toBe("CORRUPT_FILE");
      expect(error.expected).toBe(`${bytes.length} bytes`);
      expect(error.received).toContain(`${wrong.length} bytes`);
    },
  );

  property.prop([fc.nat()])("of a folder's truncated file is found before it is read", async (cut) => {
    const bytes = small.files.get("weights.safetensors")!;
    const folder = await mkdtemp(join(tmpdir(), "bitloom-load-"));
    try {
      await writeArtifact(
        new Map(small.files).set("weights.safetensors", bytes.slice(0, cut % bytes.length)),
        folder,
      );
      const error = await failure(load(folder, one));
      expect(error).toMatchObject({ code: "CORRUPT_FILE", received: `${cut % bytes.length} bytes` });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  property.prop([fc.nat()])("of a truncated manifest is found", async (cut) => {
    const bytes = small.files.get("manifest.json")!;
    const error = await failure(
      load(withFile(small, "manifest.json", bytes.slice(0, cut % bytes.length)), one),
    );
    expect(error.code).toBe("INVALID_MANIFEST");
  });
});

describe("aborting", () => {
  it("before the start, during every event, and while a source hangs", async () => {
    expect((await failure(load(memorySource(small.files), { signal: AbortSignal.abort("no") }))).cause).toBe(
      "no",
    );

    const events: ProgressEvent[] = [];
    await track(
      load(memorySource(large.files, 1_000_000), { threads: 2, onProgress: (e) => events.push(e) }),
    );
    for (let stop = 0; stop < events.length; stop++) {
      const controller = new AbortController();
      const source = memorySource(large.files, 1_000_000);
      let seen = 0;
      const onProgress = () => {
        if (seen++ === stop) controller.abort(new Error("enough"));
      };
      const error = await failure(load(source, { threads: 2, signal: controller.signal, onProgress }));
      expect(error.code).toBe("ABORTED");
      expect(source.streaming.size, `after event ${stop}`).toBe(0);
    }
  });

  it.each(["open", "read"])("does not wait for a hanging %s", async (where) => {
    const controller = new AbortController();
    const source = memorySource(small.files);
    const cancel = vi.fn();
    const promise = load(
      {
        open: async (path, options) => {
          if (path !== "weights.safetensors") return source.open(path, options);
          setTimeout(() => controller.abort(), 5);
          return where === "open" ? new Promise(() => {}) : { stream: new ReadableStream({ cancel }) };
        },
      },
      { ...one, signal: controller.signal },
    );
    expect((await failure(promise)).code).toBe("ABORTED");
    if (where === "read") expect(cancel).toHaveBeenCalled();
  });
});

describe("memory", () => {
  it("stays bounded while weights stream", async () => {
    const bytes = 40 * 1024 * 1024;
    const artifact = await fakeArtifact({ weightsBytes: bytes });
    const folder = await mkdtemp(join(tmpdir(), "bitloom-load-"));
    try {
      await writeArtifact(artifact.files, folder);
      artifact.files.clear();
      // Node does not count WebAssembly memory here: this is what loading takes beside the device.
      await collectGarbage();
      const before = process.memoryUsage().arrayBuffers;
      let peak = 0;
      const onProgress = () => {
        peak = Math.max(peak, process.memoryUsage().arrayBuffers - before);
      };
      const model = await track(load(folder, { ...one, onProgress }));
      expect(await checksumOf(model)).toBe(artifact.checksum);
      // The measure sees at least a chunk's buffer.
      expect(peak).toBeGreaterThan(CHUNK_BYTES);
      // Two chunks, a copy of one while it is hashed, and the read buffer.
      expect(peak).toBeLessThan(4 * CHUNK_BYTES);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
