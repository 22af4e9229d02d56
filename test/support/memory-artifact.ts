import type { TargetName } from "../../codegen/schedule/plan.ts";
import { schedule } from "../../codegen/schedule/schedule.ts";
import type { Graph } from "../../ir/graph.ts";
import type { Tensors } from "../../ir/interpret.ts";
import { FORMAT_VERSION, type Manifest } from "../../runtime/manifest.ts";
import { writeCudaTarget } from "../../src/compiler/cuda-target.ts";
import { writeWasmTarget } from "../../src/compiler/wasm-target.ts";
import { writeWebgpuTarget } from "../../src/compiler/webgpu-target.ts";
import { sha256Chunks } from "./fake-artifact.ts";
import { packWeights } from "./run-wasm.ts";

/** The files of an artifact, by path. */
export type ArtifactFiles = Readonly<Record<string, Uint8Array<ArrayBuffer>>>;

/** Compiles the entries of a model into an artifact, as the compiler does but from graphs and in memory. */
export async function memoryArtifact(
  graphs: Readonly<Record<string, Graph>>,
  parameters: Tensors,
  maxThreads: number,
  targets: readonly TargetName[] = ["wasm"],
): Promise<ArtifactFiles> {
  const files: Record<string, Uint8Array<ArrayBuffer>> = {};
  const write = async (path: string, content: string | Uint8Array) => {
    files[path] = new Uint8Array(typeof content === "string" ? new TextEncoder().encode(content) : content);
  };
  const plan = await schedule(graphs, { targets, maxThreads, checks: true });
  const wasm = plan.targets.wasm && (await writeWasmTarget({ write }, plan)).target;
  const webgpu = plan.targets.webgpu && (await writeWebgpuTarget({ write }, plan)).target;
  // As on a machine without nvcc.
  const cuda = plan.targets.cuda && (await writeCudaTarget({ write }, plan, { architectures: [] })).target;
  const bytes = plan.regions.weights;
  const weights = new Uint8Array(bytes);
  for (const piece of packWeights(plan, parameters, 0)) weights.set(piece.bytes, piece.address);
  await write("weights", weights);
  const manifest: Manifest = {
    format: "bitloom",
    formatVersion: FORMAT_VERSION,
    generator: "test",
    name: "test",
    files: Object.entries(files).map(([path, content]) => ({
      path,
      bytes: content.length,
      sha256: sha256Chunks(content),
    })),
    weights: { bytes, shards: [{ path: "weights", dataOffset: 0, bytes, regionOffset: 0 }] },
    regions: { io: plan.regions.io, state: plan.regions.state },
    entries: { ...plan.entries },
    targets: { ...(wasm && { wasm }), ...(webgpu && { webgpu }), ...(cuda && { cuda }) },
  };
  await write("manifest.json", JSON.stringify(manifest));
  return files;
}
