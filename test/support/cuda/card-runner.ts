/** Runs work on an NVIDIA card, by way of the addon, as `HostRunner` does on the processor. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CudaSession, Launch } from "../../../runtime/devices/cuda/addon.ts";
import { runNvcc } from "../../../src/compiler/nvcc.ts";
import type { HostKernel } from "./host-library.ts";
import type { HostLaunch, HostWork, Runner } from "./runner.ts";

export class CardRunner implements Runner {
  readonly #session: CudaSession;
  /** Modules by the path of their library, kernels by that and their name. */
  readonly #modules = new Map<string, Promise<number>>();
  readonly #kernels = new Map<string, number>();

  constructor(session: CudaSession) {
    this.#session = session;
  }

  /** @throws what the driver says */
  async run({ regions, writes, launches, reads }: HostWork): Promise<Uint8Array[]> {
    const session = this.#session;
    await session.allocate(regions);
    for (const [region, bytes] of regions.entries())
      session.write(region, 0, new Uint8Array(bytes).fill(0xff));
    for (const { region, offset, bytes } of writes) session.write(region, offset, bytes);
    const planned: Launch[] = [];
    for (const launch of launches) {
      const { grid, arguments: values } = launch;
      planned.push({ kernel: await this.#kernel(launch), grid, arguments: values });
    }
    const program = session.addProgram(planned);
    try {
      return (await session.run(program, reads)).map((buffer) => new Uint8Array(buffer));
    } finally {
      session.removeProgram(program);
    }
  }

  close(): Promise<void> {
    return this.#session.dispose();
  }

  async #kernel({ library, kernel, blockSize }: HostLaunch): Promise<number> {
    const key = `${library} ${kernel}`;
    const known = this.#kernels.get(key);
    if (known !== undefined) return known;
    const loading =
      this.#modules.get(library) ?? readFile(library).then((image) => this.#session.addModule(image));
    this.#modules.set(library, loading);
    const number = this.#session.addKernel(await loading, kernel, blockSize);
    this.#kernels.set(key, number);
    return number;
  }
}

const cache = join(tmpdir(), "bitloom-cache", "cuda-card");

/** Kernels one after the other, under names of their own. */
export function translationUnit(kernels: readonly HostKernel[]): string {
  return kernels
    .flatMap(({ text, entryPoint, name = entryPoint }) =>
      name === entryPoint ? [text] : [`#define ${entryPoint} ${name}`, text, `#undef ${entryPoint}`],
    )
    .join("\n");
}

/** The path of a cubin with these kernels for an architecture such as `sm_90`, made where it is not known from earlier. */
export async function buildCubin(kernels: readonly HostKernel[], architecture: string): Promise<string> {
  const source = translationUnit(kernels);
  const hash = createHash("sha256").update(architecture).update(source).digest("hex").slice(0, 32);
  const path = join(cache, `${hash}.cubin`);
  if (existsSync(path)) return path;
  const { bytes } = await runNvcc(source, { kind: "cubin", architecture });
  await mkdir(cache, { recursive: true });
  // Others may be at the same file: each has a name of its own until it is whole.
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, bytes);
  await rename(draft, path);
  return path;
}
