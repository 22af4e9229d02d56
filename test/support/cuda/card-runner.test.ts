import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nvccVersion } from "../../../src/compiler/nvcc.ts";
import { CudaHost, CudaProgram } from "../run-cuda.ts";
import { converse, smallModel } from "../small-model.ts";
import { buildCubin, CardRunner } from "./card-runner.ts";
import { type FakeDriver, fakeDriver, missingTools, openSession } from "./fake-driver.ts";
import { buildHostLibrary } from "./host-library.ts";

describe.skipIf(missingTools !== undefined)(`a card (${missingTools ?? "over a fake driver"})`, () => {
  let driver: FakeDriver;
  let host: CudaHost;
  beforeAll(async () => {
    driver = await fakeDriver();
    driver.configure({});
    host = new CudaHost(new CardRunner(await openSession(driver.environment)), buildHostLibrary);
  }, 120_000);
  afterAll(async () => {
    await host?.close();
    expect(driver?.state().handles ?? 0).toBe(0);
  });

  it("runs what the processor runs", async () => {
    const { reference, entries } = smallModel();
    const program = await CudaProgram.compile(entries, host);
    await converse(reference, (entry, tensors) => program.run(entry, tensors));
    expect(driver.state().launches).toBeGreaterThan(0);
  }, 120_000);
});

const nvcc = await nvccVersion();
it.skipIf(nvcc === undefined)(
  `cubins have kernels under names of their own ${nvcc ? "" : "(no nvcc here)"}`,
  async () => {
    const text = 'namespace f {\nextern "C" __global__ void f(int *x) { *x = 1; }\n}\n';
    const kernels = ["one", "two"].map((name) => ({ text, entryPoint: "f", blockSize: 1, name }));
    const cubin = await readFile(await buildCubin(kernels, "sm_90"), "latin1");
    for (const name of ["one", "two"]) expect(cubin).toContain(`.text.${name}\0`);
  },
);
