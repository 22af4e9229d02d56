/**
 * Runs graphs on the WebGPU target on Dawn: schedule, render, and then the plan's steps as an artifact describes them,
 * with nothing kept from one run to the next but pipelines.
 */
import type { TargetLimits } from "../../codegen/schedule/limits.ts";
import type { Plan } from "../../codegen/schedule/plan.ts";
import { schedule } from "../../codegen/schedule/schedule.ts";
import { evaluate } from "../../codegen/schedule/symbols.ts";
import type { Graph } from "../../ir/graph.ts";
import type { InterpretResult } from "../../ir/interpret.ts";
import { allocate, sizeOf, type Tensor } from "../../ir/tensor.ts";
import { type DType, substituteDims } from "../../ir/types.ts";
import type { Argument, Region, Step, WebgpuTarget, WebgpuVariant } from "../../runtime/manifest.ts";
import { writeWebgpuTarget } from "../../src/compiler/webgpu-target.ts";
import { openDevice, openGpu } from "./dawn.ts";
import { padTo } from "./pack.ts";
import { bindSymbols, bytesOf, packWeights, tensorOf, type WasmTensors } from "./run-wasm.ts";

export type WebgpuFeature = WebgpuVariant["requires"][number];

/** A device, what it can do, and the pipelines it has made. */
export class WebgpuHost {
  readonly device: GPUDevice;
  readonly features: readonly WebgpuFeature[];
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>();

  private constructor(device: GPUDevice, features: readonly WebgpuFeature[]) {
    this.device = device;
    this.features = features;
  }

  /** @throws what is missing where this machine has no device */
  static async open(): Promise<WebgpuHost> {
    const device = await openDevice();
    const gpu = await openGpu();
    const packedDot = gpu.wgslLanguageFeatures.has("packed_4x8_integer_dot_product");
    return new WebgpuHost(device, [
      ...(device.features.has("subgroups") ? (["subgroups"] as const) : []),
      ...(packedDot ? (["packedDot"] as const) : []),
    ]);
  }

  pipeline(code: string): Promise<GPUComputePipeline> {
    const known = this.#pipelines.get(code);
    if (known !== undefined) return known;
    const made = this.#make(code);
    this.#pipelines.set(code, made);
    return made;
  }

  async #make(code: string): Promise<GPUComputePipeline> {
    const module = this.device.createShaderModule({ code });
    const { messages } = await module.getCompilationInfo();
    const [error] = messages.filter(({ type }) => type === "error");
    if (error !== undefined) throw new Error(`${error.lineNum}: ${error.message}\n${code}`);
    return this.device.createComputePipelineAsync({ layout: "auto", compute: { module } });
  }
}

/** A region's GPU buffers, by where they start. */
type Buffers = readonly { readonly start: number; readonly buffer: GPUBuffer }[];

interface Result {
  readonly kind: "outputs" | "states";
  readonly name: string;
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly region: Region;
  readonly offset: number;
}

export class WebgpuProgram {
  readonly plan: Plan;
  readonly target: WebgpuTarget;
  readonly #graphs: Readonly<Record<string, Graph>>;
  readonly #sources: ReadonlyMap<string, string>;
  readonly #host: WebgpuHost;

  private constructor(
    plan: Plan,
    target: WebgpuTarget,
    graphs: Readonly<Record<string, Graph>>,
    sources: ReadonlyMap<string, string>,
    host: WebgpuHost,
  ) {
    this.plan = plan;
    this.target = target;
    this.#graphs = graphs;
    this.#sources = sources;
    this.#host = host;
  }

  static async compile(
    graphs: Readonly<Record<string, Graph>>,
    host: WebgpuHost,
    limits: Partial<TargetLimits> = {},
  ): Promise<WebgpuProgram> {
    const plan = await schedule(graphs, { targets: ["webgpu"], maxThreads: 1, limits });
    const sources = new Map<string, string>();
    const write = async (path: string, content: string | Uint8Array) => {
      sources.set(path, content as string);
    };
    const { target } = await writeWebgpuTarget({ write }, plan);
    return new WebgpuProgram(plan, target, graphs, sources, host);
  }

