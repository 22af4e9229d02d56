/**
 * Runs graphs on the WebAssembly target inside this process: schedule, render, assemble, and then the plan's
 * steps one kernel call at a time, so that a test can split every step over any number of threads without
 * starting one. Weights are packed by the obvious reference loops.
 */
import type { Plan, PlannedKernel, PlannedState, WeightBuffer } from "../../codegen/schedule/plan.ts";
import { schedule } from "../../codegen/schedule/schedule.ts";
import { evaluate } from "../../codegen/schedule/symbols.ts";
import { assemble } from "../../codegen/targets/wasm/assemble.ts";
import { renderKernelModule } from "../../codegen/targets/wasm/functions.ts";
import { type Graph, topologicalOrder, type Value } from "../../ir/graph.ts";
import { type InterpretResult, interpret, type Tensors } from "../../ir/interpret.ts";
import { allocate, sizeOf, type Tensor, type TensorData } from "../../ir/tensor.ts";
import { type DType, substituteDims } from "../../ir/types.ts";
import type { Argument, Region, Step, TensorSlot } from "../../runtime/manifest.ts";
import { bodyFor } from "../../src/compiler/wasm-target.ts";
import { hasRelaxedSimd } from "./kernel-host.ts";
import { packGroupScales, packTernaryCodes, padTo } from "./pack.ts";
import { type KernelCall, type Recording, replay, type Shares } from "./replay.ts";

export interface WasmTensors {
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly parameters: Tensors;
  /** Absent ones are zero. */
  readonly states?: Readonly<Record<string, Tensor>>;
  /** Values of symbols that no input's or state's shape tells. */
  readonly symbols?: Readonly<Record<string, number>>;
}

export interface WasmOptions extends Partial<Shares> {
  /** Kernels for relaxed SIMD instead of baseline, where this engine has it. */
  readonly relaxed?: boolean;
  /** The outputs asked for; the others are left as they are. All if absent. */
  readonly outputs?: readonly string[];
}

export type Variant = "baseline" | "relaxed";

/** Where an output or the next value of a state lies in the end. */
interface RecordedTensor {
  readonly kind: "outputs" | "states";
  readonly name: string;
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly address: number;
  readonly bytes: number;
}

/** A run of one entry as plain data: replayed by any variant's module, on any engine. */
export interface WasmRecording extends Recording {
  readonly results: readonly RecordedTensor[];
  readonly symbols: Readonly<Record<string, number>>;
}

const PAGE = 65_536;

/** Scheduled graphs and their assembled kernels. */
export class WasmProgram {
  readonly plan: Plan;
  /** The module of each variant; the same bytes where no kernel differs. */
  readonly binaries: Readonly<Record<Variant, Uint8Array<ArrayBuffer>>>;
  readonly #graphs: Readonly<Record<string, Graph>>;
  readonly #modules = new Map<Uint8Array, WebAssembly.Module>();

  private constructor(
    plan: Plan,
    graphs: Readonly<Record<string, Graph>>,
    binaries: Readonly<Record<Variant, Uint8Array<ArrayBuffer>>>,
  ) {
    this.plan = plan;
    this.#graphs = graphs;
    this.binaries = binaries;
  }

  static async compile(graphs: Readonly<Record<string, Graph>>): Promise<WasmProgram> {
    const plan = await schedule(graphs, { targets: ["wasm"], maxThreads: 1 });
    const { kernels } = plan.targets.wasm!;
    const assembled = (variant: Variant) =>
      assemble(variant, renderKernelModule(kernels.map((kernel) => bodyFor(kernel, variant === "relaxed"))));
    const baseline = await assembled("baseline");
    const differ = kernels.some((kernel) => kernel.variants.relaxed !== undefined);
    return new WasmProgram(plan, graphs, {
      baseline,
      relaxed: differ ? await assembled("relaxed") : baseline,
    });
  }

  get kernels(): readonly PlannedKernel[] {
    return this.plan.targets.wasm!.kernels;
  }

  steps(entry: string): readonly Step[] {
    return this.plan.targets.wasm!.plans[entry]!;
  }

