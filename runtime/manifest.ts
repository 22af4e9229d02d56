// The whole namespace: bundlers keep all of the object `z`, with error messages in fifty languages.
import * as z from "zod/mini";

/** Bump when an older runtime could misread a newer artifact. */
export const FORMAT_VERSION = 3;

/** Bytes covered by one sha256 of a file, so that corruption is found, and named, while streaming. */
export const CHUNK_BYTES = 4 * 1024 * 1024;

/** Bytes at `memory.control` where the threads of a WebAssembly driver meet. */
export const WASM_CONTROL_BYTES = 256;
export const WASM_MAX_THREADS = 255;
/** Threads that a build has room for where it is not told. */
export const DEFAULT_MAX_THREADS = 32;

const count = z.int().check(z.minimum(0));
const positive = z.int().check(z.minimum(1));
const dtype = z.enum(["f32", "f16", "bf16", "i8", "u8", "i32", "u32"]);
const dim = z.union([count, z.string()]);
const sha256 = z.string().check(z.regex(/^[0-9a-f]{64}$/));

/** A file inside the artifact: no scheme, no leading slash and no `..`, so that nothing outside it can be named. */
export const artifactPath = z
  .string()
  .check(z.maxLength(255), z.regex(/^(?!.*(?:^|\/)\.{1,2}(?:\/|$))[\w.-]+(?:\/[\w.-]+)*$/));

/** Names of symbols and entries: what a JavaScript object may safely have as keys, in order of insertion. */
const identifier = z.string().check(z.regex(/^[A-Za-z][\w.-]{0,63}$/));

/** A count computed from symbols when an entry is called: `["ceildiv", "seq", 4]`. */
export type SymbolExpr =
  | number
  | string
  | readonly ["add" | "mul" | "max" | "min" | "ceildiv", SymbolExpr, SymbolExpr];
export const symbolExpr: z.ZodMiniType<SymbolExpr> = z.lazy(() =>
  z.union([
    z.int(),
    z.string(),
    z.readonly(z.tuple([z.enum(["add", "mul", "max", "min", "ceildiv"]), symbolExpr, symbolExpr])),
  ]),
);

/** One file of the artifact; hashes cover successive `CHUNK_BYTES` pieces. */
const file = z.object({ path: artifactPath, bytes: count, sha256: z.array(sha256) });

/**
 * Every tensor starts at a multiple of this many bytes of its region: what WebGPU asks of a binding, and more
 * than any vector load asks of an address.
 */
export const TENSOR_ALIGNMENT = 256;

/**
 * A tensor's place in a region of device memory. `weights` is laid out as in weights.safetensors (one copy,
 * in file order); `state` is zeroed at load and kept between calls; `arena` is reused between steps; `io`
 * holds inputs and outputs. Targets agree on all but the arena.
 */
const region = z.enum(["io", "arena", "state", "weights"]);

const tensor = z.object({
  name: z.string(),
  dtype,
  dims: z.array(dim),
  /** Byte offset in the `io` region. */
  offset: count,
  /** Capacity in bytes with every symbol at its maximum. */
  bytes: count,
});

const argument = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("buffer"),
    region,
    offset: symbolExpr,
    /** How far the kernel reads or writes from there, in bytes; targets that bind buffers need it. */
    bytes: z.optional(symbolExpr),
  }),
  z.object({ kind: z.literal("i32"), value: symbolExpr }),
  z.object({ kind: z.literal("f32"), value: z.number() }),
  /** The running thread's private scratch memory. */
  z.object({ kind: z.literal("scratch") }),
]);

const step = z.object({
  /** Name of a kernel of the target. */
  kernel: z.string(),
  arguments: z.array(argument),
  /** Work items, of which each thread or invocation takes a share; workgroups of a kernel for workgroups. */
  range: symbolExpr,
  /** Workgroups along y of a kernel for workgroups, where `range` counts those along x; 1 if absent. */
  rangeY: z.optional(symbolExpr),
  /** Run only if lower <= value <= upper: how a plan chooses a GEMV for one row and a GEMM for many. */
  guard: z.optional(z.object({ value: symbolExpr, lower: count, upper: count })),
  /**
   * The outputs it is for: it need not run in a call that asks for none of them. Absent if every call needs it, because
   * what it computes is kept in a state.
   */
  serves: z.optional(z.array(z.string())),
  /** The graph op this step came from, for people. */
  label: z.string(),
});

const entry = z.object({
  inputs: z.array(tensor),
  outputs: z.array(tensor),
  /** Largest value of each symbol the entry was planned for. */
  symbols: z.record(identifier, positive),
  /** Smallest value of the symbols that may not be 1. */
  minimums: z.optional(z.record(identifier, positive)),
});

