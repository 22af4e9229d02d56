import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { TargetName } from "../../codegen/schedule/plan.ts";
import { BitloomError } from "../../errors/index.ts";
import { findMachine } from "../../runtime/devices/cuda/machine.ts";
import { type LoadOptions, load, type Model, wasmFeatures, webgpuFeatures } from "../../runtime/index.ts";
import { isDevicesFault } from "../../runtime/load.ts";
import { DEFAULT_MAX_THREADS, WASM_MAX_THREADS } from "../../runtime/manifest.ts";
import type { AnyModel } from "../dsl/model.ts";
import { invalidOption } from "../dsl/options.ts";
import {
  type CompileTrainingOptions,
  compileTraining,
  lowerTheStep,
  whereShort,
} from "./compile-training.ts";
import { defaultWarning, type OnTrainingWarning } from "./warning.ts";

/** What a step takes. */
export interface CompiledStep {
  /** Of parameters, what the optimizer keeps, gradients and activations. */
  readonly memoryBytes: number;
  /** Whether activations are computed again for the gradients. */
  readonly recomputes: boolean;
}

export interface OpenStepOptions extends Pick<LoadOptions, "device" | "threads" | "signal"> {
  /** Takes the artifact; it may go as soon as the model is there. */
  readonly folder: string;
  readonly onCompiled?: (step: CompiledStep) => void;
  readonly onWarning?: OnTrainingWarning;
}

/**
 * Compiles a training's step and loads it: for the device asked for, `wasm` if none is, or the fastest of this machine
 * that can run it. Where the step computes activations again as memory demands, it does where the device has too little.
 * @throws BitloomError INVALID_OPTION, and those of `compileTraining` and `load`; LIMIT_EXCEEDED and OUT_OF_MEMORY say
 *   what to lower
 */
export async function openStep(
  model: AnyModel,
  step: Omit<CompileTrainingOptions, "out" | "targets">,
  options: OpenStepOptions,
): Promise<Model> {
  const { device = "wasm", folder, signal, onCompiled, onWarning = defaultWarning } = options;
  const { threads = Math.min(availableParallelism(), DEFAULT_MAX_THREADS) } = options;
  if (!["auto", "cuda", "webgpu", "wasm"].includes(device)) {
    throw invalidOption("device", '"auto", "cuda", "webgpu" or "wasm"', device);
  }
  if (!Number.isInteger(threads) || threads < 1 || threads > WASM_MAX_THREADS) {
    throw invalidOption("threads", `a whole number from 1 to ${WASM_MAX_THREADS}`, threads);
  }
  const open = async (name: TargetName, recompute = step.recompute ?? "auto"): Promise<Model> => {
    const out = join(folder, name);
    const here = { targets: [name], maxThreads: threads, engine: wasmFeatures() };
    const more = { recompute, ...here, ...(signal && { signal }) };
    const { recomputes, targets } = await compileTraining(model, { ...step, out, ...more });
    onCompiled?.({ recomputes, memoryBytes: targets[0]!.memoryBytes });
    return load(out, { device: name, threads, signal, onWarning }).catch((error) =>
      recompute === "auto" && !recomputes
        ? whereShort(error, () => open(name, true))
        : lowerTheStep(error, recompute !== false),
    );
  };
  if (device !== "auto") return open(device);
  for (const name of await gpusHere()) {
    try {
      return await open(name);
    } catch (error) {
      if (!mayRunElsewhere(error)) throw error;
      const message = `Not training on ${name}: ${error.message.split("\n", 1)[0]}.`;
      onWarning({ code: name === "cuda" ? "NO_CUDA" : "NO_WEBGPU", message });
    }
  }
  return open("wasm");
}

/** The GPUs of this machine that can train, the fastest first. */
async function gpusHere(): Promise<readonly ("cuda" | "webgpu")[]> {
  const [cuda, webgpu] = await Promise.all([
    findMachine().then(() => true, absent),
    webgpuFeatures().then(({ isSoftware }) => !isSoftware, absent),
  ]);
  return [...(cuda ? (["cuda"] as const) : []), ...(webgpu ? (["webgpu"] as const) : [])];
}

function absent(error: unknown): false {
  if (error instanceof BitloomError && error.code === "NO_DEVICE") return false;
  throw error;
}

/** Whether another device might do what this one did not, or another target's kernels. */
function mayRunElsewhere(error: unknown): error is BitloomError {
  return isDevicesFault(error) || (error instanceof BitloomError && error.code === "UNSUPPORTED_OP");
}
