import { BitloomError, type ErrorCode } from "../errors/index.ts";
import { abortable, abortError } from "./abort.ts";
import type { Device } from "./devices/device.ts";
import { type WasmFeatures, wasmFeatures } from "./devices/wasm/features.ts";
import { createWasmDevice } from "./devices/wasm/wasm-device.ts";
import type { ProgressEvent, Warning } from "./events.ts";
import { LanguageModel } from "./language-model.ts";
import type { ArtifactFile, Manifest } from "./manifest.ts";
import { Model } from "./model.ts";
import { isNode } from "./node.ts";
import { checkOptions, checkSignal, invalidOption } from "./options.ts";
import { parseManifest } from "./parse-manifest.ts";
import { type ReadOptions, readFile, readUnlisted, streamFile } from "./read-file.ts";
import { selfCheck } from "./self-check.ts";
import type { TensorInputs, TensorOutputs } from "./session.ts";
import { type ArtifactLocation, type ArtifactSource, resolveSource } from "./source.ts";
import { Tokenizer } from "./tokenizer.ts";

export interface LoadOptions {
  /**
   * Where to run. "auto", the default, takes the first that this machine has of those the artifact was built for:
   * CUDA (in Node), WebGPU (on a GPU that is no software), WebAssembly.
   */
  readonly device?: "auto" | DeviceName | undefined;
  /** Threads to run on. Default: one for each core, but no more than the model's size makes worthwhile. */
  readonly threads?: number | undefined;
  /** Ends the loading at any time and releases everything. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((event: ProgressEvent) => void) | undefined;
  /** Told of everything the model works without. Default: `console.warn`. */
  readonly onWarning?: ((warning: Warning) => void) | undefined;
  /** Compare every file with its sha256 while it streams. Default true. */
  readonly verify?: boolean | undefined;
  /**
   * Have every kernel compute something known on this device before the weights are loaded, and take another device if
   * one is wrong. Default true.
   */
  readonly selfCheck?: boolean | undefined;
}

const optionNames: readonly (keyof LoadOptions)[] = [
  "device",
  "threads",
  "signal",
  "onProgress",
  "onWarning",
  "verify",
  "selfCheck",
];

type DeviceName = Device["name"];

const MAX_MANIFEST_BYTES = 64 * 1024 * 1024;
/** Of files that are read whole: modules and tokenizers. */
const MAX_WHOLE_BYTES = 256 * 1024 * 1024;

/**
 * Loads an artifact. Weights stream from `location` to the device's memory in pieces of `CHUNK_BYTES`, so that
 * loading takes the device's memory and two such pieces. Nothing of the artifact's own JavaScript runs.
 *
 * ```ts
 * import type { Inputs, Outputs } from "./mlp/index.js"; // of the artifact: types alone, nothing is loaded
 * const model = await load<Inputs, Outputs>("https://example.org/mlp/");
 * ```
 * @returns a `LanguageModel` where the artifact holds one
 * @throws BitloomError MISSING_FILE, READ_FAILED, INVALID_MANIFEST, UNSUPPORTED_FORMAT, CORRUPT_FILE (naming file
 *   and bytes), NO_DEVICE, SELF_CHECK_FAILED (naming a kernel and numbers), LIMIT_EXCEEDED, OUT_OF_MEMORY, INVALID_OPTION, ABORTED; nothing stays allocated
 */
export async function load<
  Inputs extends TensorInputs = TensorInputs,
  Outputs extends TensorOutputs = TensorOutputs,