/** What a target does for each entry. */
const plans = z.record(identifier, z.array(step));

const languageModel = z.object({
  vocabularySize: positive,
  contextLength: positive,
  /** Tokens one `prefill` call takes at most. */
  chunkLength: positive,
  slots: positive,
  /** How many of the largest logits `prefill` and `decode` give as topLogits and topTokens. */
  candidates: positive,
  bosToken: z.nullable(z.int()),
  stopTokens: z.array(z.int()),
});

/** A small computation with a known answer, which the kernels of a device must give as the model is loaded. */
const check = z.object({
  name: identifier,
  /** Largest value of each symbol. */
  symbols: z.record(identifier, positive),
  /** All that it reads and what it observes lies in the `io` and `arena` regions. */
  steps: z.array(step),
  runs: z.array(
    z.object({
      symbols: z.record(identifier, positive),
      writes: z.array(
        z.object({
          /** Byte offset in the `io` region, and how many bytes are to be written. */
          offset: count,
          bytes: count,
          /** Where the file has the bytes, and how many, which are repeated as often as they fit. */
          data: count,
          stored: positive,
        }),
      ),
      reads: z.array(
        z.object({
          /** The kernel that has computed it. */
          kernel: z.string(),
          region,
          offset: count,
          bytes: positive,
          dtype,
          /** Where the file has the right answer, and how much, which is repeated as often as it fits; all if absent. */
          expected: count,
          stored: z.optional(positive),
          /** What is otherwise than repeated: byte offsets in the answer, and where the file has it. */
          patches: z.optional(z.array(z.object({ at: count, bytes: positive, data: count }))),
          /** f32 tolerances of as many equal parts of the answer. */
          tolerances: count,
          parts: positive,
        }),
      ),
    }),
  ),
});

/** Checks of every kernel of a target, and the file with their vectors. */
const selfCheck = z.object({ path: artifactPath, checks: z.array(check) });

const wasmTarget = z.object({
  /** Modules by variant; all compute the same bits. One that is made for one engine has no others' modules. */
  modules: z.partial(
    z.object({
      baseline: artifactPath,
      relaxed: artifactPath,
      baselineShared: artifactPath,
      relaxedShared: artifactPath,
    }),
  ),
  /** Byte address of each region in linear memory, and of the symbol table the driver reads. */
  memory: z.object({
    symbols: count,
    control: count,
    /** Per-thread scratch: base address, bytes per thread. */
    scratch: count,
    scratchBytes: count,
    io: count,
    arena: count,
    state: count,
    weights: count,
    totalBytes: count,
    maxThreads: positive,
  }),
  /**
   * Order in which symbol values (i32) are stored at `memory.symbols`; behind them the outputs that a call asks for, as
   * `outputBits` has them.
   */
  symbolOrder: z.array(identifier),
  /** Bytes of the `arena` region. */
  arena: count,
  kernels: z.array(z.object({ name: z.string(), source: artifactPath, template: z.string() })),
  /** In the order in which the modules number the entries. */
  plans,
  /** The modules number its checks after the entries. */
  selfCheck: z.optional(selfCheck),
});

/** Four bytes that a GPU kernel is given: a scalar argument of the step (a bool is 0 or 1), or the step's range, i32. */
const scalarField = z.object({
  kind: z.literal("scalar"),
  parameter: z.string(),
  type: z.enum(["i32", "u32", "f32", "bool"]),
});
const rangeField = z.object({ kind: z.literal("range") });

const webgpuKernel = z.object({
  name: z.string(),
  template: z.string(),
  /** What a step's arguments are, in their order. */
  parameters: z.array(z.string()),
  /** Whether a step's range counts workgroups, or items of which each invocation takes one. */
  kind: z.enum(["workgroup", "range"]),
  /** The device takes the first that it meets the requirements of; the last requires nothing. */
  variants: z
    .array(
      z.object({
        requires: z.array(z.enum(["subgroups", "packedDot"])),
        /** A WGSL module with one entry point. */
        source: artifactPath,
        workgroupSize: positive,
        /** Storage buffers of group 0, numbered in this order. */
        bindings: z.array(
          z.object({
            parameter: z.string(),
            access: z.enum(["read", "read-write"]),
            /** Bytes of an element of the array. */
            element: positive,
          }),
        ),
        /** Fields of four bytes of the block that is bound after the buffers, if there are any. */
        uniforms: z.array(
          z.discriminatedUnion("kind", [
            scalarField,
            /** The element of its binding at which a buffer starts, i32. */
            z.object({ kind: z.literal("offset"), parameter: z.string() }),
            rangeField,
          ]),
        ),
      }),
    )
    .check(z.minLength(1)),
});

