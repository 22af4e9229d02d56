import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, test } from "vitest";
import type { Plans, Step, WasmTarget } from "../../../runtime/manifest.ts";
import { add, buffer, f32, forRange, kernel, load, local, mul, store } from "../../kernel/build.ts";
import type { KernelFunction } from "../../kernel/ir.ts";
import { assemble } from "./assemble.ts";
import { renderModule } from "./module.ts";

const memory: WasmTarget["memory"] = {
  control: 1024,
  symbols: 2048,
  scratch: 4096,
  scratchBytes: 1024,
  io: 16384,
  arena: 32768,
  state: 49152,
  weights: 57344,
  totalBytes: 65536,
  maxThreads: 4,
};
const i = local("i", "i32");
const x = buffer("x", "f32");
const out = buffer("out", "f32", "write");
const begin = { kind: "scalar", name: "begin", type: "i32" } as const;
const end = { kind: "scalar", name: "end", type: "i32" } as const;
const overItems = (body: Parameters<typeof forRange>[3]) =>
  forRange("i", local("begin", "i32"), local("end", "i32"), body);

/** out[i] = x[i] * 2 */
const double = kernel("double", [x, out, begin, end], [overItems([store(out, i, mul(load(x, i), f32(2)))])]);
/** out[i] = x[n - 1 - i] + offset: every item reads what another thread may have written. */
const reverse = kernel(
  "reverse",
  [
    x,
    out,
    { kind: "scalar", name: "n", type: "i32" },
    { kind: "scalar", name: "offset", type: "f32" },
    begin,
    end,
  ],
  [
    overItems([
      store(
        out,
        i,
        add(
          load(x, {
            kind: "binary",
            type: "i32",
            operator: "sub",
            left: add(local("n", "i32"), { kind: "literal", type: "i32", value: -1 }),
            right: i,
          }),
          local("offset", "f32"),
        ),
      ),
    ]),
  ],
);
/** Item 0 is fine, the others write past the memory. */
const trap = kernel(
  "trap",
  [x, begin, end],
  [overItems([store(x, mul(i, { kind: "literal", type: "i32", value: 0x0fffffff }), f32(1))])],
);

const kernels: readonly KernelFunction[] = [double, reverse, trap];
const io = (offset: number) => ({ kind: "buffer", region: "io", offset }) as const;
const arena = (offset: number) => ({ kind: "buffer", region: "arena", offset }) as const;
const plans: Plans = {
  // io[4096..] = reverse(2 * io) + 0.5, sixteen steps in all
  run: [
    { kernel: "double", arguments: [io(0), arena(0)], range: "n", label: "double" },
    ...Array.from({ length: 15 }, (_, step) => ({
      kernel: "reverse",
      arguments: [
        arena(step % 2 === 0 ? 0 : 8192),
        step === 14 ? io(4096) : arena(step % 2 === 0 ? 8192 : 0),
        { kind: "i32", value: "n" } as const,
        { kind: "f32", value: step === 14 ? 0.5 : 0 } as const,
      ],
      range: "n",
      label: `reverse ${step}`,
    })),
  ],
  guarded: [
    {
      kernel: "double",
      arguments: [io(0), io(4096)],
      range: ["ceildiv", ["add", ["mul", "n", 2], 1], 3],
      guard: { value: "n", lower: 2, upper: 5 },
      label: "only for n in 2..5",
    },
  ],
  scratch: [{ kernel: "double", arguments: [io(0), { kind: "scratch" }], range: "n", label: "to scratch" }],
  failing: [{ kernel: "trap", arguments: [io(0)], range: "n", label: "trap" }],
  // Two outputs, and a step that both need.
  outputs: [
    { kernel: "double", arguments: [io(0), arena(0)], range: "n", serves: ["a", "b"], label: "both" },
    { kernel: "double", arguments: [arena(0), io(4096)], range: "n", serves: ["a"], label: "a" },
    { kernel: "double", arguments: [arena(0), io(8192)], range: "n", serves: ["b"], label: "b" },
  ],
};
const outputs = { run: [], guarded: [], scratch: [], failing: [], outputs: ["a", "b"] };
const rest = { kernels, plans, waits: {}, outputs, memory, symbolOrder: ["n"] };

interface Driver {
  run(entry: number): void;
  setThreads(threads: number): void;
  setMayWait(flag: number): void;
  stop(): void;
  fail(): void;
}

