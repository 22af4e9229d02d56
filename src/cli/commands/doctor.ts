import { spawnSync } from "node:child_process";
import { availableParallelism, cpus, totalmem } from "node:os";
import { formatBytes } from "../../../codegen/schedule/bytes.ts";
import { wasmFeatures } from "../../../runtime/index.ts";
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
  const findings = examine();
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

function examine(): Finding[] {
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
    {
      name: "WebGPU",
      ok: false,
      detail: "this version of bitloom compiles for WebAssembly only",
    },
    {
      name: "CUDA",
      ok: false,
      detail: `this version of bitloom compiles for WebAssembly only${release ? ` (nvcc ${release} is here)` : ""}`,
    },
  ];
}