const borders = z.array(count);

const webgpuTarget = z.object({
  /** Bytes of the `arena` region. */
  arena: count,
  /**
   * Offsets at which each region's GPU buffers start, ascending from 0. No binding crosses from one into the
   * next, and no step binds a buffer that it writes a second time.
   */
  buffers: z.object({ io: borders, arena: borders, state: borders, weights: borders }),
  kernels: z.array(webgpuKernel),
  plans,
  selfCheck: z.optional(selfCheck),
});

const cudaKernel = z.object({
  name: z.string(),
  template: z.string(),
  /** What a step's arguments are, in their order. */
  parameters: z.array(z.string()),
  /** Whether a step's range counts blocks, or items of which each thread takes one. */
  kind: z.enum(["workgroup", "range"]),
  /** CUDA C of this kernel alone. All sources one after the other are one translation unit. */
  source: artifactPath,
  entryPoint: z.string().check(z.regex(/^[A-Za-z_]\w{0,254}$/)),
  /** Threads of a block. */
  blockSize: positive.check(z.maximum(1024)),
  /** Shared memory of a block in bytes, all of it static. */
  sharedBytes: count.check(z.maximum(48 * 1024)),
  /** What the entry point takes, in order: pointers and four-byte scalars. Parameters it does not use are left out. */
  launch: z.array(
    z.discriminatedUnion("kind", [
      z.object({
        kind: z.literal("buffer"),
        parameter: z.string(),
        /** Bytes of an element, to which the pointer is aligned. */
        element: positive,
      }),
      scalarField,
      rangeField,
    ]),
  ),
});

const cudaTarget = z.object({
  /** Bytes of the `arena` region. Each region is one piece of device memory. */
  arena: count,
  /** The least compute capability, 10 * major + minor. */
  computeCapability: positive,
  kernels: z.array(cudaKernel),
  /**
   * All kernels compiled: machine code for devices of this major and at least this minor compute capability, or
   * PTX, which drivers compile for devices of at least this one. None where the build had no compiler.
   */
  images: z.array(
    z.object({ kind: z.enum(["cubin", "ptx"]), computeCapability: positive, path: artifactPath }),
  ),
  plans,
  selfCheck: z.optional(selfCheck),
});

export const manifestSchema = z.object({
  format: z.literal("bitloom"),
  formatVersion: z.literal(FORMAT_VERSION),
  generator: z.string(),
  name: z.string(),
  files: z.array(file),
  /** Where the packed weights lie, in order; together they fill the `weights` region. */
  weights: z.object({
    bytes: count,
    shards: z.array(
      z.object({
        path: artifactPath,
        /** First byte of tensor data in the file (after the safetensors header). */
        dataOffset: count,
        bytes: count,
        /** Byte offset in the `weights` region. */
        regionOffset: count,
      }),
    ),
  }),
  regions: z.object({ io: count, state: count }),
  /** The states that have one shape in every call, which may be read and written by name; offsets in the `state` region. */
  states: z.optional(z.array(tensor)),
  entries: z.record(identifier, entry),
  targets: z.object({
    wasm: z.optional(wasmTarget),
    webgpu: z.optional(webgpuTarget),
    cuda: z.optional(cudaTarget),
  }),
  languageModel: z.optional(languageModel),
});

export type Manifest = z.infer<typeof manifestSchema>;
export type ArtifactFile = z.infer<typeof file>;
export type Entry = z.infer<typeof entry>;
export type Step = z.infer<typeof step>;
export type Argument = z.infer<typeof argument>;
export type TensorSlot = z.infer<typeof tensor>;
export type Region = z.infer<typeof region>;
export type Plans = z.infer<typeof plans>;
export type WasmTarget = z.infer<typeof wasmTarget>;
export type WebgpuTarget = z.infer<typeof webgpuTarget>;
export type WebgpuKernel = z.infer<typeof webgpuKernel>;
export type WebgpuVariant = WebgpuKernel["variants"][number];
export type CudaTarget = z.infer<typeof cudaTarget>;
export type CudaKernel = z.infer<typeof cudaKernel>;
export type CudaImage = CudaTarget["images"][number];
export type SelfCheck = z.infer<typeof selfCheck>;
export type Check = z.infer<typeof check>;
export type LanguageModel = z.infer<typeof languageModel>;
