import { rmdirSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BitloomError } from "../../errors/index.ts";
import { holdTemporary, removeTemporary, temporariesOf } from "./temporary.ts";

const MARK = ".in-use";

/**
 * Does work that has a folder to itself, which is made where there is none, and goes again if the work leaves it empty.
 * @throws BitloomError WRITE_FAILED where another process that still runs has it
 */
export async function withFolder<T>(folder: string, work: () => Promise<T>): Promise<T> {
  await mkdir(folder, { recursive: true });
  const mark = await holdTemporary(join(folder, MARK));
  try {
    await writeFile(mark, "");
    for (const { path, pid, isHeld } of await temporariesOf(join(folder, MARK))) {
      if (path === mark || !isHeld) continue;
      throw new BitloomError("WRITE_FAILED", `${folder} is in use`, {
        received: `a run of process ${pid}`,
        hint: `Wait for it, or choose another folder. If there is no such run any more, remove ${path}.`,
      });
    }
    return await work();
  } finally {
    await removeTemporary(mark);
    try {
      rmdirSync(folder);
    } catch {
      // It has something.
    }
  }
}
