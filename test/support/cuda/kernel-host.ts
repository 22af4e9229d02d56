/**
 * Runs single kernels on the CUDA target's host, as gpu-host.ts does on WebGPU: arguments go by parameter name, and
 * buffers that the kernel writes hold its results afterwards.
 */
import type { KernelFunction } from "../../../codegen/kernel/ir.ts";
import { type CudaSource, renderCuda } from "../../../codegen/targets/cuda/render.ts";
import type { LaunchArgument } from "../../../runtime/devices/cuda/addon.ts";
import type { GpuArguments, GpuGrid } from "../gpu-host.ts";
import { CudaHost } from "../run-cuda.ts";

export interface CudaKernelRun {
  (given: GpuArguments, grid: GpuGrid): Promise<void>;
  readonly source: CudaSource;
}

export class CudaKernelHost {
  readonly #host: CudaHost;

  private constructor(host: CudaHost) {
    this.#host = host;
  }

  /** @throws that there is no compiler */
  static async open(): Promise<CudaKernelHost> {
    return new CudaKernelHost(await CudaHost.open());
  }

  close(): void {
    this.#host.close();
  }

  /** Compiles kernel IR; several kernels at once take hardly longer than one. */
  async loadAll(kernels: readonly KernelFunction[]): Promise<CudaKernelRun[]> {
    const sources = kernels.map(renderCuda);
    await this.#host.prepare(sources);
    return sources.map((source) =>
      Object.assign((given: GpuArguments, grid: GpuGrid) => this.#run(source, given, grid), { source }),
    );
  }

  async load(kernel: KernelFunction): Promise<CudaKernelRun> {
    return (await this.loadAll([kernel]))[0]!;
  }

  async #run(source: CudaSource, given: GpuArguments, grid: GpuGrid): Promise<void> {
    const arrays: Uint8Array[] = [];
    const values = source.parameters.map((field): LaunchArgument => {
      if (field.kind === "range") return { i32: "range" in grid ? grid.range : 0 };
      const value = given[field.parameter];
      if (field.kind === "scalar") {
        return field.type === "f32" ? { f32: Number(value) } : { i32: Number(value) };
      }
      const array = value as ArrayBufferView;
      arrays.push(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
      return { region: arrays.length - 1, offset: 0 };
    });
    const found = await this.#host.find(source);
    const [x, y = 1] =
      "range" in grid
        ? [Math.ceil(grid.range / source.blockSize)]
        : typeof grid.workgroups === "number"
          ? [grid.workgroups]
          : grid.workgroups;
    const results = await this.#host.runner.run({
      regions: arrays.map(({ length }) => length),
      writes: arrays.map((bytes, region) => ({ region, offset: 0, bytes })),
      launches: [{ ...found, grid: [x, y], blockSize: source.blockSize, arguments: values }],
      reads: arrays.map(({ length }, region) => ({ region, offset: 0, bytes: length })),
    });
    arrays.forEach((array, i) => {
      array.set(results[i]!);
    });
  }
}
