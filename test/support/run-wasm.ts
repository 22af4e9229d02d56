/**
 * Runs graphs on the WebAssembly target inside this process: schedule, render, assemble, and then the plan's
 * steps one kernel call at a time, so that a test can split every step over any number of threads without
 * starting one. Weights are packed by the obvious reference loops.
 */
import type { KernelFunction } from "../../codegen/kernel/ir.ts";
import type { Plan, WeightBuffer } from "../../codegen/schedule/plan.ts";
import { schedule } from "../../codegen/schedule/schedule.ts";
import { evaluate } from "../../codegen/schedule/symbols.ts";
import { assemble } from "../../codegen/targets/wasm/assemble.ts";
import { renderKernelModule } from "../../codegen/targets/wasm/functions.ts";
import { type Graph, topologicalOrder, type Value } from "../../ir/graph.ts";
import { type InterpretResult, interpret, type Tensors } from "../../ir/interpret.ts";
import { allocate, sizeOf, type Tensor, type TensorData } from "../../ir/tensor.ts";
import type { Dim, DType } from "../../ir/types.ts";
import { substituteDims } from "../../ir/types.ts";
import type { Argument, Region } from "../../runtime/manifest.ts";
import { hasRelaxedSimd } from "./kernel-host.ts";
import { packGroupScales, packTernaryCodes, padTo } from "./pack.ts";

export interface WasmTensors {
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly parameters: Tensors;
  /** Absent ones are zero. */
  readonly states?: Readonly<Record<string, Tensor>>;
  /** Values of symbols that no input's or state's shape tells. */
  readonly symbols?: Readonly<Record<string, number>>;
}

export interface WasmOptions {
  /** Kernels for relaxed SIMD instead of baseline, where this engine has it. */
  readonly relaxed?: boolean;
  /** Into how many shares every step's range is cut. */
  readonly threads?: number;
}

type Kernel = (...values: number[]) => void;

const PAGE = 65_536;
/** Fills memory no step has written: a kernel that reads it gives results no test mistakes for right ones. */
const JUNK = 0xa7;

/** Scheduled graphs and their compiled kernels. */
export class WasmProgram {
  readonly plan: Plan;
  readonly #graphs: Readonly<Record<string, Graph>>;
  readonly #modules: Readonly<Record<"baseline" | "relaxed", WebAssembly.Module>>;

  private constructor(
    plan: Plan,
    graphs: Readonly<Record<string, Graph>>,
    modules: Readonly<Record<"baseline" | "relaxed", WebAssembly.Module>>,
  ) {
    this.plan = plan;
    this.#graphs = graphs;
    this.#modules = modules;
  }

  static async compile(graphs: Readonly<Record<string, Graph>>): Promise<WasmProgram> {
    const plan = await schedule(graphs, { target: "wasm", maxThreads: 1 });
    const compile = async (variant: "baseline" | "relaxed") =>
      new WebAssembly.Module(
        await assemble(variant, renderKernelModule(plan.kernels.map((kernel) => kernel[variant]))),
      );
    const baseline = await compile("baseline");
    const differ = plan.kernels.some((kernel) => kernel.baseline !== kernel.relaxed);
    return new WasmProgram(plan, graphs, {
      baseline,
      relaxed: differ && hasRelaxedSimd() ? await compile("relaxed") : baseline,
    });
  }

