import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const root = fileURLToPath(new URL("../..", import.meta.url));
const entries = {
  index: "src/index.ts",
  cli: "src/cli/main.ts",
  runtime: "runtime/index.ts",
  cuda: "runtime/devices/cuda/index.ts",
  ir: "ir/index.ts",
} as const;

export interface BundleOptions {
  /** Entries besides the package's own: their names, and where they are in the repository. */
  readonly more?: Readonly<Record<string, string>>;
  /** Paths of what stands for packages. */
  readonly alias?: Readonly<Record<string, string>>;
}

/** Bundles the package's entries from the sources into a folder; npm packages stay outside. */
export async function bundlePackage(
  folder: string,
  { more = {}, alias = {} }: BundleOptions = {},
): Promise<void> {
  const input = Object.entries({ ...entries, ...more }).map(([name, path]) => [name, join(root, path)]);
  const bundle = await rolldown({
    input: Object.fromEntries(input),
    external: (id) => /^[^./]/.test(id) && !(id in alias),
    resolve: { alias },
    platform: "node",
    logLevel: "silent",
  });
  await bundle.write({ dir: folder, format: "esm" });
  await bundle.close();
}
