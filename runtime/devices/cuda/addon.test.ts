import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { fc, test } from "@fast-check/vitest";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type FakeDriver, fakeDriver, missingTools } from "../../../test/support/cuda/fake-driver.ts";
import { type CudaAddon, type CudaSession, loadAddon } from "./addon.ts";

const MIB = 2 ** 20;
/** More than all that the addon has on its way at once. */
const REGION_BYTES = 18 * MIB;

describe.skipIf(missingTools !== undefined)(`the addon (${missingTools ?? "over a fake driver"})`, () => {
  let driver: FakeDriver;
  let addon: CudaAddon;
  let session: CudaSession;
  beforeAll(async () => {
    driver = await fakeDriver();
    vi.stubEnv("BITLOOM_CUDA_ADDON", driver.environment.BITLOOM_CUDA_ADDON!);
    addon = loadAddon();
    vi.unstubAllEnvs();
    driver.configure({});
    session = await addon.open(driver.environment.BITLOOM_LIBCUDA!, 0);
    await session.allocate([0, REGION_BYTES]);
  }, 120_000);
  afterAll(async () => {
    await session?.dispose();
    expect(driver?.state().handles ?? 0).toBe(0);
  });

  const read = async (offset: number, bytes: number): Promise<Uint8Array> => {
    const nothing = session.addProgram([]);
    const [buffer] = await session.run(nothing, [{ region: 1, offset, bytes }]);
    session.removeProgram(nothing);
    return new Uint8Array(buffer!);
  };

  const write = fc.record({
    offset: fc.nat(REGION_BYTES),
    bytes: fc.oneof(fc.nat(9), fc.nat(REGION_BYTES)),
    value: fc.integer({ min: 1, max: 255 }),
  });

  test.prop([fc.array(write, { maxLength: 6 })], { numRuns: 8 })(
    "writes arrive in order, and what was written may change at once",
    async (writes) => {
      session.clear(1);
      const expected = new Uint8Array(REGION_BYTES);
      for (const { offset, bytes, value } of writes) {
        const piece = new Uint8Array(Math.min(bytes, REGION_BYTES - offset)).fill(value);
        for (let i = 0; i < piece.length; i += 4096) piece[i] = i / 4096;
        expected.set(piece, offset);
        session.write(1, offset, piece);
        piece.fill(0);
      }
      expect(Buffer.compare(await read(0, REGION_BYTES), expected)).toBe(0);
      expect(Buffer.compare(await read(5, 1000), expected.subarray(5, 1005))).toBe(0);
    },
  );

  it.each<[string, () => unknown]>([
    ["bytes past a region's end", () => session.write(1, REGION_BYTES - 3, new Uint8Array(4))],
    ["an offset past a region's end", () => session.write(0, 1, new Uint8Array())],
    ["a negative offset", () => session.write(1, -1, new Uint8Array(1))],
    ["a region that is not there", () => session.clear(2)],
    ["a module that is not there", () => session.addKernel(0, "twice", 4)],
    [
      "a kernel that is not there",
      () => session.addProgram([{ kernel: 0, grid: [1, 1], arguments: [{ i32: 1 }] }]),
    ],
    ["a program that is not there", () => session.run(99, [])],
    ["to be constructed", () => Reflect.construct(session.constructor, [])],
  ])("refuses %s", async (_, call) => {
    await expect((async () => call())()).rejects.toMatchObject({ code: "INVALID_CALL" });
  });

  it("lets memory that does not fit be asked for again, smaller", async () => {
    driver.configure({ memoryBytes: 3 * REGION_BYTES });
    const other = await addon.open(driver.environment.BITLOOM_LIBCUDA!, 0);
    const { allocatedBytes } = driver.state();
    await expect(other.allocate([REGION_BYTES, REGION_BYTES, 1])).rejects.toMatchObject({
      code: "CUDA_ERROR_OUT_OF_MEMORY",
    });
    expect(driver.state().allocatedBytes).toBe(allocatedBytes);
    await other.allocate([REGION_BYTES]);
    await other.dispose();
    driver.configure({});
  });

  it("outlives threads that are ended in the middle of a call, and gives back what they had", async () => {
    const { handles } = driver.state();
    const code = `
      const { parentPort, workerData } = require("node:worker_threads");
      const addon = require(workerData.addon);
      const call = async () => {
        const session = await addon.open(workerData.driver, 0);
        await session.allocate([${MIB}]);
        parentPort.postMessage("calls");
        await session.run(session.addProgram([]), [{ region: 0, offset: 0, bytes: ${MIB} }]);
      };
      (async () => { for (;;) await call(); })();`;
    const { BITLOOM_CUDA_ADDON, BITLOOM_LIBCUDA } = driver.environment;
    const workerData = { addon: BITLOOM_CUDA_ADDON, driver: BITLOOM_LIBCUDA };
    for (let delay = 0; delay < 20; delay += 5) {
      const worker = new Worker(code, { eval: true, workerData });
      await once(worker, "message");
      await new Promise((resolve) => setTimeout(resolve, delay));
      await worker.terminate();
    }
    await expect.poll(() => driver.state().handles).toBe(handles);
  });
});