  /** Computes what `interpret` computes, from the same tensors. */
  run(entryName: string, tensors: WasmTensors, options: WasmOptions = {}): InterpretResult {
    const { plan } = this;
    const graph = this.#graphs[entryName]!;
    const entry = plan.entries[entryName]!;
    const symbols = bindSymbols(graph, tensors);
    const at = layOut(plan);
    const memory = new WebAssembly.Memory({ initial: Math.ceil((at.end + 1) / PAGE), maximum: PAGE });
    const bytes = new Uint8Array(memory.buffer);
    bytes.fill(JUNK);
    const weights = packWeights(plan, tensors.parameters);
    for (const weight of weights) bytes.set(weight.bytes, at.weights + weight.offset);
    bytes.fill(0, at.state, at.state + plan.regions.state);
    for (const { name, offset } of plan.states) {
      const given = tensors.states?.[name];
      if (given !== undefined) bytes.set(bytesOf(given.data), at.state + offset);
    }
    for (const slot of entry.inputs) bytes.set(bytesOf(tensors.inputs[slot.name]!.data), at.io + slot.offset);

    const module = this.#modules[options.relaxed ? "relaxed" : "baseline"];
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    const kernels = new Map(plan.kernels.map((kernel) => [kernel.name, kernel.baseline]));
    const threads = options.threads ?? 1;
    for (const step of entry.steps) {
      const guarded = step.guard && evaluate(step.guard.value, symbols);
      if (guarded !== undefined && (guarded < step.guard!.lower || guarded > step.guard!.upper)) continue;
      const values = step.arguments.map((argument) => argumentValue(argument, at, symbols));
      const range = evaluate(step.range, symbols);
      const kernel = exports[step.kernel] as Kernel;
      for (let thread = 0; thread < threads; thread++) {
        const begin = Math.floor((range * thread) / threads);
        const end = Math.floor((range * (thread + 1)) / threads);
        if (begin < end) kernel(...values, begin, end);
      }
      requireArity(kernels.get(step.kernel)!, values.length);
    }
    for (const weight of weights) {
      requireIntact(bytes, at.weights + weight.offset, weight.bytes, weight.name);
    }
    requireIntact(bytes, 0, new Uint8Array(PAGE).fill(JUNK), "the first page");
    requireIntact(bytes, at.end, new Uint8Array(bytes.length - at.end).fill(JUNK), "behind scratch memory");
    const read = (base: number, dtype: DType, dims: readonly Dim[]): Tensor =>
      readTensor(memory.buffer, base, dtype, substituteDims(dims, symbols) as number[]);
    const outputs = entry.outputs.map((slot) => [
      slot.name,
      read(at.io + slot.offset, slot.dtype, slot.dims),
    ]);
    const states = plan.states.map((state) => [
      state.name,
      read(at.state + state.offset, state.dtype, state.dims),
    ]);
    return { outputs: Object.fromEntries(outputs), states: Object.fromEntries(states), symbols };
  }
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

function requireArity(kernel: KernelFunction, given: number): void {
  if (kernel.parameters.length !== given + 2) {
    throw new Error(`${kernel.name} takes ${kernel.parameters.length - 2} arguments and is given ${given}`);
  }
}

/** Fails if a step wrote where none may. */
function requireIntact(memory: Uint8Array, address: number, expected: Uint8Array, what: string): void {
  const found = memory.subarray(address, address + expected.length);
  if (Buffer.compare(found, expected) !== 0) throw new Error(`a kernel wrote to ${what}`);
}

type Addresses = Readonly<Record<Region | "scratch" | "end", number>>;

function layOut({ regions }: Plan): Addresses {
  // The first page stays free: kernels may address from below a buffer.
  const io = PAGE;
  const arena = padTo(io + regions.io, 64);
  const state = padTo(arena + regions.arena, 64);
  const weights = padTo(state + regions.state, 64);
  const scratch = padTo(weights + regions.weights, 64);
  return { io, arena, state, weights, scratch, end: scratch + regions.scratch };
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

function bindSymbols(graph: Graph, tensors: WasmTensors): ReadonlyMap<string, number> {
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
function packWeights(
  plan: Plan,
  parameters: Tensors,
): { readonly name: string; readonly offset: number; readonly bytes: Uint8Array }[] {
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
    return { name: weight.name, offset: weight.offset, bytes };
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

function bytesOf(data: TensorData): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function readTensor(buffer: ArrayBuffer, address: number, dtype: DType, dims: readonly number[]): Tensor {
  const data = allocate(dtype, sizeOf(dims));
  bytesOf(data).set(new Uint8Array(buffer, address, data.byteLength));
  return { type: { dtype, dims }, data };
}