  /** Computes what `interpret` computes, from the same tensors, with kernels that need no more than `features`. */
  async run(
    entryName: string,
    tensors: WasmTensors,
    features: readonly WebgpuFeature[] = this.#host.features,
  ): Promise<InterpretResult> {
    const { plan, target } = this;
    const { device } = this.#host;
    const entry = plan.entries[entryName]!;
    const symbols = bindSymbols(this.#graphs[entryName]!, tensors);
    const sizes = { ...plan.regions, arena: target.arena };
    const made: GPUBuffer[] = [];
    device.pushErrorScope("validation");
    const regions = Object.fromEntries(
      (["io", "arena", "state", "weights"] as const).map((region) => {
        const starts = target.buffers[region];
        const buffers = starts.map((start, i) => {
          const size = Math.max(16, padTo((starts[i + 1] ?? sizes[region]) - start, 16));
          const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
          const buffer = device.createBuffer({ size, usage });
          made.push(buffer);
          // What is read before it is written is not a number, but state, which is zero.
          if (region !== "state") device.queue.writeBuffer(buffer, 0, new Uint8Array(size).fill(0xff));
          return { start, buffer };
        });
        return [region, buffers];
      }),
    ) as unknown as Record<Region, Buffers>;
    const write = (region: Region, offset: number, bytes: Uint8Array) => {
      const { buffer, start } = holding(regions[region], offset);
      const padded = new Uint8Array(padTo(bytes.length, 4));
      padded.set(bytes);
      device.queue.writeBuffer(buffer, offset - start, padded);
    };
    // A weight may lie across buffers that its steps read one by one.
    const weights = new Uint8Array(padTo(plan.regions.weights, 16)).fill(0xff);
    for (const { address, bytes } of packWeights(plan, tensors.parameters, 0)) weights.set(bytes, address);
    for (const [i, { start, buffer }] of regions.weights.entries()) {
      const end = regions.weights[i + 1]?.start ?? weights.length;
      device.queue.writeBuffer(buffer, 0, weights, start, end - start);
    }
    for (const { name, offset } of entry.inputs) write("io", offset, bytesOf(tensors.inputs[name]!.data));
    for (const { name, offset } of plan.states) {
      const given = tensors.states?.[name];
      if (given !== undefined) write("state", offset, bytesOf(given.data));
    }

    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const step of target.plans[entryName]!) {
      const guarded = step.guard && evaluate(step.guard.value, symbols);
      if (guarded !== undefined && (guarded < step.guard!.lower || guarded > step.guard!.upper)) continue;
      made.push(...(await this.#encode(pass, step, regions, symbols, features)));
    }
    pass.end();

    const results = this.#results(entryName, symbols);
    const places = results.map(({ dtype, dims }) => padTo(allocate(dtype, sizeOf(dims)).byteLength, 4));
    const staging = device.createBuffer({
      size: Math.max(
        4,
        places.reduce((sum, bytes) => sum + bytes, 0),
      ),
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    made.push(staging);
    let at = 0;
    for (const [i, { region, offset }] of results.entries()) {
      const { buffer, start } = holding(regions[region], offset);
      if (places[i]! > 0) encoder.copyBufferToBuffer(buffer, offset - start, staging, at, places[i]!);
      at += places[i]!;
    }
    device.queue.submit([encoder.finish()]);
    const error = await device.popErrorScope();
    if (error !== null) throw new Error(error.message);
    await staging.mapAsync(GPUMapMode.READ);
    const bytes = new Uint8Array(staging.getMappedRange().slice(0));
    for (const buffer of made) buffer.destroy();

    const read: Record<Result["kind"], Record<string, Tensor>> = { outputs: {}, states: {} };
    at = 0;
    for (const [i, { kind, name, dtype, dims }] of results.entries()) {
      const length = allocate(dtype, sizeOf(dims)).byteLength;
      read[kind][name] = tensorOf(bytes.subarray(at, at + length), dtype, dims);
      at += places[i]!;
    }
    return { ...read, symbols };
  }

  #results(entryName: string, symbols: ReadonlyMap<string, number>): Result[] {
    const { entries, states } = this.plan;
    const outputs = entries[entryName]!.outputs.map(
      (slot) => ({ ...slot, kind: "outputs", region: "io" }) as const,
    );
    const next = states.map((state) => ({ ...state, kind: "states", region: "state" }) as const);
    return [...outputs, ...next].map((result) => ({
      ...result,
      dims: substituteDims(result.dims, symbols) as number[],
    }));
  }

  async #encode(
    pass: GPUComputePassEncoder,
    step: Step,
    regions: Readonly<Record<Region, Buffers>>,
    symbols: ReadonlyMap<string, number>,
    features: readonly WebgpuFeature[],
  ): Promise<GPUBuffer[]> {
    const { device } = this.#host;
    const kernel = this.target.kernels.find(({ name }) => name === step.kernel)!;
    const variant = kernel.variants.find(({ requires }) =>
      requires.every((need) => features.includes(need)),
    )!;
    const pipeline = await this.#host.pipeline(this.#sources.get(variant.source)!);
    const argumentOf = (parameter: string): Argument => step.arguments[kernel.parameters.indexOf(parameter)]!;
    const place = (parameter: string) => {
      const argument = argumentOf(parameter);
      if (argument.kind !== "buffer") throw new Error(`${parameter} of ${kernel.name} is no buffer`);
      const offset = evaluate(argument.offset, symbols);
      const { buffer, start } = holding(regions[argument.region], offset);
      const base = Math.floor((offset - start) / 256) * 256;
      const rest = offset - start - base;
      return { buffer, base, rest, bytes: rest + evaluate(argument.bytes!, symbols) };
    };
    const range = evaluate(step.range, symbols);
    const entries: GPUBindGroupEntry[] = variant.bindings.map(({ parameter, element }, binding) => {
      const { buffer, base, bytes } = place(parameter);
      return { binding, resource: { buffer, offset: base, size: padTo(bytes, Math.max(4, element)) } };
    });
    const made: GPUBuffer[] = [];
    if (variant.uniforms.length > 0) {
      const block = new DataView(new ArrayBuffer(padTo(4 * variant.uniforms.length, 16)));
      for (const [i, field] of variant.uniforms.entries()) {
        if (field.kind === "range") block.setInt32(4 * i, range, true);
        else if (field.kind === "offset") {
          const { element } = variant.bindings.find(({ parameter }) => parameter === field.parameter)!;
          block.setInt32(4 * i, place(field.parameter).rest / element, true);
        } else {
          const argument = argumentOf(field.parameter);
          if (argument.kind === "f32") block.setFloat32(4 * i, argument.value, true);
          else if (argument.kind === "i32") block.setInt32(4 * i, evaluate(argument.value, symbols), true);
        }
      }
      const buffer = device.createBuffer({
        size: block.byteLength,
        usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
      });
      device.queue.writeBuffer(buffer, 0, block.buffer as ArrayBuffer);
      made.push(buffer);
      entries.push({ binding: entries.length, resource: { buffer } });
    }
    pass.setPipeline(pipeline);
    if (entries.length > 0) {
      pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
    }
    if (kernel.kind === "workgroup") {
      pass.dispatchWorkgroups(range, step.rangeY === undefined ? 1 : evaluate(step.rangeY, symbols));
    } else {
      const groups = Math.ceil(range / variant.workgroupSize);
      const x = Math.min(groups, 65_535);
      if (x > 0) pass.dispatchWorkgroups(x, Math.ceil(groups / x));
    }
    return made;
  }
}

function holding(buffers: Buffers, offset: number): Buffers[number] {
  return buffers.findLast(({ start }) => start <= offset)!;
}
