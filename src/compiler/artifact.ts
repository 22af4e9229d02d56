import type { Plan, TargetName } from "../../codegen/schedule/plan.ts";
import { targetNames } from "../../codegen/schedule/schedule.ts";
import { throwIfAborted } from "../../runtime/abort.ts";
import type { WasmFeatures } from "../../runtime/index.ts";
import { FORMAT_VERSION, type Manifest } from "../../runtime/manifest.ts";
import { checkManifest } from "../../runtime/parse-manifest.ts";
import type { ParameterSource } from "../checkpoint/source.ts";
import { version } from "../version.ts";
import { ArtifactFolder } from "./artifact-folder.ts";
import { writeCudaTarget } from "./cuda-target.ts";
import { formatManifest } from "./format-manifest.ts";
import { weightFiller } from "./prepare/index.ts";
import { writeWasmTarget } from "./wasm-target.ts";
import { writeWebgpuTarget } from "./webgpu-target.ts";
import { writeWeights } from "./weights-file.ts";

export interface CompileProgress {
  readonly stage: string;
  /** Bytes of the stage done and to do, where they are known. */
  readonly loaded?: number;
  readonly total?: number;
}

/** What a build made for one target. */
export interface TargetReport {
  readonly name: TargetName;
  /** Kernels, and the bytes of them that a device loads. */
  readonly kernels: { readonly count: number; readonly bytes: number };
  /** Bytes of device memory with every symbol at its bound. */
  readonly memoryBytes: number;
  /** Kernels that loading does not check, since no small graph was found that runs them. */
  readonly unchecked: readonly string[];
  /** What people should know besides. */
  readonly note?: string;
}

/** What an artifact holds beside its plan. */
export interface ArtifactContent {
  readonly out: string;
  readonly name: string;
  /** Where the parameters come from. */
  readonly weights: ParameterSource;
  readonly cudaArchitectures: readonly string[];
  /** Further files by name. */
  readonly files: Readonly<Record<string, string | Uint8Array>>;
  readonly languageModel?: NonNullable<Manifest["languageModel"]>;
  /** The one engine that will run the artifact on WebAssembly, with as many threads as the plan has room for. */
  readonly engine?: WasmFeatures;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: CompileProgress) => void;
}

export interface WrittenArtifact {
  readonly targets: readonly TargetReport[];
  /** When the kernels were done and the weights began, as `performance.now()` has it. */
  readonly targetsAt: number;
}

/**
 * Writes a plan as an artifact folder: kernels, packed weights, manifest. The folder appears whole when everything has
 * been written; a failure leaves nothing behind.
 * @throws BitloomError of the weights, WRITE_FAILED, ABORTED
 */
export async function writeArtifact(plan: Plan, content: ArtifactContent): Promise<WrittenArtifact> {
  const { out, name, weights, files, languageModel, signal, onProgress } = content;
  throwIfAborted(signal);
  const folder = await ArtifactFolder.create(out);
  try {
    const written = await writeTargets(folder, plan, content);
    const targetsAt = performance.now();

    const fill = await weightFiller(weights);
    const total = plan.regions.weights;
    const packed = await writeWeights(folder, plan, async (buffer, write) => {
      let loaded = buffer.offset;
      await fill(buffer, async (bytes) => {
        throwIfAborted(signal);
        await write(bytes);
        loaded += bytes.length;
        onProgress?.({ stage: "packing weights", loaded, total });
      });
    });
    for (const [name, text] of Object.entries(files)) await folder.write(name, text);

    const states = namedStates(plan);
    const manifest: Manifest = {
      format: "bitloom",
      formatVersion: FORMAT_VERSION,
      generator: `bitloom ${version}`,
      name,
      files: [...folder.files],
      weights: packed,
      regions: { io: plan.regions.io, state: plan.regions.state },
      ...(states.length > 0 && { states }),
      entries: { ...plan.entries },
      targets: written.targets,
      ...(languageModel && { languageModel }),
    };
    // What every load asks of a manifest, asked once before anyone can load it.
    checkManifest(manifest);
    await folder.write("manifest.json", formatManifest(manifest));
    throwIfAborted(signal);
    await folder.commit();
    return { targets: written.reports, targetsAt };
  } catch (error) {
    await folder.discard();
    throw error;
  }
}

/** States that have one shape in every call. */
function namedStates({ states }: Plan): NonNullable<Manifest["states"]> {
  return states.flatMap(({ name, dtype, dims, offset, bytes }) =>
    dtype === "bool" || dims.some((dim) => typeof dim === "string")
      ? []
      : [{ name, dtype, dims: [...dims], offset, bytes }],
  );
}

/** Writes what each planned target needs. */
async function writeTargets(
  folder: ArtifactFolder,
  plan: Plan,
  { cudaArchitectures: architectures, engine, signal, onProgress }: ArtifactContent,
) {
  const nvcc = { architectures, ...(signal && { signal }), ...(onProgress && { onProgress }) };
  const wasm = plan.targets.wasm && (await writeWasmTarget(folder, plan, engine));
  const webgpu = plan.targets.webgpu && (await writeWebgpuTarget(folder, plan));
  const cuda = plan.targets.cuda && (await writeCudaTarget(folder, plan, nvcc));
  const targets: Manifest["targets"] = {
    ...(wasm && { wasm: wasm.target }),
    ...(webgpu && { webgpu: webgpu.target }),
    ...(cuda && { cuda: cuda.target }),
  };
  const reports = targetNames.flatMap((name): TargetReport[] => {
    const written = { wasm, webgpu, cuda }[name];
    if (written === undefined) return [];
    const { target, kernelBytes, memoryBytes } = written;
    const kernels = { count: target.kernels.length, bytes: kernelBytes };
    const note = "note" in written ? { note: written.note } : {};
    const unchecked = plan.targets[name]?.checks?.unchecked ?? [];
    return [{ name, kernels, memoryBytes, unchecked, ...note }];
  });
  return { targets, reports };
}
