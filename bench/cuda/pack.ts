/**
 * Lays out all that `main.ts` needs in a folder by itself, and runs it there or makes an archive of it:
 *
 *     npx jiti bench/cuda/pack.ts --run -- [options of main.ts]
 *     npx jiti bench/cuda/pack.ts --archive FILE.tar.gz
 *
 * The archive has this machine's Node and runs on one of the same platform that has neither a network nor Node: a card
 * with its driver, and for the whole of it a CUDA toolkit and PyTorch.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, cp, mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { bundlePackage } from "../../test/support/bundle-package.ts";
import { checkpoints } from "../../test/support/checkpoints.ts";
import { vulkanLoader } from "../../test/support/dawn.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const NAME = "bitloom-bench";

/** What is read where it lies, not bundled. */
const files = [
  "package.json",
  "LICENSE",
  "templates",
  "bench/cuda/kernels",
  "bench/cuda/torch.py",
  "bench/cuda/nvidia_icd.json",
  ...Object.values(checkpoints).flatMap(({ folder, golden }) => [folder, golden]),
];

/** Where npm has put a package that another needs. */
function findPackage(name: string, from: string): string | undefined {
  for (let folder = from; ; folder = dirname(folder)) {
    const path = join(folder, "node_modules", name);
    if (existsSync(path)) return path;
    if (folder === dirname(folder)) return undefined;
  }
}

/** Copies packages with all that they need to run on this platform, each as it lies under the repository. */
async function copyPackages(names: readonly string[], to: string): Promise<void> {
  const platform = `${process.platform}-${process.arch}`;
  const isNeeded = (path: string): boolean => {
    if (/\.(?:map|md|[cm]?ts)$|\/wabt\/bin(?:\/|$)/.test(path)) return false;
    // The addon of `webgpu` for every platform that there is.
    const addon = /webgpu\/dist\/((?:darwin|linux|win32)-\w+)/.exec(path);
    return addon === null || addon[1] === platform;
  };
  const copied = new Set<string>();
  const copyPackage = async (name: string, from: string): Promise<void> => {
    const path = findPackage(name, from);
    if (path === undefined || copied.has(path)) return;
    copied.add(path);
    await cp(path, join(to, path.slice(root.length)), {
      recursive: true,
      filter: (inner) => isNeeded(inner) && !inner.slice(path.length).includes("/node_modules"),
    });
    const { dependencies = {} } = JSON.parse(await readFile(join(path, "package.json"), "utf8"));
    for (const dependency of Object.keys(dependencies)) await copyPackage(dependency, path);
  };
  for (const name of names) await copyPackage(name, root);
}

async function layOut(folder: string): Promise<void> {
  for (const file of files) {
    const path = file.startsWith(root) ? file.slice(root.length) : file;
    await cp(join(root, path), join(folder, path), {
      recursive: true,
      filter: (inner) => !inner.endsWith(".test.ts"),
    });
  }
  const programs = ["main", "kernels", "conformance", "golden"];
  await bundlePackage(join(folder, "dist"), {
    more: Object.fromEntries(programs.map((name) => [`bench/${name}`, `bench/cuda/${name}.ts`])),
    alias: { vitest: join(root, "bench/cuda/expect.ts") },
  });
  const { dependencies } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  await copyPackages([...Object.keys(dependencies), "webgpu", "fast-check", "@vitest/expect"], folder);
  const dawn = join(folder, "node_modules/webgpu/dist/linux-x64");
  // Dawn looks for Vulkan's loader beside itself; not every machine with a card has one.
  if (existsSync(dawn)) await writeFile(join(dawn, "libvulkan.so.1"), await vulkanLoader());
  const addon = join(folder, "prebuilds", `${process.platform}-${process.arch}`);
  execFileSync(process.execPath, [join(root, "runtime/native/build.js"), "--out", addon], {
    stdio: ["ignore", "ignore", "inherit"],
  });
}

async function archive(folder: string, file: string): Promise<void> {
  await cp(process.execPath, join(folder, "node"), { dereference: true });
  // A tenth less, where binutils are here. What addons look up stays.
  spawnSync("strip", [join(folder, "node")]);
  const script =
    'here=$(CDPATH= cd "$(dirname "$0")" && pwd)\nexec "$here/node" "$here/dist/bench/main.js" "$@"\n';
  await writeFile(join(folder, "run.sh"), `#!/bin/sh\n${script}`);
  await chmod(join(folder, "run.sh"), 0o755);
  await mkdir(dirname(resolve(file)), { recursive: true });
  execFileSync("tar", ["-I", "gzip -9", "-cf", `${file}.part`, "-C", dirname(folder), NAME], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  await rename(`${file}.part`, file);
  const { size } = await stat(file);
  process.stdout.write(`${file}, ${(size / 2 ** 20).toFixed(1)} MiB. Where the card is:\n`);
  process.stdout.write(`  tar -xzf ${file.split("/").at(-1)} && ./${NAME}/run.sh --out results\n`);
}

const { values, positionals } = parseArgs({
  options: { archive: { type: "string" }, run: { type: "boolean", default: false } },
  allowPositionals: true,
});
const parent = await mkdtemp(join(tmpdir(), "bitloom-pack-"));
try {
  const folder = join(parent, NAME);
  await layOut(folder);
  if (values.archive !== undefined) await archive(folder, values.archive);
  if (values.run) {
    const child = spawn(process.execPath, [join(folder, "dist/bench/main.js"), ...positionals], {
      stdio: "inherit",
    });
    // It ends what it has started, and then this goes on to its end.
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => child.kill(signal));
    process.exitCode = await new Promise((done) => child.once("close", (code) => done(code ?? 1)));
  }
} finally {
  await rm(parent, { recursive: true, force: true });
}
