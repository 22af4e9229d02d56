import { type Argument, type Entry, type Region, type Step, TENSOR_ALIGNMENT } from "../../manifest.ts";
import { evaluate, holds, type SymbolValues } from "../../symbols.ts";
import { isFor } from "../steps.ts";
import type { CompiledKernel } from "./kernels.ts";
import type { RegionBuffers } from "./regions.ts";

/** Workgroups that a dispatch may have along one axis. */
const MAX_WORKGROUPS = 65_535;

type BufferArgument = Extract<Argument, { kind: "buffer" }>;

interface Binding {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly size: number;
}

interface Dispatch {
  /** The outputs it is for; undefined if every call needs it. */
  readonly serves: readonly string[] | undefined;
  readonly pipeline: GPUComputePipeline;
  readonly bindings: GPUBindGroup;
  readonly x: number;
  readonly y: number;
}

interface PlannedStep {
  readonly step: Step;
  readonly kernel: CompiledKernel;
  /** Where its scalars lie in the uniform buffer. */
  readonly uniformOffset: number;
  /** Bound the same whatever the symbols are. */
  readonly isFixed: boolean;
  bindings: GPUBindGroup | undefined;
}

/**
 * The steps of one entry as dispatches. What depends on symbols (which steps run, scalars, grids, offsets) is
 * made anew when their values change; otherwise a call does no more than to encode dispatches.
 */
export class EntryProgram {
  readonly #device: GPUDevice;
  readonly #regions: Readonly<Record<Region, RegionBuffers>>;
  readonly #steps: readonly PlannedStep[];
  readonly #largest: SymbolValues;
  readonly #uniforms: GPUBuffer | undefined;
  readonly #scalars: DataView<ArrayBuffer>;
  #symbols: SymbolValues | undefined;
  #dispatches: readonly Dispatch[] = [];

  constructor(
    device: GPUDevice,
    createUniforms: (bytes: number) => GPUBuffer,
    symbols: Entry["symbols"],
    steps: readonly Step[],
    kernels: ReadonlyMap<string, CompiledKernel>,
    regions: Readonly<Record<Region, RegionBuffers>>,
  ) {
    this.#device = device;
    this.#regions = regions;
    this.#largest = new Map(Object.entries(symbols));
    let end = 0;
    this.#steps = steps.map((step) => {
      const kernel = kernels.get(step.kernel)!;
      const isFixed = step.arguments.every(
        (argument) => argument.kind !== "buffer" || typeof argument.offset === "number",
      );
      const uniformOffset = end;
      end += Math.ceil((4 * kernel.variant.uniforms.length) / TENSOR_ALIGNMENT) * TENSOR_ALIGNMENT;
      return { step, kernel, uniformOffset, isFixed, bindings: undefined };
    });
    this.#scalars = new DataView(new ArrayBuffer(end));
    this.#uniforms = end === 0 ? undefined : createUniforms(end);
  }

  /** Makes ready for values of the symbols; whether anything is new. */
  prepare(symbols: SymbolValues): boolean {
    const last = this.#symbols;
    if (last !== undefined && [...symbols].every(([name, value]) => last.get(name) === value)) return false;
    this.#symbols = new Map(symbols);
    this.#dispatches = this.#steps.flatMap((planned) => {
      const { guard, range, rangeY = 1, serves } = planned.step;
      if (!holds(guard, symbols)) return [];
      const items = evaluate(range, symbols);
      const { kind, variant, pipeline } = planned.kernel;
      const groups = kind === "workgroup" ? items : Math.ceil(items / variant.workgroupSize);
      // A range goes on along the second axis; its kernel leaves out the items past its end.
      const y = kind === "workgroup" ? evaluate(rangeY, symbols) : Math.ceil(groups / MAX_WORKGROUPS);
      if (groups === 0 || y === 0) return [];
      const bindings = this.#bind(planned, symbols, items);
      return [{ serves, pipeline, bindings, x: kind === "workgroup" ? groups : Math.ceil(groups / y), y }];
    });
    if (this.#uniforms !== undefined) this.#device.queue.writeBuffer(this.#uniforms, 0, this.#scalars.buffer);
    return true;
  }

  /** Bytes that `prepare` writes. */
  get uniformBytes(): number {
    return this.#scalars.byteLength;
  }

  /** Adds to a pass what these outputs and the states need; how many dispatches that is. */
  encode(pass: GPUComputePassEncoder, outputs: readonly string[]): number {
    let current: GPUComputePipeline | undefined;
    let count = 0;
    for (const { serves, pipeline, bindings, x, y } of this.#dispatches) {
      if (!isFor(serves, outputs)) continue;
      count++;
      if (pipeline !== current) pass.setPipeline(pipeline);
      current = pipeline;
      pass.setBindGroup(0, bindings);
      pass.dispatchWorkgroups(x, y);
    }
    return count;
  }

  /** Writes a step's scalars and binds its buffers. */
  #bind(planned: PlannedStep, symbols: SymbolValues, items: number): GPUBindGroup {
    const { step, kernel, uniformOffset, isFixed } = planned;
    const { bindings, uniforms } = kernel.variant;
    const argumentOf = (parameter: string) => step.arguments[kernel.parameters.indexOf(parameter)]!;
    const hasOffset = (parameter: string) =>
      uniforms.some((field) => field.kind === "offset" && field.parameter === parameter);
    // Bound for the largest shapes, a step whose offsets do not move is bound once and for all.
    const sizes = isFixed ? this.#largest : symbols;
    const places = new Map(
      bindings.map(({ parameter, element }) => {
        const argument = argumentOf(parameter) as BufferArgument;
        const place = this.#regions[argument.region].locate(evaluate(argument.offset, symbols));
        const slack = hasOffset(parameter) ? place.offset % TENSOR_ALIGNMENT : 0;
        const reach = slack + Math.max(1, evaluate(argument.bytes!, sizes));
        const unit = Math.max(4, element);
        const binding: Binding = {
          buffer: place.buffer,
          offset: place.offset - slack,
          size: Math.ceil(reach / unit) * unit,
        };
        return [parameter, { binding, first: slack / element }];
      }),
    );
    for (const [index, field] of uniforms.entries()) {
      const at = uniformOffset + 4 * index;
      if (field.kind === "range") this.#scalars.setInt32(at, items, true);
      else if (field.kind === "offset") {
        this.#scalars.setInt32(at, places.get(field.parameter)?.first ?? 0, true);
      } else {
        const argument = argumentOf(field.parameter);
        if (argument.kind === "f32") this.#scalars.setFloat32(at, argument.value, true);
        else if (argument.kind === "i32") this.#scalars.setInt32(at, evaluate(argument.value, symbols), true);
      }
    }
    if (planned.bindings !== undefined && isFixed) return planned.bindings;
    const resources = bindings.map(({ parameter }): Binding => places.get(parameter)!.binding);
    if (uniforms.length > 0) {
      resources.push({ buffer: this.#uniforms!, offset: uniformOffset, size: 4 * uniforms.length });
    }
    planned.bindings = this.#device.createBindGroup({
      layout: kernel.layout,
      entries: resources.map((resource, binding) => ({ binding, resource })),
    });
    return planned.bindings;
  }
}
