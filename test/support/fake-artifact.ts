import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  CHUNK_BYTES,
  FORMAT_VERSION,
  type Manifest,
  TENSOR_ALIGNMENT,
  WASM_CONTROL_BYTES,
} from "../../runtime/manifest.ts";
import type { ArtifactSource } from "../../runtime/source.ts";
import { fakeCubin, fakeCudaSources, fakeCudaTarget } from "./cuda/fake-target.ts";
import { type FakeTensors, fakeWebgpuFiles, fakeWebgpuTarget } from "./fake-webgpu.ts";

/**
 * An artifact written by hand, so that the runtime is tested apart from the compiler. Its entries:
 * - `run`: y = 2 x for x f32[batch, 4]; checksum i32[1] of the weights; participants i32[1], the threads that
 *   took part in the call;
 * - `prefill` and `decode` of a language model whose logits depend on every token so far and its position, and are
 *   equal now and then.
 */
export interface FakeArtifact {
  readonly manifest: Manifest;
  readonly files: Map<string, Uint8Array<ArrayBuffer>>;
  readonly checksum: number;
  /** The logits after the last of `tokens`. */
  logits(tokens: readonly number[]): Float32Array;
}

export interface FakeArtifactOptions {
  readonly weightsBytes?: number;
  readonly languageModel?: boolean;
  readonly vocabularySize?: number;
  readonly contextLength?: number;
  readonly chunkLength?: number;
  /** How many of the largest logits it gives. */
  readonly candidates?: number;
  /** What it is built for; WebAssembly alone if absent. */
  readonly targets?: readonly ("wasm" | "webgpu" | "cuda")[];
  /** Of the target cuda: all its kernels compiled, for compute capability 9.0. */
  readonly cubin?: Uint8Array<ArrayBuffer>;
  /** Further files: a tokenizer, say. */
  readonly extra?: Readonly<Record<string, string>>;
}

const HEADER_BYTES = 40;
const MAX_BATCH = 3;
const MAX_THREADS = 8;
const SCRATCH_BYTES = 16;

export const sha256Chunks = (bytes: Uint8Array): string[] =>
  Array.from({ length: Math.max(1, Math.ceil(bytes.length / CHUNK_BYTES)) }, (_, index) =>
    createHash("sha256")
      .update(bytes.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES))
      .digest("hex"),
  );

const align = (bytes: number) => Math.ceil(bytes / TENSOR_ALIGNMENT) * TENSOR_ALIGNMENT;

