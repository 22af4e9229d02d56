import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Manifest } from "../../runtime/manifest.ts";
import type { unchecked } from "./errors.ts";
import { sha256Chunks } from "./fake-artifact.ts";
import { type RawTensor, readTensors, writeTensors } from "./safetensors.ts";

/** Spoils files of the folder it is given. */
export type Change = (folder: string) => Promise<void>;

/** Files of other content. */
export const replaced =
  (name: string, content: string | Uint8Array): Change =>
  (folder) =>
    writeFile(join(folder, name), content);

export const removed =
  (name: string): Change =>
  (folder) =>
    rm(join(folder, name));

export const bytes =
  (name: string, edit: (content: Uint8Array) => Uint8Array): Change =>
  async (folder) =>
    writeFile(join(folder, name), edit(new Uint8Array(await readFile(join(folder, name)))));

/** One bit of one byte turned. */
export const flipped = (name: string, at: number): Change =>
  bytes(name, (content) => {
    content[at]! ^= 1;
    return content;
  });

export const json =
  (name: string, edit: (value: ReturnType<typeof unchecked>) => void): Change =>
  async (folder) => {
    const value = JSON.parse(await readFile(join(folder, name), "utf8"));
    edit(value);
    await writeFile(join(folder, name), JSON.stringify(value));
  };

export const config = (edit: Parameters<typeof json>[1]): Change => json("config.json", edit);

export const tensors =
  (edit: (tensors: Map<string, RawTensor>) => void): Change =>
  async (folder) => {
    const path = join(folder, "model.safetensors");
    const all = await readTensors(path);
    edit(all);
    await writeTensors(path, all);
  };

/** One element of an f32 tensor set. */
export const float = (name: string, index: number, value: number): Change =>
  tensors((all) => {
    const { buffer, byteOffset } = all.get(name)!.bytes;
    new DataView(buffer, byteOffset).setFloat32(4 * index, value, true);
  });

/** Makes the manifest say of a file what is true of it. */
export const sealed =
  (name: string): Change =>
  async (folder) => {
    const content = await readFile(join(folder, name));
    await json("manifest.json", ({ files }: Manifest) => {
      const file = files.find(({ path }) => path === name)!;
      file.bytes = content.length;
      file.sha256 = sha256Chunks(content);
    })(folder);
  };

export const inOrder =
  (...changes: readonly Change[]): Change =>
  async (folder) => {
    for (const change of changes) await change(folder);
  };
