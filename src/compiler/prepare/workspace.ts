import { loadTemplate, specialize } from "../../../codegen/kernel/frontend.ts";
import type { KernelFunction } from "../../../codegen/kernel/ir.ts";
import { templatePath } from "../../../codegen/kernel/template-path.ts";
import { assemble } from "../../../codegen/targets/wasm/assemble.ts";
import { renderKernelModule } from "../../../codegen/targets/wasm/functions.ts";
import { BitloomError } from "../../../errors/index.ts";
import type { FloatType } from "../../checkpoint/source.ts";

/** The build-time kernels; buffers are byte addresses. See templates/cpu for what each computes. */
export interface PrepareKernels {
  absmeanSums(weights: number, sums: number, k: number, groupSize: number, begin: number, end: number): void;
  groupMagnitudes(
    weights: number,
    magnitudes: number,
    k: number,
    groupSize: number,
    begin: number,
    end: number,
  ): void;
  packTernary(
    weights: number,
    alphas: number,
    codes: number,
    k: number,
    groupSize: number,
    alphaStride: number,
    firstRow: number,
    begin: number,
    end: number,
  ): void;
  repackTernary(
    packed: number,
    codes: number,
    invalid: number,
    k: number,
    shift: number,
    firstRow: number,
    begin: number,
    end: number,
  ): void;
  quantizeInt8(weights: number, codes: number, scales: number, k: number, begin: number, end: number): void;
  widenF16(from: number, to: number, begin: number, end: number): void;
  widenBf16(from: number, to: number, begin: number, end: number): void;
  narrowF16(from: number, to: number, begin: number, end: number): void;
  narrowBf16(from: number, to: number, begin: number, end: number): void;
  findNonFiniteF32(values: number, found: number, begin: number, end: number): void;
  findNonFiniteF16(values: number, found: number, begin: number, end: number): void;
  findNonFiniteBf16(values: number, found: number, begin: number, end: number): void;
}

interface Source {
  readonly file: string;
  readonly function: string;
  readonly options?: { readonly type: FloatType };
}

const sources: Readonly<Record<keyof PrepareKernels, Source>> = {
  absmeanSums: { file: "absmean", function: "absmeanSums" },
  groupMagnitudes: { file: "group-magnitudes", function: "groupMagnitudes" },
  packTernary: { file: "pack-ternary", function: "packTernary" },
  repackTernary: { file: "repack-ternary", function: "repackTernary" },
  quantizeInt8: { file: "quantize-int8", function: "quantizeInt8" },
  widenF16: { file: "convert-floats", function: "widenFloats", options: { type: "f16" } },
  widenBf16: { file: "convert-floats", function: "widenFloats", options: { type: "bf16" } },
  narrowF16: { file: "convert-floats", function: "narrowFloats", options: { type: "f16" } },
  narrowBf16: { file: "convert-floats", function: "narrowFloats", options: { type: "bf16" } },
  findNonFiniteF32: { file: "convert-floats", function: "findNonFinite", options: { type: "f32" } },
  findNonFiniteF16: { file: "convert-floats", function: "findNonFinite", options: { type: "f16" } },
  findNonFiniteBf16: { file: "convert-floats", function: "findNonFinite", options: { type: "bf16" } },
};

let compiled: Promise<WebAssembly.Module> | undefined;

async function compileKernels(): Promise<WebAssembly.Module> {
  const kernels: KernelFunction[] = [];
  for (const [name, { file, function: functionName, options }] of Object.entries(sources)) {
    const template = await loadTemplate(templatePath(`cpu/${file}.ts`), functionName);
    kernels.push(specialize(template, { name, ...(options && { options }) }));
  }
  return WebAssembly.compile(await assemble("prepare", renderKernelModule(kernels)));
}

const PAGE = 65_536;
const ALIGNMENT = 64;

/** The build-time kernels with the linear memory they work in. */
export class Workspace {
  readonly kernels: PrepareKernels;
  readonly #memory: WebAssembly.Memory;

  private constructor(kernels: PrepareKernels, memory: WebAssembly.Memory) {
    this.kernels = kernels;
    this.#memory = memory;
  }

  /** Compiles the kernels once a process; each workspace has memory of its own. Throws OUT_OF_MEMORY. */
  static async open(): Promise<Workspace> {
    compiled ??= compileKernels();
    const memory = allocate();
    const instance = await WebAssembly.instantiate(await compiled, { env: { memory } });
    return new Workspace(instance.exports as unknown as PrepareKernels, memory);
  }

  /**
   * Addresses of buffers of the given sizes in bytes. What an earlier call gave is given again, and views of
   * it may be detached. Throws OUT_OF_MEMORY.
   */
  reserve<const Sizes extends readonly number[]>(...sizes: Sizes): { -readonly [I in keyof Sizes]: number } {
    // Kernels take the lowest addresses for a control block, see the renderer's MAX_OFFSET.
    let end = PAGE;
    const addresses = sizes.map((bytes) => {
      const start = end;
      end += Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
      return start;
    });
    const missing = Math.ceil((end - this.#memory.buffer.byteLength) / PAGE);
    if (missing > 0) {
      try {
        this.#memory.grow(missing);
      } catch (cause) {
        throw outOfMemory(end, cause);
      }
    }
    return addresses as { -readonly [I in keyof Sizes]: number };
  }

  bytes(address: number, length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#memory.buffer, address, length);
  }

  f32(address: number, length: number): Float32Array<ArrayBuffer> {
    return new Float32Array(this.#memory.buffer, address, length);
  }

  f64(address: number, length: number): Float64Array<ArrayBuffer> {
    return new Float64Array(this.#memory.buffer, address, length);
  }

  i32(address: number, length: number): Int32Array<ArrayBuffer> {
    return new Int32Array(this.#memory.buffer, address, length);
  }

  /** Widens `count` floats at `from` to f32 at `to`, which has room for a multiple of 4. */
  widen(type: FloatType, from: number, to: number, count: number): void {
    const items = Math.ceil(count / 4);
    if (type === "f16") this.kernels.widenF16(from, to, 0, items);
    if (type === "bf16") this.kernels.widenBf16(from, to, 0, items);
  }

  /** Rounds `count` f32 at `from` to `type` at `to`; both have room for a multiple of 8. */
  narrow(type: FloatType, from: number, to: number, count: number): void {
    const items = Math.ceil(count / 8);
    if (type === "f16") this.kernels.narrowF16(from, to, 0, items);
    if (type === "bf16") this.kernels.narrowBf16(from, to, 0, items);
  }

  /** Whether some of `length` bytes of floats at `address` are not finite; `flag` is 4 bytes to use. */
  hasNonFinite(type: FloatType, address: number, length: number, flag: number): boolean {
    const items = Math.ceil(length / 16);
    this.bytes(address + length, items * 16 - length).fill(0);
    const found = this.i32(flag, 1);
    found[0] = 0;
    if (type === "f32") this.kernels.findNonFiniteF32(address, flag, 0, items);
    if (type === "f16") this.kernels.findNonFiniteF16(address, flag, 0, items);
    if (type === "bf16") this.kernels.findNonFiniteBf16(address, flag, 0, items);
    return found[0] !== 0;
  }
}

function allocate(): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: 1, maximum: PAGE });
  } catch (cause) {
    throw outOfMemory(PAGE, cause);
  }
}

function outOfMemory(bytes: number, cause: unknown): BitloomError {
  return new BitloomError("OUT_OF_MEMORY", "Not enough memory to pack weights", {
    expected: `${bytes} bytes`,
    received: (cause as Error).message,
    cause,
  });
}
