import { existsSync } from "node:fs";
import { mkdir, open, rename } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { BitloomError } from "../../errors/index.ts";
import { holdTemporary, releaseTemporary, removeTemporary } from "./temporary.ts";

/**
 * Writes a file under a temporary name beside it, and renames it when everything is on the disk.
 * @throws BitloomError WRITE_FAILED, after which what was there is as it was
 */
export async function writeWhole(path: string, pieces: Iterable<Uint8Array | string>): Promise<void> {
  const temporary = await holdTemporary(hiddenBeside(path));
  try {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(temporary, "wx");
    try {
      for (const piece of pieces) await file.appendFile(piece);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    releaseTemporary(temporary);
  } catch (cause) {
    await removeTemporary(temporary);
    throw writeFailed(`cannot write ${path}`, cause);
  }
}

/** What temporary files beside a path are called. */
export function hiddenBeside(path: string): string {
  return join(dirname(path), `.${basename(path)}`);
}

/**
 * Finds out whether files can be written to a folder, or it can be made, without making it: in what there is of it, a
 * folder is made and removed. Some file systems grant what they then refuse.
 * @throws BitloomError WRITE_FAILED
 */
export async function requireWritable(folder: string): Promise<void> {
  let existing = resolve(folder);
  while (!existsSync(existing)) existing = dirname(existing);
  const probe = await holdTemporary(join(existing, ".bitloom"));
  try {
    await mkdir(probe);
  } catch (cause) {
    throw writeFailed(`${folder} is no folder that can be written`, cause);
  } finally {
    await removeTemporary(probe);
  }
}

export function writeFailed(summary: string, cause: unknown): BitloomError {
  return new BitloomError("WRITE_FAILED", summary, {
    cause,
    ...(cause instanceof Error && { received: cause.message }),
  });
}