  /** Computes what `interpret` computes, from the same tensors. */
  run(entryName: string, tensors: WasmTensors, options: WasmOptions = {}): InterpretResult {
    const { relaxed = false, threads = 1, outputs, ...order } = options;
    const recording = this.record(entryName, tensors, outputs);
    const module = this.#module(relaxed && hasRelaxedSimd() ? "relaxed" : "baseline");
    return replayed(recording, replay(module, recording, { threads, ...order }));
  }

  /** What a run of an entry puts into memory, calls and reads; `outputs` are those asked for. */
  record(entryName: string, tensors: WasmTensors, outputs?: readonly string[]): WasmRecording {
    const { plan } = this;
    const entry = plan.entries[entryName]!;
    const symbols = bindSymbols(this.#graphs[entryName]!, tensors);
    const at = layOut(plan);
    const memoryBytes = padTo(at.end + 1, PAGE);
    const weights = packWeights(plan, tensors.parameters, at.weights);
    const states = plan.states.flatMap(({ name, offset }) => {
      const given = tensors.states?.[name];
      return given === undefined ? [] : [{ address: at.state + offset, bytes: bytesOf(given.data) }];
    });
    const inputs = entry.inputs.map(({ name, offset }) => ({
      address: at.io + offset,
      bytes: bytesOf(tensors.inputs[name]!.data),
    }));

    const kernels = new Map(this.kernels.map((kernel) => [kernel.name, kernel]));
    const calls: KernelCall[] = [];
    for (const step of this.steps(entryName)) {
      const guarded = step.guard && evaluate(step.guard.value, symbols);
      if (guarded !== undefined && (guarded < step.guard!.lower || guarded > step.guard!.upper)) continue;
      if (outputs && step.serves && !step.serves.some((name) => outputs.includes(name))) continue;
      const values = step.arguments.map((argument) => argumentValue(argument, at, symbols));
      requireArity(kernels.get(step.kernel)!, values.length);
      calls.push({ kernel: step.kernel, values, items: evaluate(step.range, symbols) });
    }

    const result =
      (kind: RecordedTensor["kind"], base: number) =>
      ({ name, dtype, dims: symbolic, offset }: TensorSlot | PlannedState): RecordedTensor => {
        const dims = substituteDims(symbolic, symbols) as number[];
        const bytes = allocate(dtype, sizeOf(dims)).byteLength;
        return { kind, name, dtype, dims, address: base + offset, bytes };
      };
    return {
      memoryBytes,
      image: [
        ...weights,
        { address: at.state, bytes: new Uint8Array(plan.regions.state) },
        ...states,
        ...inputs,
      ],
      calls,
      untouchable: [
        ...weights.map(({ name, address, bytes }) => ({ name, begin: address, end: address + bytes.length })),
        { name: "the first page", begin: 0, end: PAGE },
        { name: "what lies behind scratch memory", begin: at.end, end: memoryBytes },
      ],
      results: [
        ...entry.outputs.map(result("outputs", at.io)),
        ...plan.states.map(result("states", at.state)),
      ],
      symbols: Object.fromEntries(symbols),
    };
  }

  #module(variant: Variant): WebAssembly.Module {
    const binary = this.binaries[variant];
    const module = this.#modules.get(binary) ?? new WebAssembly.Module(binary);
    this.#modules.set(binary, module);
    return module;
  }
}

/** The tensors that a replay has left. */
export function replayed(recording: WasmRecording, results: readonly Uint8Array[]): InterpretResult {
  const read = (wanted: RecordedTensor["kind"]) =>
    Object.fromEntries(
      recording.results.flatMap(({ kind, name, dtype, dims }, i) =>
        kind === wanted ? [[name, tensorOf(results[i]!, dtype, dims)]] : [],
      ),
    );
  const symbols = new Map(Object.entries(recording.symbols));
  return { outputs: read("outputs"), states: read("states"), symbols };
}

/** Schedules and runs one graph. */
export async function runWasm(
  graph: Graph,
  tensors: WasmTensors,
  options: WasmOptions = {},
): Promise<InterpretResult> {
  const program = await WasmProgram.compile({ run: graph });
  return program.run("run", tensors, options);
}