>(location: ArtifactLocation, options: LoadOptions = {}): Promise<Model<Inputs, Outputs>> {
  const started = performance.now();
  checkOptions("load", options, optionNames);
  checkSignal(options.signal);
  for (const name of ["onProgress", "onWarning"] as const) {
    if (!["undefined", "function"].includes(typeof options[name])) {
      throw invalidOption(name, "a function", options[name]);
    }
  }
  const { device: asked = "auto", signal, onProgress, onWarning = defaultWarning } = options;
  if (!["auto", ...deviceNames].includes(asked)) {
    throw invalidOption("device", ["auto", ...deviceNames].map((name) => `"${name}"`).join(", "), asked);
  }
  const warnings: Warning[] = [];
  const warn = (warning: Warning) => {
    warnings.push(warning);
    onWarning(warning);
  };
  const verify = (options.verify ?? true) && canVerify(warn);
  const reading: ReadOptions = { signal, onProgress, verify };

  let device: Device | undefined;
  try {
    const source = resolveSource(location);
    const manifest = await readManifest(source, signal);
    const readWhole = (path: string) => readFile(source, wholeFile(manifest, path), reading);
    let selfCheckMs: number | undefined;
    const openWith = async (name: DeviceName, features?: WasmFeatures): Promise<Device> => {
      const opening = {
        signal,
        warn,
        threads: options.threads,
        readFile: readWhole,
        isAskedFor: asked === name,
        features,
      };
      const opened = await openDevice[name](manifest, opening);
      try {
        const checks = (options.selfCheck ?? true) ? manifest.targets[name]?.selfCheck : undefined;
        if (checks !== undefined) {
          const vectors = await readWhole(checks.path);
          const before = performance.now();
          await abortable(selfCheck(opened, checks, vectors), signal);
          selfCheckMs = performance.now() - before;
        }
        await loadWeights(source, manifest, opened, reading);
        return opened;
      } catch (error) {
        await opened.dispose();
        throw error;
      }
    };
    const open = async (name: DeviceName): Promise<Device> => {
      try {
        return await openWith(name);
      } catch (error) {
        const features = wasmFeatures();
        const isFault = error instanceof BitloomError && error.code === "SELF_CHECK_FAILED";
        if (name !== "wasm" || !isFault || !features.relaxedSimd) throw error;
        warn({ code: "NO_RELAXED_SIMD", message: `Running without relaxed SIMD: ${reason(error)}.` });
        return openWith(name, { ...features, relaxedSimd: false });
      }
    };
    device = await openFirst(asked === "auto" ? candidates(manifest) : [asked], open, warn);
    if (device.numerics?.roundsToNearest === false) {
      const message = `${device.description} does not round to the nearest float: results differ from other devices' in their last bits.`;
      warn({ code: "OTHER_ROUNDING", message });
    }
    const tokenizer = isLanguageModel(manifest)
      ? await Tokenizer.fromFiles(async (path) =>
          manifest.files.some((file) => file.path === path)
            ? new TextDecoder().decode(await readWhole(path))
            : undefined,
        )
      : undefined;
    const loadMs = performance.now() - started;
    const total = manifest.files.reduce((sum, { bytes }) => sum + bytes, 0);
    onProgress?.({ status: "ready", file: manifest.name, loaded: total, total, progress: 100 });
    if (signal?.aborted) throw abortError(signal);
    const report = { loadMs, selfCheckMs, warnings };
    if (!isLanguageModel(manifest)) return new Model(manifest, device, report);
    const model: Model = new LanguageModel(manifest, device, report, tokenizer);
    // Who names the types of an artifact answers for them.
    return model as Model<Inputs, Outputs>;
  } catch (error) {
    await device?.dispose();
    throw signal?.aborted ? abortError(signal) : error;
  }
}

/**
 * `load` for an artifact that must be a language model.
 * @throws BitloomError INVALID_INPUT when it is not, and as `load`
 */
export async function loadLanguageModel(
  location: ArtifactLocation,
  options: LoadOptions = {},
): Promise<LanguageModel> {
  const model = await load(location, options);
  if (model instanceof LanguageModel) return model;
  await model.dispose();
  throw new BitloomError("INVALID_INPUT", `The artifact "${model.name}" is no language model`, {
    hint: "Use load() and run().",
  });
}

interface Opening {
  readonly signal: AbortSignal | undefined;
  readonly warn: (warning: Warning) => void;
  readonly threads: number | undefined;
  /** Reads a file of the artifact, verified. */
  readonly readFile: (path: string) => Promise<Uint8Array<ArrayBuffer>>;
  /** By name, and not by "auto". */
  readonly isAskedFor: boolean;
  /** What of the WebAssembly engine to use; all that it has if absent. */
  readonly features: WasmFeatures | undefined;
}

/** How each device is opened. All but WebAssembly are loaded where they are used. */
const openDevice: Readonly<Record<DeviceName, (manifest: Manifest, opening: Opening) => Promise<Device>>> = {
  wasm: createWasmDevice,
  async webgpu(manifest, { isAskedFor, signal, readFile }) {
    const { createWebgpuDevice } = await import("./devices/webgpu/webgpu-device.ts");
    const allowSoftware = isAskedFor || manifest.targets.wasm === undefined;
    return createWebgpuDevice(manifest, { allowSoftware, signal, readFile });
  },
  async cuda(manifest, opening) {
    const { createCudaDevice } = await importCuda();
    return createCudaDevice(manifest, opening);
  },
};

/** @throws BitloomError NO_DEVICE */
async function importCuda(): Promise<typeof import("./devices/cuda/index.ts")> {
  if (!isNode) {
    throw new BitloomError("NO_DEVICE", "CUDA needs Node", { hint: "In a browser, use the webgpu device." });
  }
  // Not a literal: bundles for browsers must not have it.
  const name = "bitloom/cuda";
  try {
    return await import(/* @vite-ignore */ /* webpackIgnore: true */ name);
  } catch (cause) {
    throw new BitloomError("NO_DEVICE", "bitloom/cuda cannot be loaded", {
      received: (cause as Error).message,
      hint: "Leave bitloom out of bundles for Node, or install it beside them.",
      cause,
    });
  }
}

