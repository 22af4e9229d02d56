/** What the engine can do, as far as the modules of an artifact differ. */
export interface WasmFeatures {
  readonly simd: boolean;
  /** Has the relaxed dot product, and computes it rightly. */
  readonly relaxedSimd: boolean;
  /** Has shared memory, and this context may use it. */
  readonly threads: boolean;
}

let cached: WasmFeatures | undefined;

/** Probes the engine once. */
export function wasmFeatures(): WasmFeatures {
  cached ??= { simd: runs(probe([])), relaxedSimd: runs(probe(RELAXED_DOT)), threads: sharesMemory() };
  return cached;
}

/** i32x4.relaxed_dot_i8x16_i7x16_add_s */
const RELAXED_DOT = [0xfd, 0x93, 0x02];

/**
 * A module whose `f` says whether a value computed at run time is the expected one. By value, since engines
 * have shipped a relaxed dot product that validates and computes something else (V8 11.3's baseline tier).
 * @param operation opcode bytes that take (a, b, c); without any, that SIMD runs is all that is asked
 */
function probe(operation: readonly number[]): Uint8Array<ArrayBuffer> {
  const a = Int8Array.of(-128, -128, -128, -128, 127, 127, 127, 127, -128, 127, -1, 5, 100, -100, 3, -7);
  const b = Int8Array.of(127, 127, 127, 127, 127, 127, 127, 127, 2, 1, 0, 2, 0, 1, 2, 2);
  const c = Int32Array.of(1, -2, 300_000, -400_000);
  const expected = c.map((sum, lane) => {
    for (let i = 4 * lane; i < 4 * lane + 4; i++) sum += a[i]! * b[i]!;
    return sum;
  });
  const constant = (vector: Int8Array | Int32Array) => [0xfd, 0x0c, ...new Uint8Array(vector.buffer)];
  const body = [
    0, // no locals
    ...(operation.length === 0
      ? constant(expected)
      : [...constant(a), ...constant(b), ...constant(c), ...operation]),
    ...constant(expected),
    ...[0xfd, 0x37], // i32x4.eq
    ...[0xfd, 0xa3, 0x01], // i32x4.all_true
    0x0b,
  ];
  const section = (id: number, ...bytes: number[]) => [id, bytes.length, ...bytes];
  return Uint8Array.of(
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, 1, 0x60, 0, 1, 0x7f), // type () -> i32
    ...section(3, 1, 0),
    ...section(7, 1, 1, 0x66, 0, 0), // export "f"
    ...section(10, 1, body.length, ...body),
  );
}

function runs(module: Uint8Array<ArrayBuffer>): boolean {
  try {
    const { f } = new WebAssembly.Instance(new WebAssembly.Module(module)).exports;
    return (f as () => number)() === 1;
  } catch {
    return false;
  }
}

function sharesMemory(): boolean {
  try {
    if (globalThis.crossOriginIsolated === false || typeof Atomics === "undefined") return false;
    const { buffer } = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    return buffer instanceof SharedArrayBuffer;
  } catch {
    return false;
  }
}
