/**
 * Speed of dense weights of every kind on one thread: `npx jiti bench/dense-matmul.ts`. The head of a
 * language model is such a product: with one row it streams its weights once a token.
 */
import { KernelHost, plainEpilogue } from "../test/support/kernel-host.ts";
import { cells, fastest, plainRead } from "./measure.ts";

const k = 2560;
const elementBytes = { f32: 4, f16: 2, bf16: 2, int8: 1, "int8 fixed": 1 } as const;
const streamedBytes = 128 * 2 ** 20;

const host = new KernelHost(200);
const read = await plainRead(host.memory);

console.log(`node ${process.version}, k = ${k}`);
console.log(cells("weights", "rows", "GMAC/s", "weights GB/s", "plain GB/s", "share"));
for (const [weight, size] of Object.entries(elementBytes)) {
  for (const rows of [1, 16]) {
    const tileRows = rows === 1 ? 1 : 4;
    const kernel =
      weight === "int8 fixed"
        ? await host.compile("int8-matmul.ts", "int8Matmul", plainEpilogue(true))
        : await host.compile("dense-matmul.ts", "denseMatmul", { weight, tileRows, ...plainEpilogue(true) });
    host.reset();
    const n = Math.floor(streamedBytes / k / size / rows / 4) * 4;
    const weights = host.place(new Uint8Array(n * k * size + 16));
    const given = {
      weights,
      scales: host.place(new Float32Array(n).fill(1)),
      x: host.place(new Float32Array(rows * k).fill(1)),
      out: host.place(new Float32Array(rows * n)),
      scratch: host.place(new Int16Array(2 * k)),
      ...{ m: rows, n, k, xStride: k, begin: 0, end: n / 4 },
    };
    kernel(given);
    const plain = (n * k * size) / fastest(() => read(weights.address, weights.address + n * k * size)) / 1e6;
    const time = fastest(() => kernel(given));
    const rate = (n * k * size) / time / 1e6;
    console.log(cells(weight, String(rows), (n * k * rows) / time / 1e6, rate, plain, rate / plain));
  }
}