/** Every device, the fastest first. */
const deviceNames = ["cuda", "webgpu", "wasm"] as const satisfies readonly DeviceName[];

/** What may run an artifact here, the fastest first. */
function candidates({ targets }: Manifest): readonly DeviceName[] {
  const built = deviceNames.filter((name) => targets[name] !== undefined && (name !== "cuda" || isNode));
  return built.length > 0 ? built : ["wasm"];
}

interface Failure {
  readonly name: DeviceName;
  readonly error: BitloomError;
}

/** Opens the first device that opens, and warns of each that comes before it and does not. */
async function openFirst(
  [name, ...others]: readonly DeviceName[],
  open: (name: DeviceName) => Promise<Device>,
  warn: (warning: Warning) => void,
  failures: readonly Failure[] = [],
): Promise<Device> {
  let device: Device;
  try {
    device = await open(name!);
  } catch (error) {
    if (others.length === 0 || !isDevicesFault(error)) throw error;
    return openFirst(others, open, warn, [...failures, { name: name!, error }]);
  }
  for (const failure of failures) {
    const code = failure.name === "cuda" ? "NO_CUDA" : "NO_WEBGPU";
    warn({ code, message: `Running on ${titles[name!]}: ${reason(failure.error)}.` });
  }
  return device;
}

const titles: Readonly<Record<DeviceName, string>> = {
  cuda: "CUDA",
  webgpu: "WebGPU",
  wasm: "WebAssembly",
};

/** Whether another device might do what this one did not. */
export function isDevicesFault(error: unknown): error is BitloomError {
  const codes: readonly (ErrorCode | undefined)[] = [
    "NO_DEVICE",
    "LIMIT_EXCEEDED",
    "OUT_OF_MEMORY",
    "ASSEMBLE_FAILED",
    "SELF_CHECK_FAILED",
    "DEVICE_FAILED",
  ];
  // By its code: bitloom/cuda may have an Error class of its own, where this module is in a bundle.
  return error instanceof Error && codes.includes((error as Partial<BitloomError>).code);
}

/** What an error says, in one sentence. */
function reason({ message, code, expected, received }: BitloomError): string {
  const summary = message.split("\n", 1)[0]!.replace(` [${code}]`, "");
  const details =
    expected === undefined ? [received] : [`expected ${expected}`, received && `received ${received}`];
  const told = details.filter(Boolean).join(", ");
  return told === "" ? summary : `${summary} (${told})`;
}

const defaultWarning = ({ message }: Warning): void => console.warn(`bitloom: ${message}`);

function canVerify(warn: (warning: Warning) => void): boolean {
  if (globalThis.crypto?.subtle !== undefined) return true;
  warn({
    code: "NOT_VERIFIED",
    message: "Files are not compared with their hashes: crypto.subtle needs a secure context (https).",
  });
  return false;
}

async function readManifest(source: ArtifactSource, signal: AbortSignal | undefined): Promise<Manifest> {
  const bytes = await readUnlisted(source, "manifest.json", MAX_MANIFEST_BYTES, signal);
  return parseManifest(new TextDecoder().decode(bytes));
}

function wholeFile(manifest: Manifest, path: string): ArtifactFile {
  // parseManifest has seen to it that the file is listed.
  const file = manifest.files.find((candidate) => candidate.path === path)!;
  if (file.bytes > MAX_WHOLE_BYTES) {
    throw new BitloomError("INVALID_MANIFEST", `${path} is too large`, {
      expected: `at most ${MAX_WHOLE_BYTES} bytes`,
      received: `${file.bytes} bytes`,
    });
  }
  return file;
}

async function loadWeights(
  source: ArtifactSource,
  { files, weights }: Manifest,
  device: Device,
  options: ReadOptions,
): Promise<void> {
  for (const file of files) {
    const shards = weights.shards.filter(({ path }) => path === file.path);
    if (shards.length === 0) continue;
    await streamFile(
      source,
      file,
      async (bytes, offset) => {
        for (const { dataOffset, bytes: length, regionOffset } of shards) {
          const start = Math.max(offset, dataOffset);
          const end = Math.min(offset + bytes.length, dataOffset + length);
          if (start >= end) continue;
          await device.write(
            "weights",
            regionOffset + start - dataOffset,
            bytes.subarray(start - offset, end - offset),
          );
        }
      },
      options,
    );
  }
}

const isLanguageModel = (
  manifest: Manifest,
): manifest is Manifest & { languageModel: NonNullable<Manifest["languageModel"]> } =>
  manifest.languageModel !== undefined;
