/**
 * Compiles kernels for the GPU and runs them on Dawn, for tests and benchmarks:
 *
 *     const host = await GpuHost.open();
 *     const rmsNorm = await host.compile("rms-norm.ts", "rmsNorm", { workgroupSize: 64, subgroups: false });
 *     await rmsNorm({ x, weight, out, k: 65 }, { workgroups: rows });
 *
 * Arguments go by parameter name; buffers are typed arrays, and those that the kernel writes hold its results
 * afterwards.
 */
import {
  loadTemplate,
  type OptionValue,
  parseTemplate,
  specialize,
  type Template,
} from "../../codegen/kernel/frontend.ts";
import { type KernelFunction, storageBytes } from "../../codegen/kernel/ir.ts";
import { renderWgsl, type WgslModule, type WgslOptions } from "../../codegen/targets/wgsl/render.ts";
import { openDevice, openGpu } from "./dawn.ts";

type Numbers = Float32Array | Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array;

export type GpuArguments = { readonly [parameter: string]: number | boolean | Numbers };

/**
 * How many workgroups a kernel for workgroups gets, along one axis or two; how many items one over a range.
 * `offsets` says at which element buffers start that were rendered with an offset; 0 if absent.
 */
export type GpuGrid = { readonly offsets?: { readonly [parameter: string]: number } } & (
  | { readonly workgroups: number | readonly [x: number, y: number] }
  | { readonly range: number }
);

export interface GpuKernel {
  (kernelArguments: GpuArguments, grid: GpuGrid): Promise<void>;
  readonly module: WgslModule;
}

type Options = { readonly [option: string]: OptionValue };

/** Workgroups that a dispatch may have along one axis. */
const MAX_WORKGROUPS = 65_535;

export class GpuHost {
  readonly device: GPUDevice;
  /** Whether kernels with subgroup operations run here, and `dot4I8Packed` as an instruction. */
  readonly subgroups: boolean;
  readonly packedDot: boolean;

  private constructor(device: GPUDevice, packedDot: boolean) {
    this.device = device;
    this.subgroups = device.features.has("subgroups");
    this.packedDot = packedDot;
  }

  /**
   * With `bare`, on a device that has no optional feature and only the least limits.
   * @throws what is missing where this machine has no device
   */
  static async open({ bare = false } = {}): Promise<GpuHost> {
    const gpu = await openGpu();
    const packedDot = !bare && gpu.wgslLanguageFeatures.has("packed_4x8_integer_dot_product");
    return new GpuHost(await openDevice({ bare }), packedDot);
  }

  /** Specializes `name` of templates/gpu/`file`. */
  async compile(file: string, name: string, options: Options = {}, wgsl?: WgslOptions): Promise<GpuKernel> {
    return this.#specialize(await loadTemplate(templateFile(file), name), name, options, wgsl);
  }

  /** Compiles a kernel from text that imports as a file of templates/gpu would. */
  async compileText(
    text: string,
    name: string,
    options: Options = {},
    wgsl?: WgslOptions,
  ): Promise<GpuKernel> {
    const template = await parseTemplate(text, name, templateFile(`${name}-in-test.ts`));
    return this.#specialize(template, name, options, wgsl);
  }

