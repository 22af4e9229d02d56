import { BitloomError } from "../../../errors/index.ts";
import { type CudaAddon, type CudaCard, type CudaSession, loadAddon } from "./addon.ts";

/** What this machine has for CUDA. */
export interface CudaFeatures {
  /** The newest CUDA that the driver runs: `13.0`. */
  readonly driver: string;
  /** The cards, in the driver's order; the first is used. `CUDA_VISIBLE_DEVICES` chooses among them. */
  readonly cards: readonly CudaCard[];
  /** Bytes of the first card that nobody has. */
  readonly freeBytes: number;
  /** NVRTC, which compiles kernels that an artifact has as source alone: its version and where it was found. */
  readonly compiler: { readonly version: string; readonly library: string } | undefined;
}

/** What a device needs of the machine. */
export interface CudaMachine {
  readonly addon: CudaAddon;
  readonly driver: string;
  readonly cards: readonly CudaCard[];
  /** Names of NVRTC to try. */
  readonly compilers: readonly string[];
  /** Opens the first card. @throws BitloomError NO_DEVICE */
  open(): Promise<CudaSession>;
}

/**
 * What this machine has for CUDA.
 * @throws BitloomError NO_DEVICE that says what is missing
 */
export async function cudaFeatures(): Promise<CudaFeatures> {
  const { addon, driver, cards, compilers, open } = await findMachine();
  const session = await open();
  try {
    return { driver, cards, freeBytes: session.memory().freeBytes, compiler: findCompiler(addon, compilers) };
  } finally {
    await session.dispose();
  }
}

/**
 * Loads the addon, opens the driver and looks for cards. The environment's `BITLOOM_LIBCUDA` and `BITLOOM_LIBNVRTC`
 * are paths of libraries to take instead of the system's.
 * @throws BitloomError NO_DEVICE
 */
export async function findMachine(): Promise<CudaMachine> {
  const addon = loadAddon();
  const { BITLOOM_LIBCUDA: library = "", BITLOOM_LIBNVRTC: compiler } = process.env;
  const { driverVersion, devices } = await addon.probe(library).catch((error) => {
    throw noDriver(error);
  });
  if (devices.length === 0) throw noDriver(new Error("the driver counts none"));
  return {
    addon,
    driver: versionText(Math.floor(driverVersion / 1000), Math.floor((driverVersion % 1000) / 10)),
    cards: devices,
    compilers: compiler === undefined ? compilerNames(Math.floor(driverVersion / 1000)) : [compiler],
    open: () =>
      addon.open(library, 0).catch((cause: Error) => {
        throw new BitloomError("NO_DEVICE", "The NVIDIA card cannot be opened", {
          received: cause.message,
          hint: "See whether `nvidia-smi` shows the card, and whether another process has it to itself.",
          cause,
        });
      }),
  };
}

const versionText = (major: number, minor: number): string => `${major}.${minor}`;

/** `9.0` of 90. */
export const capabilityText = (capability: number): string =>
  versionText(Math.floor(capability / 10), capability % 10);

function noDriver(cause: Error & { code?: string }): BitloomError {
  const options = { received: cause.message, cause };
  switch (cause.code) {
    case "NO_LIBRARY":
      return new BitloomError("NO_DEVICE", "This machine has no NVIDIA driver", {
        ...options,
        hint: "Install NVIDIA's driver; a container has to be started with access to the card (--gpus all).",
      });
    case "OLD_DRIVER":
      return new BitloomError("NO_DEVICE", "The NVIDIA driver is too old", {
        ...options,
        expected: "a driver for CUDA 11.4 or newer",
        hint: "Update NVIDIA's driver.",
      });
    default:
      return new BitloomError("NO_DEVICE", "The NVIDIA driver finds no card", {
        ...options,
        hint: "See whether `nvidia-smi` shows a card, and what CUDA_VISIBLE_DEVICES leaves of them.",
      });
  }
}

/** NVRTC of the driver's own CUDA first: what a newer one compiles, the driver may not load. */
export function compilerNames(driverMajor: number): readonly string[] {
  const majors = [driverMajor, 13, 12].filter(
    (major, index, all) => major >= 12 && all.indexOf(major) === index,
  );
  if (process.platform === "win32") return majors.map((major) => `nvrtc64_${major}0_0.dll`);
  return [
    ...majors.map((major) => `libnvrtc.so.${major}`),
    "libnvrtc.so",
    "/usr/local/cuda/lib64/libnvrtc.so",
  ];
}

function findCompiler(addon: CudaAddon, compilers: readonly string[]): CudaFeatures["compiler"] {
  try {
    const { name, major, minor } = addon.describeCompiler(compilers);
    return { version: versionText(major, minor), library: name };
  } catch {
    return undefined;
  }
}