export async function fakeArtifact(options: FakeArtifactOptions = {}): Promise<FakeArtifact> {
  const { weightsBytes = 1000, vocabularySize = 32, contextLength = 24, chunkLength = 4 } = options;
  const { candidates = Math.min(6, vocabularySize) } = options;
  const { languageModel = false, targets = ["wasm"] } = options;

  let next = 0;
  const place = (bytes: number) => {
    const offset = next;
    next = align(next + bytes);
    return offset;
  };
  const tensor = (name: string, dtype: "f32" | "i32", dims: (number | string)[], count: number) => ({
    name,
    dtype,
    dims,
    offset: place(4 * count),
    bytes: 4 * count,
  });
  const x = tensor("x", "f32", ["batch", 4], MAX_BATCH * 4);
  const y = tensor("y", "f32", ["batch", 4], MAX_BATCH * 4);
  const checksum = tensor("checksum", "i32", [1], 1);
  const participants = tensor("participants", "i32", [1], 1);
  const tokens = tensor("tokens", "i32", ["batch", "seq"], chunkLength);
  const positions = tensor("positions", "i32", ["batch"], 1);
  const slots = tensor("slots", "i32", ["batch"], 1);
  const logits = tensor("logits", "f32", ["batch", 1, vocabularySize], vocabularySize);
  const bestLogit = tensor("bestLogit", "f32", ["batch", 1, 1], 1);
  const bestToken = tensor("bestToken", "i32", ["batch", 1, 1], 1);
  const topLogits = tensor("topLogits", "f32", ["batch", 1, candidates], candidates);
  const topTokens = tensor("topTokens", "i32", ["batch", 1, candidates], candidates);
  const regions = { io: next, state: 4 * contextLength };

  next = 0;
  const memory = {
    symbols: place(8),
    control: place(WASM_CONTROL_BYTES),
    scratch: place(SCRATCH_BYTES * MAX_THREADS),
    scratchBytes: SCRATCH_BYTES,
    io: place(regions.io),
    arena: next,
    state: place(regions.state),
    weights: place(weightsBytes),
    totalBytes: next,
    maxThreads: MAX_THREADS,
  };

  const weights = new Uint8Array(HEADER_BYTES + weightsBytes);
  for (let i = 0; i < weights.length; i++) weights[i] = Math.imul(i, 0x9e3779b1) >>> 24;
  const at = (slot: { offset: number }) => memory.io + slot.offset;
  const module = (shared: boolean) =>
    assemble(`(module
  (import "env" "memory" (memory ${Math.ceil(memory.totalBytes / 65_536)} ${Math.ceil(memory.totalBytes / 65_536)} ${shared ? "shared" : ""}))
  (global $threads (mut i32) (i32.const 1))
  (func (export "setThreads") (param $threads i32) (global.set $threads (local.get $threads)))
  (func (export "setMayWait") (param $mayWait i32))
  (func (export "fail") (i32.store (i32.const ${memory.control + 12}) (i32.const 1)))
  ;; control: +0 generation, +4 stop, +8 workers done, +12 failed
  (func (export "stop")
    (i32.store (i32.const ${memory.control + 4}) (i32.const 1))
    (call $wake))
  (func $wake
    ${
      shared
        ? `(drop (i32.atomic.rmw.add (i32.const ${memory.control}) (i32.const 1)))
    (drop (memory.atomic.notify (i32.const ${memory.control}) (i32.const -1)))`
        : ""
    })
  ${
    shared
      ? `(func (export "work") (param $thread i32) (local $generation i32)
    (loop $next
      (drop (memory.atomic.wait32 (i32.const ${memory.control}) (local.get $generation) (i64.const -1)))
      (br_if $next (i32.eq (local.get $generation) (i32.atomic.load (i32.const ${memory.control}))))
      (local.set $generation (i32.atomic.load (i32.const ${memory.control})))
      (if (i32.load (i32.const ${memory.control + 4})) (then (return)))
      (i32.store (i32.add (i32.const ${memory.scratch}) (i32.mul (local.get $thread) (i32.const ${SCRATCH_BYTES})))
        (local.get $generation))
      (drop (i32.atomic.rmw.add (i32.const ${memory.control + 8}) (i32.const 1)))
      (br $next)))`
      : ""
  }
  (func $gather (local $thread i32) (local $count i32) (local $spins i32)
    ${
      shared
        ? `(i32.atomic.store (i32.const ${memory.control + 8}) (i32.const 0))
    (call $wake)
    (loop $wait
      ;; Seconds: a worker that is gone fails the test, which must not hang.
      (local.set $spins (i32.add (local.get $spins) (i32.const 1)))
      (if (i32.lt_s (local.get $spins) (i32.const 0)) (then (unreachable)))
      (br_if $wait (i32.ne (i32.atomic.load (i32.const ${memory.control + 8}))
        (i32.sub (global.get $threads) (i32.const 1)))))
    (local.set $thread (i32.const 1))
    (loop $each
      (if (i32.lt_u (local.get $thread) (global.get $threads)) (then
        (local.set $count (i32.add (local.get $count) (i32.eq
          (i32.load (i32.add (i32.const ${memory.scratch}) (i32.mul (local.get $thread) (i32.const ${SCRATCH_BYTES}))))
          (i32.load (i32.const ${memory.control})))))
        (local.set $thread (i32.add (local.get $thread) (i32.const 1)))
        (br $each))))`
        : ""
    }
    (i32.store (i32.const ${at(participants)}) (i32.add (local.get $count) (i32.const 1))))
  (func $double (local $i i32) (local $sum i32)
    (loop $each
      (f32.store (i32.add (i32.const ${at(y)}) (local.get $i))
        (f32.mul (f32.const 2) (f32.load (i32.add (i32.const ${at(x)}) (local.get $i)))))
      (local.set $i (i32.add (local.get $i) (i32.const 4)))
      (br_if $each (i32.lt_u (local.get $i) (i32.mul (i32.const 16) (i32.load (i32.const ${memory.symbols}))))))
    (local.set $i (i32.const 0))
    (loop $each
      (if (i32.lt_u (local.get $i) (i32.const ${weightsBytes})) (then
        (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31))
          (i32.load8_u (i32.add (i32.const ${memory.weights}) (local.get $i)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $each))))
    (i32.store (i32.const ${at(checksum)}) (local.get $sum))
    (call $gather))
  (func $predict (param $seq i32) (local $i i32) (local $end i32) (local $h i32)
    ;; cache the tokens at their positions
    (loop $each
      (i32.store
        (i32.add (i32.const ${memory.state}) (i32.shl (i32.add (local.get $i) (i32.load (i32.const ${at(positions)}))) (i32.const 2)))
        (i32.load (i32.add (i32.const ${at(tokens)}) (i32.shl (local.get $i) (i32.const 2)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $each (i32.lt_u (local.get $i) (local.get $seq))))
    (local.set $end (i32.add (i32.load (i32.const ${at(positions)})) (local.get $seq)))
    (local.set $i (i32.const 0))
    (loop $each
      (local.set $h (i32.add (i32.mul (local.get $h) (i32.const 31)) (i32.add (i32.const 1)
        (i32.load (i32.add (i32.const ${memory.state}) (i32.shl (local.get $i) (i32.const 2)))))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $each (i32.lt_u (local.get $i) (local.get $end))))
    (local.set $i (i32.const 0))
    (loop $each
      (f32.store (i32.add (i32.const ${at(logits)}) (i32.shl (local.get $i) (i32.const 2)))
        (f32.convert_i32_u (i32.shr_u (i32.mul (local.get $h) (i32.add (local.get $i) (i32.const 7))) (i32.const 22))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $each (i32.lt_u (local.get $i) (i32.const ${vocabularySize}))))
    (call $choose))
  ;; The largest logits, each the largest below the one before, the first of equals.
  (func $choose (local $i i32) (local $rank i32) (local $best i32) (local $last i32)
    (local $x f32) (local $most f32) (local $limit f32)
    (local.set $limit (f32.const inf))
    (local.set $last (i32.const -1))
    (loop $ranks
      (local.set $most (f32.const -inf))
      (local.set $i (i32.const 0))
      (loop $each
        (local.set $x (f32.load (i32.add (i32.const ${at(logits)}) (i32.shl (local.get $i) (i32.const 2)))))
        (if (i32.and (f32.gt (local.get $x) (local.get $most))
              (i32.or (f32.lt (local.get $x) (local.get $limit))
                (i32.and (f32.eq (local.get $x) (local.get $limit)) (i32.gt_s (local.get $i) (local.get $last)))))
          (then (local.set $most (local.get $x)) (local.set $best (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $each (i32.lt_u (local.get $i) (i32.const ${vocabularySize}))))
      (f32.store (i32.add (i32.const ${at(topLogits)}) (i32.shl (local.get $rank) (i32.const 2))) (local.get $most))
      (i32.store (i32.add (i32.const ${at(topTokens)}) (i32.shl (local.get $rank) (i32.const 2))) (local.get $best))
      (local.set $limit (local.get $most))
      (local.set $last (local.get $best))
      (local.set $rank (i32.add (local.get $rank) (i32.const 1)))
      (br_if $ranks (i32.lt_u (local.get $rank) (i32.const ${candidates}))))
    (f32.store (i32.const ${at(bestLogit)}) (f32.load (i32.const ${at(topLogits)})))
    (i32.store (i32.const ${at(bestToken)}) (i32.load (i32.const ${at(topTokens)}))))
  (func (export "run") (param $entry i32)
    (if (i32.load (i32.const ${memory.control + 12})) (then (unreachable)))
    (if (i32.eqz (local.get $entry)) (then (call $double) (return)))
    (if (i32.eq (local.get $entry) (i32.const 1)) (then (call $predict (i32.load (i32.const ${memory.symbols + 4}))) (return)))
    (if (i32.eq (local.get $entry) (i32.const 2)) (then (call $predict (i32.const 1)) (return)))
    unreachable))`);

  const files = new Map<string, Uint8Array<ArrayBuffer>>([
    ["kernels.wasm", await module(false)],
    ["kernels.shared.wasm", await module(true)],
    ["weights.safetensors", weights],
    ...(targets.includes("webgpu") ? fakeWebgpuFiles() : []),
    ...(targets.includes("cuda") ? fakeCudaSources() : []),
    ...(options.cubin === undefined ? [] : [[fakeCubin, options.cubin] as const]),
    ...Object.entries(options.extra ?? {}).map(
      ([path, text]) => [path, new TextEncoder().encode(text)] as const,
    ),
  ]);
  const tensors: FakeTensors = {
    x,
    y,
    checksum,
    participants,
    tokens,
    positions,
    logits,
    bestLogit,
    bestToken,
    topLogits,
    topTokens,
    candidates,
    weightsBytes,
    vocabularySize,
    contextLength,
    languageModel,
  };
  const language = {
    inputs: [tokens, positions, slots],
    outputs: [logits, bestLogit, bestToken, topLogits, topTokens],
  };
  const manifest: Manifest = {
    format: "bitloom",
    formatVersion: FORMAT_VERSION,
    generator: "fake",
    name: "fake",
    files: [...files].map(([path, bytes]) => ({ path, bytes: bytes.length, sha256: sha256Chunks(bytes) })),
    weights: {
      bytes: weightsBytes,
      shards: [
        { path: "weights.safetensors", dataOffset: HEADER_BYTES, bytes: weightsBytes, regionOffset: 0 },
      ],
    },
    regions,
    // What the language model has seen, by position.
    states: [{ name: "seen", dtype: "i32", dims: [contextLength], offset: 0, bytes: regions.state }],
    entries: {
      run: {
        inputs: [x],
        outputs: [y, checksum, participants],
        symbols: { batch: MAX_BATCH },
      },
      ...(languageModel
        ? {
            prefill: { ...language, symbols: { batch: 1, seq: chunkLength } },
            decode: {
              ...language,
              inputs: [{ ...tokens, dims: ["batch", 1] }, positions, slots],
              symbols: { batch: 1 },
            },
          }
        : {}),
    },
    targets: {
      ...(targets.includes("wasm") && {
        wasm: {
          modules: {
            baseline: "kernels.wasm",
            relaxed: "kernels.wasm",
            baselineShared: "kernels.shared.wasm",
            relaxedShared: "kernels.shared.wasm",
          },
          memory,
          symbolOrder: ["batch", "seq"],
          arena: 0,
          kernels: [{ name: "double", source: "kernels/double.wat", template: "elementwise" }],
          plans: {
            run: [
              {
                kernel: "double",
                arguments: [{ kind: "buffer", region: "io", offset: ["mul", "batch", 16] }],
                range: ["ceildiv", "batch", 4],
                guard: { value: "batch", lower: 1, upper: 3 },
                label: "double",
              },
            ],
            ...(languageModel ? { prefill: [], decode: [] } : {}),
          },
        },
      }),
      ...(targets.includes("webgpu") && {
        webgpu: fakeWebgpuTarget(tensors),
      }),
      ...(targets.includes("cuda") && { cuda: fakeCudaTarget(tensors, options.cubin !== undefined) }),
    },
    ...(languageModel
      ? {
          languageModel: {
            vocabularySize,
            contextLength,
            chunkLength,
            slots: 1,
            candidates,
            bosToken: 0,
            stopTokens: [],
          },
        }
      : {}),
  };
  seal({ files, manifest });
  return {
    manifest,
    files,
    checksum: checksumOf(weights.subarray(HEADER_BYTES)),
    logits: (sequence) => {
      const h = sequence.reduce((hash, token) => (Math.imul(hash, 31) + token + 1) | 0, 0);
      return Float32Array.from({ length: vocabularySize }, (_, v) => Math.imul(h, v + 7) >>> 22);
    },
  };
}

