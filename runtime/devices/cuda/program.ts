import type { Argument, CudaKernel, Region, Step } from "../../manifest.ts";
import { evaluate, holds, type SymbolValues } from "../../symbols.ts";
import { isFor } from "../steps.ts";
import type { Launch, LaunchArgument } from "./addon.ts";

/** Regions in the order of their numbers. */
export const regionOrder = ["io", "arena", "state", "weights"] as const satisfies readonly Region[];

/** A kernel and its number in the session. */
export interface LoadedKernel {
  readonly kernel: CudaKernel;
  readonly number: number;
}

/** The launches of an entry for values of its symbols, as far as these outputs and the states need them. */
export function planLaunches(
  steps: readonly Step[],
  kernels: ReadonlyMap<string, LoadedKernel>,
  symbols: SymbolValues,
  outputs: readonly string[],
): Launch[] {
  return steps.flatMap((step): Launch[] => {
    if (!holds(step.guard, symbols) || !isFor(step.serves, outputs)) return [];
    const { kernel, number } = kernels.get(step.kernel)!;
    const items = evaluate(step.range, symbols);
    const grid =
      kernel.kind === "workgroup"
        ? ([items, evaluate(step.rangeY ?? 1, symbols)] as const)
        : ([Math.ceil(items / kernel.blockSize), 1] as const);
    if (grid[0] === 0 || grid[1] === 0) return [];
    const values = kernel.launch.map((field) =>
      field.kind === "range"
        ? { i32: items }
        : argumentValue(step.arguments[kernel.parameters.indexOf(field.parameter)]!, symbols),
    );
    return [{ kernel: number, grid, arguments: values }];
  });
}

function argumentValue(argument: Argument, symbols: SymbolValues): LaunchArgument {
  switch (argument.kind) {
    case "buffer":
      return { region: regionOrder.indexOf(argument.region), offset: evaluate(argument.offset, symbols) };
    case "i32":
      return { i32: evaluate(argument.value, symbols) };
    case "f32":
      return { f32: argument.value };
    case "scratch":
      // parseManifest lets a launch name buffers and scalars only.
      throw new RangeError("a GPU's kernel has no scratch memory");
  }
}
