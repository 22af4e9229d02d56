/** Properties of the CUDA target as a card is put to them: over a driver that is none, whose NVRTC compiles. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { findMachine } from "../../runtime/devices/cuda/machine.ts";
import {
  compilingEnvironment,
  type FakeDriver,
  fakeDriver,
  missingTools,
} from "../../test/support/cuda/fake-driver.ts";
import { type CudaHost, CudaProgram } from "../../test/support/run-cuda.ts";
import { hardTrials } from "../../test/support/trials.ts";
import { openCard } from "./card-host.ts";

vi.mock("../../src/compiler/nvcc.ts", () => ({ nvccVersion: async () => undefined }));

describe.skipIf(missingTools !== undefined)(`a card (${missingTools ?? "over a fake driver"})`, () => {
  let folder: string;
  let driver: FakeDriver;
  let card: CudaHost;
  const [trial] = hardTrials();
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "bitloom-card-"));
    driver = await fakeDriver();
    driver.configure({});
    for (const [name, value] of Object.entries(await compilingEnvironment(folder))) vi.stubEnv(name, value);
    card = await openCard(await findMachine());
  }, 120_000);
  afterAll(async () => {
    await card?.close();
    expect(driver?.state().handles ?? 0).toBe(0);
    vi.unstubAllEnvs();
    await rm(folder, { recursive: true, force: true });
  });

  const attempt = async () => {
    const program = await CudaProgram.compile(trial!.graphs, card);
    const received = [];
    for (const { entry, tensors } of trial!.runs) received.push(await program.run(entry, tensors));
    trial!.check(received);
    return program;
  };

  it("gives the interpreter's results, and again after a kernel has failed", async () => {
    const program = await attempt();
    driver.configure({ failingFunction: "cuLaunchKernel", failure: 719 });
    await expect(attempt()).rejects.toThrow(/LAUNCH_FAILED/);
    driver.configure({});
    await attempt();
    expect(program.kernels.length).toBeGreaterThan(0);
  }, 120_000);
});
