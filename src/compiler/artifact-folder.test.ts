import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { CHUNK_BYTES } from "../../runtime/manifest.ts";
import { ArtifactFolder } from "./artifact-folder.ts";

let parent: string;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), "bitloom-artifact-"));
});
afterEach(() => rm(parent, { recursive: true, force: true }));

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

it("appears whole on commit and not before", async () => {
  const out = join(parent, "out");
  const folder = await ArtifactFolder.create(out);
  await folder.write("kernels/a.wat", "(module)");
  expect(await readdir(parent)).not.toContain("out");
  await folder.commit();
  expect(await readFile(join(out, "kernels/a.wat"), "utf8")).toBe("(module)");
  expect(await readdir(parent)).toEqual(["out"]);
});

it("hashes every chunk, however the writes are cut", async () => {
  const folder = await ArtifactFolder.create(join(parent, "out"));
  const data = new Uint8Array(CHUNK_BYTES + 10).map((_, index) => index * 31);
  const file = await folder.open("weights");
  for (const cut of [0, 5, CHUNK_BYTES - 1, CHUNK_BYTES + 10]) {
    await file.write(data.subarray(file.bytes, Math.max(cut, file.bytes)));
  }
  await folder.finish(file);
  expect(folder.files).toEqual([
    {
      path: "weights",
      bytes: data.length,
      sha256: [sha256(data.subarray(0, CHUNK_BYTES)), sha256(data.subarray(CHUNK_BYTES))],
    },
  ]);
  await folder.discard();
});

it("leaves nothing behind when discarded with a file still open", async () => {
  const folder = await ArtifactFolder.create(join(parent, "out"));
  await (await folder.open("weights")).write(new Uint8Array(10));
  await folder.discard();
  expect(await readdir(parent)).toEqual([]);
});

it("replaces an artifact but never a stranger's folder", async () => {
  const out = join(parent, "out");
  for (const text of ["one", "two"]) {
    const folder = await ArtifactFolder.create(out);
    await folder.write("manifest.json", `{ "format": "bitloom", "name": "${text}", "files": [] }`);
    await folder.commit();
  }
  expect(await readFile(join(out, "manifest.json"), "utf8")).toContain("two");
  expect(await readdir(parent)).toEqual(["out"]);

  const stranger = join(parent, "photos");
  await mkdir(stranger);
  await writeFile(join(stranger, "cat.jpg"), "");
  await expect(ArtifactFolder.create(stranger)).rejects.toMatchObject({ code: "WRITE_FAILED" });
  await writeFile(join(out, "notes.txt"), "");
  await expect(ArtifactFolder.create(out)).rejects.toMatchObject({
    code: "WRITE_FAILED",
    received: "notes.txt",
  });
});

it("takes the folders it made on the way along when it is discarded, and no others", async () => {
  await mkdir(join(parent, "mine"));
  for (const out of ["a/b/out", "mine/a/b/out", "mine/out"]) {
    const folder = await ArtifactFolder.create(join(parent, out));
    await folder.write("manifest.json", "{}");
    await folder.discard();
    expect(await readdir(parent, { recursive: true })).toEqual(["mine"]);
  }
  const folder = await ArtifactFolder.create(join(parent, "a/b/out"));
  await writeFile(join(parent, "a/other"), "");
  await folder.discard();
  expect(await readdir(join(parent, "a"))).toEqual(["other"]);
});

it.each(["../outside", "/outside", "a/../../outside", "C:outside", "a b", ""])(
  "writes no file called %j",
  async (name) => {
    const folder = await ArtifactFolder.create(join(parent, "out"));
    await expect(folder.write(name, "x")).rejects.toMatchObject({ code: "INVALID_OPTION", received: name });
    await folder.discard();
    expect(await readdir(parent)).toEqual([]);
  },
);

it("says so when the place cannot be written", async () => {
  await writeFile(join(parent, "file"), "");
  await expect(ArtifactFolder.create(join(parent, "file"))).rejects.toMatchObject({ code: "WRITE_FAILED" });
  await expect(ArtifactFolder.create(join(parent, "file/below"))).rejects.toMatchObject({
    code: "WRITE_FAILED",
  });
});
