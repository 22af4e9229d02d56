import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { holdTemporary, releaseTemporary, removeTemporary, withTemporaryFolder } from "./temporary.ts";
import { requireWritable, writeWhole } from "./whole-file.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-temporary-test-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test("a folder is there for as long as the work, be it that it fails", async () => {
  const failed = withTemporaryFolder("bitloom-temporary-test", async (own) => {
    await writeFile(join(own, "file"), "");
    throw new Error(own);
  });
  const { message: own } = await failed.catch((error: Error) => error);
  expect(basename(own)).toMatch(/^bitloom-temporary-test\./);
  await expect(stat(own)).rejects.toMatchObject({ code: "ENOENT" });
});

test("what processes left that were killed goes, but not what others work on, or a moment ago did", async () => {
  const { pid } = spawnSync(process.execPath, ["--version"]);
  const [left, recent, used] = [`big.${pid}-0123456789ab`, `big.${pid}-ba9876543210`, `big.1-0123456789ab`];
  for (const name of [left, recent, used, "big.old", "big"])
    await mkdir(join(folder, name, "part"), { recursive: true });
  for (const name of [left, used, "big.old", "big"]) await utimes(join(folder, name), 0, 0);
  const own = await holdTemporary(join(folder, "big"));
  releaseTemporary(own);
  expect((await readdir(folder)).sort()).toEqual(["big", recent, used, "big.old"].sort());
});

test("exits take along what is held alone", async () => {
  const before = process.listenerCount("exit");
  const [kept, gone] = [await holdTemporary(join(folder, "kept")), await holdTemporary(join(folder, "gone"))];
  for (const path of [kept, gone]) await writeFile(path, "");
  releaseTemporary(kept);
  expect(process.listenerCount("exit")).toBe(before + 1);
  (process.listeners("exit").at(-1) as () => void)();
  expect(await readdir(folder)).toEqual([basename(kept)]);
  await removeTemporary(gone);
  expect(process.listenerCount("exit")).toBe(before);
});

test("a file that cannot be written leaves what was there, and nothing else", async () => {
  const path = join(folder, "file");
  await writeWhole(path, ["one"]);
  const failing = function* () {
    yield "two";
    throw new Error("no more");
  };
  await expect(writeWhole(path, failing())).rejects.toMatchObject({
    code: "WRITE_FAILED",
    received: "no more",
  });
  await expect(writeWhole(join(path, "below"), ["x"])).rejects.toMatchObject({ code: "WRITE_FAILED" });
  expect(await readdir(folder)).toEqual(["file"]);
  await requireWritable(join(folder, "a", "b"));
  expect(await readdir(folder)).toEqual(["file"]);
  await expect(requireWritable(join(path, "b"))).rejects.toMatchObject({ code: "WRITE_FAILED" });
});
