import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { withFolder } from "./claim.ts";

let base: string;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "bitloom-claim-"));
});
afterAll(() => rm(base, { recursive: true }));

test("one work at a time has a folder, which goes if it stays empty", async () => {
  const folder = join(base, "a", "b");
  await withFolder(folder, async () => {
    await expect(withFolder(folder, async () => undefined)).rejects.toMatchObject({
      code: "WRITE_FAILED",
      received: `a run of process ${process.pid}`,
    });
  });
  expect(existsSync(folder)).toBe(false);
  await withFolder(folder, () => writeFile(join(folder, "file"), "x"));
  expect(await readdir(folder)).toEqual(["file"]);
});

test("another process that runs keeps a folder, and one that was killed does not", async () => {
  const folder = join(base, "c");
  const other = spawn(process.execPath, ["-e", "setTimeout(() => {}, 60_000)"]);
  await mkdir(folder);
  await writeFile(join(folder, `.in-use.${other.pid}-0123456789ab`), "");
  await expect(withFolder(folder, async () => 1)).rejects.toMatchObject({
    code: "WRITE_FAILED",
    received: `a run of process ${other.pid}`,
  });
  other.kill("SIGKILL");
  await once(other, "close");
  expect(await withFolder(folder, async () => 1)).toBe(1);
});
