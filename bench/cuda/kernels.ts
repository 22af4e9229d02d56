/**
 * Copying, and the products of 2B-4T's shapes: one row, as decoding has it, and many. Weights rotate among copies that
 * no cache holds together, and results are checked against the interpreter. `kernels.js [--small]`.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { loadTemplate, specialize } from "../../codegen/kernel/frontend.ts";
import { packageRoot } from "../../codegen/kernel/template-path.ts";
import { renderCuda } from "../../codegen/targets/cuda/render.ts";
import { interpret } from "../../ir/interpret.ts";
import { encodedTensor, tensor } from "../../ir/tensor.ts";
import { parseGraph } from "../../ir/text/parse.ts";
import { encoded } from "../../ir/types.ts";
import type { Launch } from "../../runtime/devices/cuda/addon.ts";
import { type CudaMachine, findMachine } from "../../runtime/devices/cuda/machine.ts";
import { CardPlan } from "./card-plan.ts";
import { compileHere } from "./compile-here.ts";
import { report } from "./records.ts";
import { shapesOf } from "./shapes.ts";
import { type Effort, timeLaunches } from "./time-launches.ts";

const { values: options } = parseArgs({ options: { small: { type: "boolean", default: false } } });
const { copyBytes, gemv, gemm, rows, rotatedBytes } = shapesOf(options.small);
const effort: Effort = options.small ? { leastMs: 0, pairs: 1 } : { leastMs: 8, pairs: 15 };

const COPY_BLOCK = 256;
const COPY_TOGETHER = 4;

/** Bytes a second of a copy kernel, and what a launch costs that copies nothing. */
async function timeCopy(machine: CudaMachine): Promise<void> {
  const template = await loadTemplate(join(packageRoot(), "bench/cuda/kernels/copy.ts"), "copy");
  const kernel = specialize(template, {
    name: "copy",
    options: { workgroupSize: COPY_BLOCK, together: COPY_TOGETHER },
  });
  const { text, entryPoint, blockSize } = renderCuda(kernel);
  const session = await machine.open();
  try {
    const module = await session.addModule(await compileHere(machine, text));
    const number = session.addKernel(module, entryPoint, blockSize);
    await session.allocate([copyBytes, copyBytes]);
    const blocks = 16 * machine.cards[0]!.multiprocessors;
    const launch = (from: number, to: number, count: number): Launch => ({
      kernel: number,
      grid: [count === 0 ? 1 : blocks, 1],
      arguments: [{ region: from, offset: 0 }, { region: to, offset: 0 }, { i32: count }],
    });
    const count = copyBytes / 16;
    const copies = [launch(0, 1, count), launch(1, 0, count)];
    const microseconds = await timeLaunches(session, copies, effort);
    report({ kind: "copy", by: "bitloom's kernel", bytesPerSecond: (2e6 * copyBytes) / microseconds });
    report({ kind: "launch", microseconds: await timeLaunches(session, [launch(0, 1, 0)], effort) });
  } finally {
    await session.dispose();
  }
}

/** Random codes: bytes of four of 0, 1 and 2. */
function randomCodes(bytes: number): Uint8Array {
  const valid = Array.from({ length: 81 }, (_, i) =>
    [1, 3, 9, 27].reduce((byte, power, at) => byte | ((Math.floor(i / power) % 3) << (2 * at)), 0),
  );
  const codes = new Uint8Array(bytes);
  let state = 1;
  for (let i = 0; i < bytes; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    codes[i] = valid[(state >>> 8) % 81]!;
  }
  return codes;
}

/** A row of packed codes as weights; the layout is that of docs/architecture.md, without padding. */
function weightsOfRow(packed: Uint8Array, row: number, k: number): Int8Array {
  const blocks = k / 64;
  return Int8Array.from({ length: k }, (_, i) => {
    const byte = packed[((row >> 2) * blocks + (i >> 6)) * 64 + (row & 3) * 16 + (i & 15)]!;
    return ((byte >> (2 * ((i & 63) >> 4))) & 3) - 1;
  });
}

