import { randomBytes } from "node:crypto";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
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
    await rm(temporary, { force: true });
    throw new BitloomError("WRITE_FAILED", `cannot write ${path}`, {
      received: (cause as Error).message,
      cause,
    });
  }
}
