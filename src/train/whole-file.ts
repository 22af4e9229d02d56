import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { access, constants, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { BitloomError } from "../../errors/index.ts";

/**
 * Writes a file under a temporary name beside it, and renames it when everything is on the disk.
 * @throws BitloomError WRITE_FAILED, after which what was there is as it was
 */
export async function writeWhole(path: string, pieces: Iterable<Uint8Array | string>): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}`);
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
  } catch (cause) {
    // Below a file there is nothing to remove, which is an error even if forced.
    await rm(temporary, { force: true }).catch(() => undefined);
    throw new BitloomError("WRITE_FAILED", `cannot write ${path}`, {
      received: (cause as Error).message,
      cause,
    });
  }
}

/**
 * Finds out whether files can be written to a folder, or it can be made, without making it.
 * @throws BitloomError WRITE_FAILED
 */
export async function requireWritable(folder: string): Promise<void> {
  let existing = resolve(folder);
  while (!existsSync(existing)) existing = dirname(existing);
  try {
    if (!(await stat(existing)).isDirectory()) throw new Error(`${existing} is no folder`);
    await access(existing, constants.W_OK);
  } catch (cause) {
    throw new BitloomError("WRITE_FAILED", `${folder} is no folder that can be written`, {
      received: (cause as Error).message,
      cause,
    });
  }
}
