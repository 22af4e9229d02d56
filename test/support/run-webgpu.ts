/** Runs graphs on the WebGPU target: schedule, render, and then recorded calls of the runtime's device. */
import type { TargetLimits } from "../../codegen/schedule/limits.ts";
import type { Plan, PlannedState } from "../../codegen/schedule/plan.ts";
import { schedule } from "../../codegen/schedule/schedule.ts";
import type { Graph } from "../../ir/graph.ts";
import type { InterpretResult } from "../../ir/interpret.ts";
import { allocate, sizeOf, type Tensor } from "../../ir/tensor.ts";
import { substituteDims } from "../../ir/types.ts";
import { FORMAT_VERSION, type Manifest, type TensorSlot, type WebgpuTarget } from "../../runtime/manifest.ts";
import { writeWebgpuTarget } from "../../src/compiler/webgpu-target.ts";
import { wgslTier } from "./comparisons.ts";
import type { WebgpuFeature, WebgpuReplayer } from "./replay-webgpu.ts";
import { bindSymbols, bytesOf, packWeights, tensorOf, type WasmTensors } from "./run-wasm.ts";
import type { Trial } from "./trials.ts";

/** What is read before it is written is not a number. */
const JUNK = 0xff;

export class WebgpuProgram {
  readonly plan: Plan;
  readonly target: WebgpuTarget;
  readonly #graphs: Readonly<Record<string, Graph>>;
  readonly #sources: Readonly<Record<string, string>>;
  readonly #gpu: WebgpuReplayer;

  private constructor(
    plan: Plan,
    target: WebgpuTarget,
    graphs: Readonly<Record<string, Graph>>,
    sources: Readonly<Record<string, string>>,
    gpu: WebgpuReplayer,
  ) {
    this.plan = plan;
    this.target = target;
    this.#graphs = graphs;
    this.#sources = sources;
    this.#gpu = gpu;
  }

  static async compile(
    graphs: Readonly<Record<string, Graph>>,
    gpu: WebgpuReplayer,
    limits: Partial<TargetLimits> = {},
  ): Promise<WebgpuProgram> {
    const plan = await schedule(graphs, { targets: ["webgpu"], maxThreads: 1, limits });
    const sources: Record<string, string> = {};
    const write = async (path: string, content: string | Uint8Array) => {
      sources[path] = content as string;
    };
    const { target } = await writeWebgpuTarget({ write }, plan);
    return new WebgpuProgram(plan, target, graphs, sources, gpu);
  }

  /** Computes what `interpret` computes, from the same tensors, with kernels that need no more than `features`. */
  async run(
    entryName: string,
    tensors: WasmTensors,
    features: readonly WebgpuFeature[] = this.#gpu.features,
  ): Promise<InterpretResult> {
    const { regions, entries, states } = this.plan;
    const entry = entries[entryName]!;
    const symbols = bindSymbols(this.#graphs[entryName]!, tensors);
    const image = {
      io: new Uint8Array(regions.io).fill(JUNK),
      state: new Uint8Array(regions.state),
      weights: new Uint8Array(regions.weights).fill(JUNK),
    };
    for (const { address, bytes } of packWeights(this.plan, tensors.parameters, 0)) {
      image.weights.set(bytes, address);
    }
    for (const { name, offset } of entry.inputs) image.io.set(bytesOf(tensors.inputs[name]!.data), offset);
    for (const { name, offset } of states) {
      const given = tensors.states?.[name];
      if (given !== undefined) image.state.set(bytesOf(given.data), offset);
    }
    const bound = ({ name, dtype, dims: symbolic, offset }: TensorSlot | PlannedState) => {
      const dims = substituteDims(symbolic, symbols) as number[];
      return { name, dtype, dims, offset, bytes: allocate(dtype, sizeOf(dims)).byteLength };
    };
    const outputs = entry.outputs.map(bound);
    const received = await this.#gpu.replay({
      manifest: this.#manifest(),
      sources: this.#sources,
      features,
      entry: entryName,
      symbols: Object.fromEntries(symbols),
      image,
      outputs: outputs.map(({ name, offset, bytes }) => ({ name, offset, bytes })),
    });
    const next = states
      .map(bound)
      .map(({ name, dtype, dims, offset, bytes }): [string, Tensor] => [
        name,
        tensorOf(received.state.subarray(offset, offset + bytes), dtype, dims),
      ]);
    return {
      outputs: Object.fromEntries(
        outputs.map(({ name, dtype, dims }, i) => [name, tensorOf(received.outputs[i]!, dtype, dims)]),
      ),
      states: Object.fromEntries(next),
      symbols,
    };
  }

  /** As much of a manifest as a device reads. */
  #manifest(): Manifest {
    const { regions, entries } = this.plan;
    return {
      format: "bitloom",
      formatVersion: FORMAT_VERSION,
      generator: "test",
      name: "test",
      files: [],
      weights: { bytes: regions.weights, shards: [] },
      regions: { io: regions.io, state: regions.state },
      entries: { ...entries },
      targets: { webgpu: this.target },
    };
  }
}

/** Attempts a trial with kernels for all that the device can do, and with those that every device can where they differ. */
export async function attemptOn(
  gpu: WebgpuReplayer,
  { graphs, runs, check }: Trial,
  limits?: Partial<TargetLimits>,
): Promise<void> {
  const program = await WebgpuProgram.compile(graphs, gpu, limits);
  const differ = program.target.kernels.some(({ variants }) => variants.length > 1);
  for (const features of differ ? [gpu.features, []] : [[]]) {
    const received = [];
    for (const { entry, tensors } of runs) received.push(await program.run(entry, tensors, features));
    check(received, wgslTier);
  }
}
