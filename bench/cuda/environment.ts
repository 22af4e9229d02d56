import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { packageRoot } from "../../codegen/kernel/template-path.ts";

/** Where the CUDA toolkit is installed, and is not always on the path. */
const TOOLKIT = "/usr/local/cuda/bin";

const isOnPath = (program: string): boolean =>
  (process.env.PATH ?? "").split(delimiter).some((folder) => existsSync(join(folder, program)));

/** A program of the toolkit, for which nothing else has to be there. */
export function toolkitProgram(name: string): string {
  const path = join(TOOLKIT, name);
  return !isOnPath(name) && existsSync(path) ? path : name;
}

/** Where a driver's package tells Vulkan's loader of it, which containers are often without. */
const vulkanDrivers = ["/usr/share/vulkan/icd.d/nvidia_icd.json", "/etc/vulkan/icd.d/nvidia_icd.json"];

/** What processes of the steps find: nvcc, if it has the compiler that it needs, and NVIDIA's driver for Vulkan. */
export function stepEnvironment(): NodeJS.ProcessEnv {
  const { PATH = "", VK_ICD_FILENAMES } = process.env;
  const isTold = VK_ICD_FILENAMES !== undefined || vulkanDrivers.some((path) => existsSync(path));
  return {
    ...process.env,
    ...(isOnPath("gcc") && { PATH: `${PATH}${delimiter}${TOOLKIT}` }),
    ...(!isTold && { VK_ICD_FILENAMES: join(packageRoot(), "bench/cuda/nvidia_icd.json") }),
  };
}
