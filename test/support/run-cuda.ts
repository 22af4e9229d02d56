/**
 * Runs graphs on the CUDA target, on a card where there is one and otherwise on the processor: schedule, render, compile
 * with nvcc or g++, and then the plan's steps as an artifact describes them, with nothing kept from one run to the next
 * but libraries.
 */
import { createHash } from "node:crypto";
import { availableParallelism } from "node:os";
import type { Plan } from "../../codegen/schedule/plan.ts";
import { schedule } from "../../codegen/schedule/schedule.ts";
import type { Graph } from "../../ir/graph.ts";
import type { InterpretResult } from "../../ir/interpret.ts";
import { allocate, sizeOf, type Tensor } from "../../ir/tensor.ts";
import { substituteDims } from "../../ir/types.ts";
import { planLaunches, regionOrder } from "../../runtime/devices/cuda/program.ts";
import type { CudaKernel, CudaTarget, Region } from "../../runtime/manifest.ts";
import { writeCudaTarget } from "../../src/compiler/cuda-target.ts";
import { buildCubin, CardRunner } from "./cuda/card-runner.ts";
import { missingTools, openSession, realCard } from "./cuda/fake-driver.ts";
import { buildHostLibrary, type HostKernel } from "./cuda/host-library.ts";
import { type HostLaunch, HostRunner, type Runner } from "./cuda/runner.ts";
import { bindSymbols, bytesOf, packWeights, tensorOf, type WasmTensors } from "./run-wasm.ts";

type Symbols = ReadonlyMap<string, number>;

/** What runs kernels, and the libraries they are in. */
export class CudaHost {
  readonly runner: Runner;
  readonly #build: (kernels: readonly HostKernel[]) => Promise<string>;
  /** By what is unique to a kernel: its text. */
  readonly #libraries = new Map<string, Promise<string>>();

  /** @param build compiles kernels to a library that the runner reads, and gives its path */
  constructor(runner: Runner, build: (kernels: readonly HostKernel[]) => Promise<string>) {
    this.runner = runner;
    this.#build = build;
  }

  /** @throws that there is no compiler */
  static async open(): Promise<CudaHost> {
    const card = missingTools === undefined ? await realCard() : undefined;
    if (card === undefined) return new CudaHost(await HostRunner.open(), buildHostLibrary);
    const session = await openSession(card.environment);
    return new CudaHost(new CardRunner(session), (kernels) => buildCubin(kernels, card.architecture));
  }

  /** Whether kernels run on a card, and not on the processor. */
  get hasCard(): boolean {
    return this.runner instanceof CardRunner;
  }

  /** Compiles what is not compiled yet, many kernels at a time. */
  async prepare(kernels: Iterable<HostKernel>): Promise<void> {
    const missing = new Map<string, HostKernel>();
    for (const kernel of kernels) {
      const name = uniqueName(kernel);
      if (!this.#libraries.has(name)) missing.set(name, { ...kernel, name });
    }
    const all = [...missing];
    const batches: Promise<string>[] = [];
    for (let i = 0; i < all.length; i += BATCH) {
      const batch = all.slice(i, i + BATCH);
      const library = this.#build(batch.map(([, kernel]) => kernel));
      for (const [name] of batch) this.#libraries.set(name, library);
      batches.push(library);
      if (batches.length % availableParallelism() === 0) await Promise.all(batches);
    }
    await Promise.all(batches);
  }

  async find(kernel: HostKernel): Promise<{ readonly library: string; readonly kernel: string }> {
    await this.prepare([kernel]);
    const name = uniqueName(kernel);
    return { library: await this.#libraries.get(name)!, kernel: name };
  }

  close(): void | Promise<void> {
    return this.runner.close();
  }
}

/** Kernels that one run of the compiler takes. */
const BATCH = 24;

function uniqueName({ entryPoint, text }: HostKernel): string {
  return `${entryPoint}_${createHash("sha256").update(text).digest("hex").slice(0, 16)}`;
}

export class CudaProgram {
  readonly plan: Plan;
  readonly target: CudaTarget;
  readonly #graphs: Readonly<Record<string, Graph>>;
  readonly #sources: ReadonlyMap<string, string>;
  readonly #host: CudaHost;

  private constructor(
    plan: Plan,
    target: CudaTarget,
    graphs: Readonly<Record<string, Graph>>,
    sources: ReadonlyMap<string, string>,
    host: CudaHost,
  ) {
    this.plan = plan;
    this.target = target;
    this.#graphs = graphs;
    this.#sources = sources;
    this.#host = host;
  }

  static async compile(graphs: Readonly<Record<string, Graph>>, host: CudaHost): Promise<CudaProgram> {
    const plan = await schedule(graphs, { targets: ["cuda"], maxThreads: 1 });
    const sources = new Map<string, string>();
    const write = async (path: string, content: string | Uint8Array) => {
      sources.set(path, content as string);
    };
    const { target } = await writeCudaTarget({ write }, plan, { architectures: [] });
    return new CudaProgram(plan, target, graphs, sources, host);
  }

  get kernels(): readonly HostKernel[] {
    return this.target.kernels.map((kernel) => this.#hostKernel(kernel));
  }

  #hostKernel({ source, entryPoint, blockSize }: CudaKernel): HostKernel {
    return { text: this.#sources.get(source)!, entryPoint, blockSize };
  }

  /** Computes what `interpret` computes, from the same tensors. */
  async run(entryName: string, tensors: WasmTensors): Promise<InterpretResult> {
    const { plan, target } = this;
    const entry = plan.entries[entryName]!;
    const symbols = bindSymbols(this.#graphs[entryName]!, tensors);
    const sizes = { ...plan.regions, arena: target.arena };
    const region = (name: Region) => regionOrder.indexOf(name);
    const states = plan.states.map(({ name, offset, bytes }) => {
      const given = tensors.states?.[name];
      const data = given === undefined ? new Uint8Array(bytes) : bytesOf(given.data);
      return { region: region("state"), offset, bytes: data };
    });
    const launches: HostLaunch[] = [];
    await this.#host.prepare(this.kernels);
    const numbered = new Map(target.kernels.map((kernel, number) => [kernel.name, { kernel, number }]));
    const outputs = entry.outputs.map(({ name }) => name);
    for (const { kernel: number, ...launch } of planLaunches(
      target.plans[entryName]!,
      numbered,
      symbols,
      outputs,
    )) {
      const kernel = target.kernels[number]!;
      const found = await this.#host.find(this.#hostKernel(kernel));
      launches.push({ ...launch, ...found, blockSize: kernel.blockSize });
    }
    const results = this.#results(entryName, symbols);
    const bytes = await this.#host.runner.run({
      regions: regionOrder.map((name) => sizes[name]),
      writes: [
        ...packWeights(plan, tensors.parameters, 0).map(({ address, bytes }) => ({
          region: region("weights"),
          offset: address,
          bytes,
        })),
        ...entry.inputs.map(({ name, offset }) => ({
          region: region("io"),
          offset,
          bytes: bytesOf(tensors.inputs[name]!.data),
        })),
        ...states,
      ],
      launches,
      reads: results.map(({ dtype, dims, region: name, offset }) => ({
        region: region(name),
        offset,
        bytes: allocate(dtype, sizeOf(dims)).byteLength,
      })),
    });
    const read: Record<"outputs" | "states", Record<string, Tensor>> = { outputs: {}, states: {} };
    for (const [i, { kind, name, dtype, dims }] of results.entries()) {
      read[kind][name] = tensorOf(bytes[i]!, dtype, dims);
    }
    return { ...read, symbols };
  }

  #results(entryName: string, symbols: Symbols) {
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
}