function requireArity(kernel: PlannedKernel, given: number): void {
  if (kernel.parameters.length !== given) {
    throw new Error(`${kernel.name} takes ${kernel.parameters.length} arguments and is given ${given}`);
  }
}

type Addresses = Readonly<Record<Region | "scratch" | "end", number>>;

function layOut({ regions, targets }: Plan): Addresses {
  const { arena: temporaries, scratch: perThread } = targets.wasm!;
  // The first page stays free: kernels may address from below a buffer.
  const io = PAGE;
  const arena = padTo(io + regions.io, 64);
  const state = padTo(arena + temporaries.bytes, 64);
  const weights = padTo(state + regions.state, 64);
  const scratch = padTo(weights + regions.weights, 64);
  return { io, arena, state, weights, scratch, end: scratch + perThread };
}

function argumentValue(argument: Argument, at: Addresses, symbols: ReadonlyMap<string, number>): number {
  switch (argument.kind) {
    case "buffer":
      return at[argument.region] + evaluate(argument.offset, symbols);
    case "i32":
      return evaluate(argument.value, symbols);
    case "f32":
      return argument.value;
    case "scratch":
      return at.scratch;
  }
}

/** Values of a graph's symbols, from the shapes of what it is given. */
export function bindSymbols(graph: Graph, tensors: WasmTensors): ReadonlyMap<string, number> {
  const symbols = new Map(Object.entries(tensors.symbols ?? {}));
  for (const { origin, type } of [...graph.inputs, ...graph.states.map(({ value }) => value)]) {
    if (origin.kind !== "input" && origin.kind !== "state") continue;
    const given = origin.kind === "input" ? tensors.inputs[origin.name] : tensors.states?.[origin.name];
    type.dims.forEach((dim, axis) => {
      const size = given?.type.dims[axis];
      if (typeof dim === "string" && size !== undefined) symbols.set(dim, size);
    });
  }
  return symbols;
}

/** The bytes of every weight, from the interpreter's values of the build-time expressions. */
export function packWeights(
  plan: Plan,
  parameters: Tensors,
  base: number,
): { readonly name: string; readonly address: number; readonly bytes: Uint8Array }[] {
  const outputs = plan.weights.map(({ value }, i) => ({ name: String(i), value }));
  const empty: Graph = {
    name: "weights",
    symbols: new Map(),
    inputs: [],
    parameters: [],
    states: [],
    outputs,
  };
  const operands = topologicalOrder(empty).flatMap((node) => node.operands);
  const leaves = [...operands, ...outputs.map(({ value }) => value)].filter(isParameter);
  const values = interpret(
    { ...empty, parameters: [...new Set(leaves)] },
    { inputs: {}, parameters },
  ).outputs;
  return plan.weights.map((weight, i) => {
    const bytes = new Uint8Array(weight.bytes);
    bytes.set(bytesOf(packOne(weight, values[i]!)));
    return { name: weight.name, address: base + weight.offset, bytes };
  });
}

function isParameter({ origin }: Value): boolean {
  return origin.kind === "parameter";
}

function packOne({ layout, value }: WeightBuffer, tensor: Tensor): TensorData {
  const [n = 1, k = 1] = tensor.type.dims;
  const scale = value.type.encoding?.scale;
  const group = typeof scale === "object" ? scale.group : k;
  const codes = tensor.data as Int8Array;
  switch (layout) {
    case "ternary-codes":
      return packTernaryCodes(codes, n, k, group);
    case "ternary-scales": {
      const scales = scale === "tensor" ? new Float32Array(n).fill(tensor.scales![0]!) : tensor.scales!;
      return packGroupScales(scales, n, Math.ceil(k / group));
    }
    case "int8-codes":
      return codes;
    case "int8-scales":
      return tensor.scales!;
    case "dense":
      return tensor.data;
  }
}

export function bytesOf(data: TensorData): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

export function tensorOf(bytes: Uint8Array, dtype: DType, dims: readonly number[]): Tensor {
  const data = allocate(dtype, sizeOf(dims));
  bytesOf(data).set(bytes);
  return { type: { dtype, dims }, data };
}