function productGraph(rows: number, n: number, k: number, copies: number) {
  const weights = Array.from({ length: copies }, (_, i) => i);
  return parseGraph(`graph @products(batch <= ${rows}) {
    %x: input f32[batch, ${k}]
    ${weights.map((i) => `%w${i}: parameter "w${i}" f32[${n}, ${k}] ternary(row)`).join("\n")}
    %q: i8[batch, ${k}], %d: f32[batch, 1], %s: i32[batch, 1] = quantize(%x) {bits = 8, granularity = "row"}
    ${weights.map((i) => `%y${i}: f32[batch, ${n}] = ternary_matmul(%q, %s, %w${i}, %d) {epilogue = mul(to_f32(acc), x0)}`).join("\n")}
    return ${weights.map((i) => `y${i} = %y${i}`).join(", ")}
  }`);
}

/** Rows and columns that are checked: the first and last, and some between. */
const some = (count: number) => [
  ...new Set([0, 1, 5, 64, 129, count - 1].map((i) => Math.min(i, count - 1))),
];

async function timeProducts(
  machine: CudaMachine,
  n: number,
  k: number,
  copies: number,
  rowCounts: readonly number[],
): Promise<void> {
  const most = Math.max(...rowCounts);
  const card = await CardPlan.load(productGraph(most, n, k, copies), machine);
  try {
    const x = Float32Array.from({ length: most * k }, (_, i) => ((i * 7919) % 255) - 127);
    const bytes = (n * k) / 4;
    // Each copy is a part of the same random bytes, from another place on.
    const pool = randomCodes(bytes + 4096 * copies);
    const packedOf = (copy: number) => pool.subarray(4096 * copy, 4096 * copy + bytes);
    const codes = card.plan.weights.filter(({ layout }) => layout === "ternary-codes");
    codes.forEach(({ offset }, copy) => {
      card.write("weights", offset, packedOf(copy));
    });
    const { inputs, outputs } = card.plan.entries.run!;
    card.write("io", inputs[0]!.offset, new Uint8Array(x.buffer));
    for (const count of rowCounts) {
      const reads = [0, copies - 1].map((copy) => {
        const { offset } = outputs.find(({ name }) => name === `y${copy}`)!;
        return { offset, bytes: 4 * count * n };
      });
      const results = await card.run(card.launches({ batch: count }), reads);
      [0, copies - 1].forEach((copy, i) => {
        check(x, count, packedOf(copy), n, k, new Float32Array(results[i]!));
      });
      const launches = card.launches({ batch: count }, /ternary/);
      if (launches.length !== copies) throw new Error(`${launches.length} launches for ${copies} products`);
      const microseconds = await timeLaunches(card.session, launches, effort);
      const bytesPerSecond = (1e6 * bytes) / microseconds;
      report({ kind: "ternary", rows: count, n, k, microseconds, bytesPerSecond });
    }
  } finally {
    await card.session.dispose();
  }
}

/** Fails unless some of the results have the interpreter's bits. */
function check(x: Float32Array, rows: number, packed: Uint8Array, n: number, k: number, y: Float32Array) {
  const [ms, ns] = [some(rows), some(n)];
  const codes = ns.flatMap((row) => Array.from(weightsOfRow(packed, row, k)));
  const type = { ...encoded([ns.length, k], { kind: "ternary", scale: "row" }), dims: [ns.length, k] };
  const w0 = encodedTensor(type, Int8Array.from(codes), new Float32Array(ns.length).fill(1));
  const given = ms.flatMap((row) => Array.from(x.subarray(row * k, (row + 1) * k)));
  const inputs = { x: tensor("f32", [ms.length, k], given) };
  const expected = interpret(productGraph(rows, ns.length, k, 1), { inputs, parameters: { w0 } }).outputs.y0!;
  ms.forEach((m, i) => {
    ns.forEach((column, j) => {
      const [received, wanted] = [y[m * n + column]!, expected.data[i * ns.length + j]!];
      if (Object.is(received, wanted)) return;
      throw new Error(
        `${rows} x ${n} x ${k}: element ${m}, ${column} is ${received} and should be ${wanted}`,
      );
    });
  });
}

const machine = await findMachine();
await timeCopy(machine);
for (const { n, k } of gemv) {
  await timeProducts(machine, n, k, Math.max(2, Math.ceil((4 * rotatedBytes) / (n * k))), [1]);
}
for (const { n, k } of gemm) await timeProducts(machine, n, k, 4, rows);
