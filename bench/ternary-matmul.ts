/**
 * Speed of the ternary matrix multiplication on one thread: `npx jiti bench/ternary-matmul.ts [filter]`.
 * Each shape streams enough copies of its weights that nothing stays in a cache, as in decoding, and the
 * bytes per second of the codes are compared with a plain read of the same memory in the same run.
 */
import { intrinsic, local } from "../codegen/kernel/build.ts";
import { assemble } from "../codegen/targets/wasm/assemble.ts";
import { hasRelaxedSimd, inline, KernelHost } from "../test/support/kernel-host.ts";
import { padTo } from "../test/support/pack.ts";

const shapes = [
  [2560, 2560],
  [3840, 2560],
  [13824, 2560],
  [2560, 6912],
] as const;
const streamed = 160 * 2 ** 20;

/** Milliseconds of the fastest of several runs. */
function best(action: () => void, runs = 5): number {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < runs; i++) {
    const start = performance.now();
    action();
    least = Math.min(least, performance.now() - start);
  }
  return least;
}

const plainRead = `(module (import "env" "memory" (memory 1))
  (func (export "read") (param $p i32) (param $end i32) (result i32) (local $a v128) (local $b v128)
    (loop $next
      (local.set $a (v128.xor (local.get $a) (v128.xor (v128.load (local.get $p)) (v128.load offset=16 (local.get $p)))))
      (local.set $b (v128.xor (local.get $b) (v128.xor (v128.load offset=32 (local.get $p)) (v128.load offset=48 (local.get $p)))))
      (local.set $p (i32.add (local.get $p) (i32.const 64)))
      (br_if $next (i32.lt_u (local.get $p) (local.get $end))))
    (i32x4.extract_lane 0 (v128.xor (local.get $a) (local.get $b)))))`;

const host = new KernelHost(200);
const { exports: reader } = new WebAssembly.Instance(
  new WebAssembly.Module(await assemble("read", plainRead)),
  { env: { memory: host.memory } },
);
const read = reader.read as (from: number, to: number) => number;

const position = [
  ["row", "i32"],
  ["column", "i32"],
] as const;
const epilogues = {
  epilogue: inline([["acc", "i32"], ...position], intrinsic("convert.i32ToF32", [local("acc", "i32")])),
  epilogue4: inline([["acc", "v128"], ...position], intrinsic("f32x4.convertI32x4S", [local("acc", "v128")])),
};

console.log(`node ${process.version}`);
console.log("SIMD      rows      n x k         GMAC/s   codes GB/s   of a plain read");
for (const relaxed of hasRelaxedSimd() ? [false, true] : [false]) {
  for (const rows of [1, 64]) {
    const tileRows = rows === 1 ? 1 : 4;
    const kernel = await host.compile("ternary-matmul.ts", "ternaryMatmul", {
      relaxed,
      grouped: false,
      tileRows,
      vector: true,
      ...epilogues,
    });
    for (const [n, k] of shapes) {
      host.reset();
      const bytes = (n * k) / 4;
      const copies = Math.max(1, Math.floor((rows === 1 ? streamed : bytes * 4) / bytes));
      const codes = host.place(new Uint8Array(bytes * copies));
      codes.data.fill(0b01100100);
      const given = {
        activations: host.place(new Int8Array(rows * padTo(k, 64) + 64).fill(3)),
        sums: host.place(new Int32Array(rows).fill(3 * k)),
        out: host.place(new Float32Array(rows * n)),
        scratch: host.place(new Int16Array(tileRows * padTo(k, 64))),
        m: rows,
        n,
        k,
        begin: 0,
        end: n / 4,
      };
      const pass = () => {
        for (let copy = 0; copy < copies; copy++) kernel({ ...given, codes: codes.address + copy * bytes });
      };
      pass();
      const plain = (bytes * copies) / best(() => read(codes.address, codes.address + bytes * copies)) / 1e6;
      const time = best(pass);
      const speed = (n * k * rows * copies) / time / 1e6;
      const rate = (bytes * copies) / time / 1e6;
      console.log(
        [
          (relaxed ? "relaxed" : "baseline").padEnd(8),
          String(rows).padStart(5),
          `${n} x ${k}`.padStart(14),
          speed.toFixed(1).padStart(11),
          rate.toFixed(1).padStart(11),
          rows === 1 ? `${(rate / plain).toFixed(2)} of ${plain.toFixed(1)}`.padStart(16) : "",
        ].join(" "),
      );
    }
  }
}
