/**
 * Speed of the ternary matrix multiplication on one thread: `npx jiti bench/ternary-matmul.ts`.
 * With one row every pass streams copies of the weights that no cache holds, as decoding does; the bytes per
 * second of codes are a share of a plain read of the same memory in the same run.
 */
import { convert, intrinsic, local } from "../codegen/kernel/build.ts";
import { hasRelaxedSimd, inline, KernelHost } from "../test/support/kernel-host.ts";
import { padTo } from "../test/support/pack.ts";
import { cells, fastest, plainRead } from "./measure.ts";

const shapes = [
  [2560, 2560],
  [3840, 2560],
  [13824, 2560],
  [2560, 6912],
] as const;
const streamedBytes = 160 * 2 ** 20;

const host = new KernelHost(200);
const read = await plainRead(host.memory);
const position = [
  ["row", "i32"],
  ["column", "i32"],
] as const;
const epilogues = {
  epilogue: inline([["acc", "i32"], ...position], convert("f32", local("acc", "i32"))),
  epilogue4: inline([["acc", "v128"], ...position], intrinsic("f32x4.convertI32x4S", [local("acc", "v128")])),
};

console.log(`node ${process.version}`);
console.log(cells("SIMD", "rows", "n x k", "GMAC/s", "codes GB/s", "plain GB/s", "share"));
for (const relaxed of hasRelaxedSimd() ? [false, true] : [false]) {
  for (const rows of [1, 64]) {
    const tileRows = rows === 1 ? 1 : 4;
    const options = { relaxed, symmetric: true, grouped: false, tileRows, vector: true, ...epilogues };
    const kernel = await host.compile("ternary-matmul.ts", "ternaryMatmul", options);
    for (const [n, k] of shapes) {
      host.reset();
      const bytes = (n * k) / 4;
      const copies = rows === 1 ? Math.floor(streamedBytes / bytes) : 2;
      const codes = host.place(new Uint8Array(bytes * copies).fill(0b01100100));
      const given = {
        activations: host.place(new Int8Array(rows * padTo(k, 64) + 64).fill(3)),
        sums: host.place(new Int32Array(rows).fill(3 * k)),
        out: host.place(new Float32Array(rows * n)),
        scratch: host.place(new Int16Array(tileRows * padTo(k, 64))),
        ...{ m: rows, n, k, begin: 0, end: n / 4 },
      };
      const pass = () => {
        for (let copy = 0; copy < copies; copy++) kernel({ ...given, codes: codes.address + copy * bytes });
      };
      pass();
      const plain =
        (bytes * copies) / fastest(() => read(codes.address, codes.address + bytes * copies)) / 1e6;
      const time = fastest(pass);
      const rate = (bytes * copies) / time / 1e6;
      const speed = (n * k * rows * copies) / time / 1e6;
      const shares = rows === 1 ? [rate, plain, rate / plain] : [];
      console.log(cells(relaxed ? "relaxed" : "baseline", String(rows), `${n} x ${k}`, speed, ...shares));
    }
  }
}