async function instantiate(
  shared: boolean,
): Promise<{ driver: Driver; module: WebAssembly.Module; memory: WebAssembly.Memory }> {
  const wat = renderModule({ ...rest, shared });
  const module = await WebAssembly.compile(await assemble("test", wat));
  const linear = new WebAssembly.Memory({ initial: 1, maximum: 1, shared });
  const { exports } = await WebAssembly.instantiate(module, { env: { memory: linear } });
  return { driver: exports as unknown as Driver, module, memory: linear };
}

const workers: Worker[] = [];
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.terminate()));
});

/** A thread of the pool; resolves with how its `work` ended. */
function startWorker(
  module: WebAssembly.Module,
  linear: WebAssembly.Memory,
  thread: number,
): Promise<string> {
  const worker = new Worker(
    `const { parentPort, workerData } = require("node:worker_threads");
     const { module, memory, thread } = workerData;
     const { exports } = new WebAssembly.Instance(module, { env: { memory } });
     try { exports.work(thread); parentPort.postMessage("returned"); }
     catch (error) { exports.fail(); parentPort.postMessage(error.message); }`,
    { eval: true, workerData: { module, memory: linear, thread }, execArgv: [] },
  );
  workers.push(worker);
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

function fill(linear: WebAssembly.Memory, n: number): Float32Array {
  new Int32Array(linear.buffer, memory.symbols, 1)[0] = n;
  const input = Float32Array.from({ length: n }, (_, k) => k + 1);
  new Float32Array(linear.buffer, memory.io, n).set(input);
  return input;
}
function output(linear: WebAssembly.Memory, n: number): number[] {
  return [...new Float32Array(linear.buffer, memory.io + 4096, n)];
}
/** What entry `run` gives: fifteen reversals are one. */
const expected = (input: Float32Array) => [...input].reverse().map((value) => 2 * value + 0.5);

describe("one thread", () => {
  test("runs the steps of an entry in order", async () => {
    const { driver, memory: linear } = await instantiate(false);
    for (const n of [1, 7, 100]) {
      const input = fill(linear, n);
      driver.run(0);
      expect(output(linear, n)).toEqual(expected(input));
    }
  });

  test("guards choose steps, and ranges follow the symbols", async () => {
    const { driver, memory: linear } = await instantiate(false);
    fill(linear, 5);
    driver.run(1);
    // ceil((2 * 5 + 1) / 3) = 4 items
    expect(output(linear, 5)).toEqual([2, 4, 6, 8, 0]);
    for (const n of [1, 6]) {
      new Float32Array(linear.buffer, memory.io + 4096, 8).fill(0);
      fill(linear, n);
      driver.run(1);
      expect(output(linear, n).every((value) => value === 0)).toBe(true);
    }
  });

  test("steps run for the outputs asked for", async () => {
    const { driver, memory: linear } = await instantiate(false);
    fill(linear, 2);
    const region = (offset: number) => new Float32Array(linear.buffer, memory.io + offset, 2);
    const [a, b] = [region(4096), region(8192)];
    const between = new Float32Array(linear.buffer, memory.arena, 2);
    for (const [bits, wanted] of [
      [0b00, { between: [0, 0], a: [0, 0], b: [0, 0] }],
      [0b01, { between: [2, 4], a: [4, 8], b: [0, 0] }],
      [0b10, { between: [2, 4], a: [0, 0], b: [4, 8] }],
      [0b11, { between: [2, 4], a: [4, 8], b: [4, 8] }],
    ] as const) {
      for (const memory of [a, b, between]) memory.fill(0);
      new Int32Array(linear.buffer, memory.symbols, 2)[1] = bits;
      driver.run(4);
      expect({ between: [...between], a: [...a], b: [...b] }).toEqual(wanted);
    }
  });

  test("an unknown entry and a kernel's fault trap, and nothing runs after a fault", async () => {
    const { driver, memory: linear } = await instantiate(false);
    fill(linear, 4);
    expect(() => driver.run(3)).toThrow(WebAssembly.RuntimeError);
    expect(() => driver.run(0)).toThrow(WebAssembly.RuntimeError);
    const other = await instantiate(false);
    expect(() => other.driver.run(9)).toThrow(WebAssembly.RuntimeError);
  });
});

describe("many threads", () => {
  test.each([1, 2, 3, 4])("%i threads compute what one does, run after run", async (threads) => {
    const { driver, module, memory: linear } = await instantiate(true);
    const ended = Array.from({ length: threads - 1 }, (_, k) => startWorker(module, linear, k + 1));
    driver.setThreads(threads);
    for (const mayWait of [1, 0]) {
      driver.setMayWait(mayWait);
      for (let round = 0; round < 30; round++) {
        const n = 1 + ((round * 37) % 300);
        const input = fill(linear, n);
        driver.run(0);
        expect(output(linear, n)).toEqual(expected(input));
        driver.run(1);
      }
    }
    driver.stop();
    expect(await Promise.all(ended)).toEqual(ended.map(() => "returned"));
  });

  test("threads may sit a run out and come back", async () => {
    const { driver, module, memory: linear } = await instantiate(true);
    driver.setMayWait(1);
    const ended = [1, 2].map((thread) => startWorker(module, linear, thread));
    for (let round = 0; round < 60; round++) {
      driver.setThreads(1 + (round % 3));
      const n = 1 + ((round * 53) % 200);
      const input = fill(linear, n);
      driver.run(0);
      expect(output(linear, n)).toEqual(expected(input));
    }
    driver.stop();
    expect(await Promise.all(ended)).toEqual(["returned", "returned"]);
  });

  test("each thread has scratch memory of its own", async () => {
    const { driver, module, memory: linear } = await instantiate(true);
    driver.setMayWait(1);
    void startWorker(module, linear, 1);
    driver.setThreads(2);
    fill(linear, 8);
    driver.run(2);
    const scratch = (thread: number) => [
      ...new Float32Array(linear.buffer, memory.scratch + thread * memory.scratchBytes, 8),
    ];
    expect(scratch(0)).toEqual([2, 4, 6, 8, 0, 0, 0, 0]);
    expect(scratch(1)).toEqual([0, 0, 0, 0, 10, 12, 14, 16]);
  });

  test("a fault in a worker reaches run, and lets every thread go", async () => {
    for (const mayWait of [0, 1]) {
      const { driver, module, memory: linear } = await instantiate(true);
      driver.setMayWait(mayWait);
      const ended = [1, 2].map((thread) => startWorker(module, linear, thread));
      driver.setThreads(3);
      // Thread 0 has item 0, which is fine, and waits for the others.
      fill(linear, 3);
      expect(() => driver.run(3)).toThrow(WebAssembly.RuntimeError);
      expect(await Promise.all(ended)).not.toContain("returned");
      expect(() => driver.run(0)).toThrow(WebAssembly.RuntimeError);
    }
  });

  test("a fault in thread 0 lets the workers go once it says so", async () => {
    const { driver, module, memory: linear } = await instantiate(true);
    const ended = [1, 2].map((thread) => startWorker(module, linear, thread));
    driver.setThreads(1);
    fill(linear, 3);
    expect(() => driver.run(3)).toThrow(WebAssembly.RuntimeError);
    driver.fail();
    expect(await Promise.all(ended)).not.toContain("returned");
  });
});

describe("what a plan may get wrong", () => {
  const render = (steps: Step[]) => renderModule({ ...rest, plans: { run: steps }, shared: false });

  test("a step and its kernel must agree on the parameters", () => {
    const step = { kernel: "double", arguments: [io(0)], range: "n", label: "mlp.up" };
    expect(() => render([step])).toThrow(/step mlp.up and kernel double disagree[\s\S]*out: buffer/);
    expect(() => render([{ ...step, kernel: "triple" }])).toThrow(/unknown kernel[\s\S]*triple/);
    expect(() => render([{ ...step, arguments: [io(0), io(0)], range: "seq" }])).toThrow(/unknown symbol/);
  });

  test("memory beyond 4 GiB and more than 255 threads are refused by name", () => {
    const crowded = { ...memory, maxThreads: 256 };
    expect(() => renderModule({ ...rest, memory: crowded, shared: true })).toThrow(
      /LIMIT_EXCEEDED[\s\S]*256/,
    );
    const large = { ...memory, totalBytes: 2 ** 32 + 1 };
    expect(() => renderModule({ ...rest, memory: large, shared: false })).toThrow(/LIMIT_EXCEEDED/);
  });
});