  #specialize(template: Template, name: string, options: Options, wgsl?: WgslOptions): Promise<GpuKernel> {
    return this.load(specialize(template, { name, options }), wgsl);
  }

  /** Compiles kernel IR. */
  async load(kernel: KernelFunction, options: WgslOptions = {}): Promise<GpuKernel> {
    const module = renderWgsl(kernel, { packedDot: this.packedDot, ...options });
    const shader = await this.#shader(module.text);
    const { entryPoint } = module;
    const entries = module.bindings.map(({ access }, binding): GPUBindGroupLayoutEntry => {
      const type = access === "read" ? "read-only-storage" : "storage";
      return { binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } };
    });
    if (module.uniforms.length > 0) {
      const buffer = { type: "uniform" } as const;
      entries.push({ binding: entries.length, visibility: GPUShaderStage.COMPUTE, buffer });
    }
    const bindGroupLayout = this.device.createBindGroupLayout({ entries });
    const layout = this.device.createPipelineLayout({ bindGroupLayouts: [bindGroupLayout] });
    const pipeline = await this.#checked(module.text, () =>
      this.device.createComputePipeline({ layout, compute: { module: shader, entryPoint } }),
    );
    const run = (given: GpuArguments, grid: GpuGrid) => this.#run(module, pipeline, given, grid);
    return Object.assign(run, { module });
  }

  /** Compiles WGSL. @throws the compiler's errors with their lines */
  async validate(text: string): Promise<void> {
    await this.#shader(text);
  }

  close(): void {
    this.device.destroy();
  }

  async #shader(code: string): Promise<GPUShaderModule> {
    return this.#checked(code, () => this.device.createShaderModule({ code }));
  }

  /** Runs `action`; what the device finds wrong, compilers' messages among it, becomes an exception. */
  async #checked<T>(code: string, action: () => T): Promise<T> {
    this.device.pushErrorScope("validation");
    const result = action();
    const error = await this.device.popErrorScope();
    if (error !== null) throw new Error(`${error.message}\n${numbered(code)}`);
    return result;
  }

  async #run(
    module: WgslModule,
    pipeline: GPUComputePipeline,
    given: GpuArguments,
    grid: GpuGrid,
  ): Promise<void> {
    const { device } = this;
    const arrays = module.bindings.map(({ parameter }) => {
      const value = given[parameter];
      if (ArrayBuffer.isView(value)) return value;
      throw new TypeError(`kernel ${module.entryPoint} takes a typed array as ${parameter}`);
    });
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const buffers = arrays.map((array, i) => {
      const element = Math.max(4, storageBytes(module.bindings[i]!.element));
      const size = Math.max(1, Math.ceil(array.byteLength / element)) * element;
      const buffer = device.createBuffer({ size, usage });
      device.queue.writeBuffer(buffer, 0, padded(array, size));
      return buffer;
    });
    const all = [...buffers];
    if (module.uniforms.length > 0) {
      const bytes = uniformBytes(module, given, grid);
      const buffer = device.createBuffer({
        size: bytes.byteLength,
        usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
      });
      device.queue.writeBuffer(buffer, 0, bytes);
      all.push(buffer);
    }
    const entries = all.map((buffer, binding) => ({ binding, resource: { buffer } }));
    await this.#checked(module.text, () => {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
      pass.dispatchWorkgroups(...workgroups(module, grid));
      pass.end();
      device.queue.submit([encoder.finish()]);
    });
    for (const [i, { access }] of module.bindings.entries()) {
      if (access === "read-write") await this.#read(buffers[i]!, arrays[i]!);
    }
    for (const buffer of all) buffer.destroy();
  }

  async #read(source: GPUBuffer, target: Numbers): Promise<void> {
    const staging = this.device.createBuffer({
      size: source.size,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(source, 0, staging, 0, source.size);
    this.device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const bytes = new Uint8Array(staging.getMappedRange(), 0, target.byteLength);
    new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(bytes);
    staging.destroy();
  }
}

function templateFile(file: string): string {
  return new URL(`../../templates/gpu/${file}`, import.meta.url).pathname;
}

function numbered(code: string): string {
  return code
    .split("\n")
    .map((line, i) => `${String(i + 1).padStart(4)} ${line}`)
    .join("\n");
}

function padded(array: Numbers, size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  bytes.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  return bytes;
}

/** The values of the uniform block's fields. */
function uniformBytes(module: WgslModule, given: GpuArguments, grid: GpuGrid): ArrayBuffer {
  const bytes = new DataView(new ArrayBuffer(Math.ceil(module.uniforms.length / 4) * 16));
  module.uniforms.forEach((field, i) => {
    if (field.kind === "range") {
      if (!("range" in grid)) throw new TypeError(`kernel ${module.entryPoint} runs over a range of items`);
      bytes.setInt32(4 * i, grid.range, true);
    } else if (field.kind === "offset") {
      bytes.setInt32(4 * i, grid.offsets?.[field.parameter] ?? 0, true);
    } else {
      const value = given[field.parameter];
      if (typeof value !== "number" && typeof value !== "boolean") {
        throw new TypeError(`kernel ${module.entryPoint} takes a number as ${field.parameter}`);
      }
      if (field.type === "f32") bytes.setFloat32(4 * i, Number(value), true);
      else bytes.setInt32(4 * i, Number(value), true);
    }
  });
  return bytes.buffer;
}

/** The grid of a dispatch; a range too long for one axis goes on along the second. */
function workgroups(module: WgslModule, grid: GpuGrid): [number, number] {
  if ("workgroups" in grid) {
    const [x, y = 1] = typeof grid.workgroups === "number" ? [grid.workgroups] : grid.workgroups;
    return [x, y];
  }
  const count = Math.ceil(grid.range / module.workgroupSize);
  const rows = Math.max(1, Math.ceil(count / MAX_WORKGROUPS));
  return [Math.ceil(count / rows), rows];
}