function checksumOf(weights: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) sum = (Math.imul(sum, 31) + weights[i]!) | 0;
  return sum;
}

/** Writes the manifest anew after it has been changed. */
export function seal({ files, manifest }: Pick<FakeArtifact, "files" | "manifest">): void {
  files.set("manifest.json", new TextEncoder().encode(JSON.stringify(manifest)));
}

async function assemble(wat: string): Promise<Uint8Array<ArrayBuffer>> {
  const { default: wabt } = await import("wabt");
  const parsed = (await wabt()).parseWat("fake.wat", wat, { threads: true });
  const { buffer } = parsed.toBinary({});
  parsed.destroy();
  return new Uint8Array(buffer);
}

/** The artifact's files from memory, in pieces of at most `pieceBytes`. */
export function memorySource(
  files: ReadonlyMap<string, Uint8Array>,
  pieceBytes = 64 * 1024,
): ArtifactSource & { readonly opened: string[]; readonly streaming: Set<string> } {
  const opened: string[] = [];
  const streaming = new Set<string>();
  return {
    opened,
    /** Files whose stream has neither ended nor been cancelled. */
    streaming,
    async open(path) {
      opened.push(path);
      const bytes = files.get(path);
      if (bytes === undefined) throw new Error(`no ${path}`);
      streaming.add(path);
      let offset = 0;
      return {
        stream: new ReadableStream({
          pull(controller) {
            if (offset >= bytes.length) {
              streaming.delete(path);
              return controller.close();
            }
            controller.enqueue(bytes.slice(offset, offset + pieceBytes));
            offset += pieceBytes;
          },
          cancel() {
            streaming.delete(path);
          },
        }),
      };
    },
  };
}

export async function writeArtifact(files: ReadonlyMap<string, Uint8Array>, folder: string): Promise<void> {
  for (const [path, bytes] of files) {
    const file = join(folder, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, bytes);
  }
}
