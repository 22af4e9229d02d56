import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { bundlePackage } from "./bundle-package.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

export interface ProcessResult {
  /** The exit status; null when a signal ended the process. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ProcessOptions extends Pick<SpawnOptions, "cwd" | "env"> {
  /** What the process reads from stdin; nothing when absent. */
  readonly input?: string;
  /** Options of Node itself. */
  readonly node?: readonly string[];
  /** What the shell's `ulimit` sets before the process starts, such as `-f 100`. */
  readonly ulimit?: string;
}

/** The package as it would be installed, bundled from the sources, to be run by a Node of its own. */
export interface InstalledPackage {
  /** Starts `bitloom <args>`. */
  start(args: readonly string[], options?: ProcessOptions): ChildProcess;
  /** Runs `bitloom <args>` to its end. */
  run(args: readonly string[], options?: ProcessOptions): Promise<ProcessResult>;
  /** Runs a module to its end, in which `bitloom/runtime` and the other entries can be imported. */
  runModule(source: string, options?: ProcessOptions): Promise<ProcessResult>;
  dispose(): Promise<void>;
}

/**
 * Lays out the package in a temporary folder: bundled sources, the templates, the addon's sources, and this repository's
 * dependencies.
 */
export async function installPackage(): Promise<InstalledPackage> {
  const folder = await mkdtemp(join(tmpdir(), "bitloom-package-"));
  await bundlePackage(join(folder, "dist"));
  await writeFile(join(folder, "package.json"), await readFile(join(root, "package.json")));
  await mkdir(join(folder, "runtime"));
  for (const name of ["templates", "runtime/native", "node_modules"])
    await symlink(join(root, name), join(folder, name));

  const startNode = (file: string, args: readonly string[], options: ProcessOptions = {}): ChildProcess => {
    const { input, node = [], ulimit, ...rest } = options;
    const command = [process.execPath, ...node, file, ...args];
    const limited = ["sh", "-c", `ulimit ${ulimit} && exec "$@"`, "sh", ...command];
    const [executable, ...parts] = ulimit === undefined ? command : limited;
    const child = spawn(executable!, parts, {
      ...rest,
      stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    });
    child.stdin?.end(input);
    return child;
  };
  const cli = join(folder, "dist/cli.js");
  let modules = 0;
  return {
    start: (args, options) => startNode(cli, args, options),
    run: (args, options) => finished(startNode(cli, args, options)),
    async runModule(source, options) {
      const file = join(folder, `module-${modules++}.mjs`);
      await writeFile(file, source);
      // Inside of a package its name means itself.
      return finished(startNode(file, [], options));
    },
    dispose: () => rm(folder, { recursive: true, force: true }),
  };
}

/** What a process that was started wrote, once it has ended. */
export async function finished(child: ChildProcess): Promise<ProcessResult> {
  const [stdout, stderr, [status]] = await Promise.all([
    text(child.stdout!),
    text(child.stderr!),
    once(child, "close") as Promise<[number | null]>,
  ]);
  return { status, stdout, stderr };
}
