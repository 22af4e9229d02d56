import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CudaMachine } from "../../runtime/devices/cuda/machine.ts";
import { nvccVersion } from "../../src/compiler/nvcc.ts";
import { buildCubin, CardRunner, translationUnit } from "../../test/support/cuda/card-runner.ts";
import type { HostKernel } from "../../test/support/cuda/host-library.ts";
import type { HostWork, Runner } from "../../test/support/cuda/runner.ts";
import { CudaHost } from "../../test/support/run-cuda.ts";
import { architectureOf, compileHere } from "./compile-here.ts";

/**
 * The first card, for the properties of the CUDA target. nvcc compiles their kernels, as many at once as there are
 * cores, and what it makes is there for the next process; NVRTC does where nvcc is missing.
 */
export async function openCard(machine: CudaMachine): Promise<CudaHost> {
  const runner = new RecoveringRunner(machine, new CardRunner(await machine.open()));
  if ((await nvccVersion()) !== undefined) {
    return new CudaHost(runner, (kernels) => buildCubin(kernels, architectureOf(machine)));
  }
  const folder = mkdtempSync(join(tmpdir(), "bitloom-kernels-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  return new CudaHost(runner, async (kernels: readonly HostKernel[]) => {
    const path = join(folder, randomUUID());
    await writeFile(path, await compileHere(machine, translationUnit(kernels)));
    return path;
  });
}

/** A kernel that fails takes its context with it; those after it have another, to be judged by themselves. */
class RecoveringRunner implements Runner {
  readonly #machine: CudaMachine;
  #runner: Runner;

  constructor(machine: CudaMachine, runner: Runner) {
    this.#machine = machine;
    this.#runner = runner;
  }

  async run(work: HostWork): Promise<Uint8Array[]> {
    try {
      return await this.#runner.run(work);
    } catch (error) {
      await this.#runner.close();
      this.#runner = new CardRunner(await this.#machine.open());
      throw error;
    }
  }

  close(): void | Promise<void> {
    return this.#runner.close();
  }
}
