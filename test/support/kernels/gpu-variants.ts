/** Specializations of templates/gpu, each compiled once, and whether subgroups are used in them. */
import { add, buffer, intrinsic, load, local, mul, scalar } from "../../../codegen/kernel/build.ts";
import type { OptionValue } from "../../../codegen/kernel/frontend.ts";
import type { InlineFunction } from "../../../codegen/kernel/ir.ts";
import type { WgslOptions } from "../../../codegen/targets/wgsl/render.ts";
import { GpuHost, type GpuKernel } from "../gpu-host.ts";
import { inline } from "../kernel-host.ts";

/** With subgroup operations, whatever the size of subgroups, and without. */
export const subgroupVariants = [true, false] as const;

let host: Promise<GpuHost> | undefined;
const compiled = new Map<string, Promise<GpuKernel>>();

/** Like `GpuHost.compile`, once for equal arguments and on one device for a test file. */
export async function gpuKernel(
  file: string,
  name: string,
  options: { readonly [option: string]: OptionValue },
  wgsl: WgslOptions = {},
): Promise<GpuKernel> {
  const key = JSON.stringify([file, name, options, wgsl]);
  let kernel = compiled.get(key);
  if (kernel === undefined) {
    host ??= GpuHost.open();
    kernel = (await host).compile(file, name, options, wgsl);
    compiled.set(key, kernel);
  }
  return kernel;
}

const position = [
  ["row", "i32"],
  ["column", "i32"],
] as const;

/** The value at (row, column) of the argument `x` with `xStride` elements between rows: one kernel for all rows. */
export const stridedPrologue: InlineFunction = (() => {
  const x = buffer("x", "f32");
  const index = add(mul(local("row", "i32"), local("xStride", "i32")), local("column", "i32"));
  return inline(position, load(x, index), [x, scalar("xStride")]);
})();

/** Stores an accumulator as it is, an integer one by its bits. */
export function storedAcc(type: "i32" | "f32"): InlineFunction {
  const acc = local("acc", type);
  const result = type === "f32" ? acc : intrinsic("bits.i32ToF32", [acc]);
  return inline([["acc", type], ...position], result);
}
