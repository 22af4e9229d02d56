/**
 * Files and folders that are there while work is under way. They go when it is done or fails, and when the process exits
 * meanwhile; what a process left that was killed goes when the next one wants a path of that name.
 */
import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";

/** Another machine's processes may share a folder, and are not known here: what they work on is younger. */
const STALE_MS = 60 * 60 * 1000;

const held = new Set<string>();

function removeHeld(): void {
  for (const path of held) {
    try {
      rmSync(path, { recursive: true, force: true });
    } catch {
      // The others go all the same.
    }
  }
}

/** A path that begins with `stem` and that nothing has, for what is removed or renamed in the end. */
export async function holdTemporary(stem: string): Promise<string> {
  await removeStale(stem);
  if (held.size === 0) process.once("exit", removeHeld);
  const path = `${stem}.${process.pid}-${randomBytes(6).toString("hex")}`;
  held.add(path);
  return path;
}

/** What lies there stays, or has been renamed. */
export function releaseTemporary(path: string): void {
  held.delete(path);
  if (held.size === 0) process.off("exit", removeHeld);
}

export async function removeTemporary(path: string): Promise<void> {
  // Below a file there is nothing to remove, which is an error even if forced.
  await rm(path, { recursive: true, force: true }).catch(() => undefined);
  releaseTemporary(path);
}

/** Does work in an empty folder that goes with it, in the system's for temporary files. */
export async function withTemporaryFolder<T>(stem: string, work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await holdTemporary(join(tmpdir(), stem));
  try {
    await mkdir(folder, { mode: 0o700 });
    return await work(folder);
  } finally {
    await removeTemporary(folder);
  }
}

interface Temporary {
  readonly path: string;
  /** Who made it. */
  readonly pid: number;
  /** Whether that is at work still. */
  readonly isHeld: boolean;
}

/** The temporary paths that begin with `stem`, of any process. */
export async function temporariesOf(stem: string): Promise<readonly Temporary[]> {
  const folder = dirname(stem);
  const prefix = `${basename(stem)}.`;
  return (await readdir(folder).catch(() => [])).flatMap((name) => {
    const pid = name.startsWith(prefix) && /^(\d+)-[0-9a-f]{12}$/.exec(name.slice(prefix.length))?.[1];
    if (!pid) return [];
    const path = join(folder, name);
    // Where each container counts its processes anew, a killed one had this one's number.
    const isHeld = Number(pid) === process.pid ? held.has(path) : isRunning(Number(pid));
    return [{ path, pid: Number(pid), isHeld }];
  });
}

async function removeStale(stem: string): Promise<void> {
  for (const { path, isHeld } of await temporariesOf(stem)) {
    const changed = isHeld ? undefined : await stat(path).catch(() => undefined);
    if (changed && Date.now() - changed.mtimeMs > STALE_MS) {
      await rm(path, { recursive: true, force: true }).catch(() => undefined);
    }
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Somebody else's process may not be signalled, but is there.
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
