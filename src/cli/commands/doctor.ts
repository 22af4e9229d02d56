import { spawnSync } from "node:child_process";
import { availableParallelism, cpus, totalmem } from "node:os";
import { formatBytes } from "../../../codegen/schedule/bytes.ts";
import { BitloomError } from "../../../errors/index.ts";
import { wasmFeatures, webgpuFeatures } from "../../../runtime/index.ts";
import { version } from "../../version.ts";

interface Finding {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
  /** What to do about it. */
  readonly advice?: string;
}

/** Tells what this machine can run and what it would take to run more. */
export async function doctor({ json }: { readonly json?: boolean }): Promise<void> {
  const findings = await examine();
  if (json) {
    process.stdout.write(`${JSON.stringify({ version, findings })}\n`);
    return;
  }
  process.stdout.write(`bitloom ${version}\n\n`);
  for (const { name, ok, detail, advice } of findings) {
    process.stdout.write(`  ${ok ? "yes" : "no "}  ${name}: ${detail}\n`);
    if (advice !== undefined) process.stdout.write(`       ${advice}\n`);
  }
}

async function examine(): Promise<Finding[]> {
  const { simd, relaxedSimd, threads } = wasmFeatures();
  const engine = `Node ${process.versions.node}, V8 ${process.versions.v8}`;
  const compiler = spawnSync("nvcc", ["--version"], { encoding: "utf8" });
  const release = /release ([\d.]+)/.exec(compiler.stdout ?? "")?.[1];
  return [
    {
      name: "WebAssembly with SIMD",
      ok: simd,
      detail: engine,
      ...(!simd && { advice: "Use Node 20.19 or newer." }),
    },
    {
      name: "Relaxed SIMD",
      ok: relaxedSimd,
      detail: relaxedSimd
        ? "the int8 dot product is there and computes rightly"
        : "not in this engine; kernels use baseline SIMD, about half as fast",
      ...(!relaxedSimd && { advice: "Use Node 22 or newer." }),
    },
    {
      name: "Threads",
      ok: threads,
      detail: threads
        ? `${availableParallelism()} at once, on ${cpus()[0]?.model ?? "unknown"}`
        : "no shared memory",
    },
    { name: "Memory", ok: true, detail: `${formatBytes(totalmem())}; an artifact may use up to 4.29 GB` },
    await examineGpu(),
    {
      name: "CUDA",
      ok: false,
      detail: `this version of bitloom compiles for WebAssembly and WebGPU only${release ? ` (nvcc ${release} is here)` : ""}`,
    },
  ];
}

async function examineGpu(): Promise<Finding> {
  const name = "WebGPU";
  try {
    const { adapter, isSoftware, subgroups, packedDot, limits } = await webgpuFeatures();
    const features = [
      ...(subgroups ? ["subgroups"] : []),
      ...(packedDot ? ["packed 8-bit dot product"] : []),
      `buffers of ${formatBytes(limits.maxBufferSize)}`,
      `bindings of ${formatBytes(limits.maxStorageBufferBindingSize)}, ${limits.maxStorageBuffersPerShaderStage} a kernel`,
      `workgroups of ${limits.maxComputeInvocationsPerWorkgroup} with ${formatBytes(limits.maxComputeWorkgroupStorageSize)}`,
    ];
    return {
      name,
      ok: !isSoftware,
      detail: `${adapter}: ${features.join(", ")}`,
      ...(isSoftware && {
        advice: "This processor plays the GPU; WebAssembly is faster. Install the GPU's driver.",
      }),
    };
  } catch (error) {
    if (!(error instanceof BitloomError)) throw error;
    const [summary] = error.message.split(" [", 1);
    return { name, ok: false, detail: summary!, advice: error.hint };
  }
}
