import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, rmdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { z } from "zod";
import { BitloomError } from "../../errors/index.ts";
import { artifactPath, CHUNK_BYTES, type Manifest } from "../../runtime/manifest.ts";
import { holdTemporary, releaseTemporary, removeTemporary } from "../files/temporary.ts";
import { hiddenBeside, requireWritable, writeFailed } from "../files/whole-file.ts";

type FileEntry = Manifest["files"][number];

/** Appends to one file while hashing it in `CHUNK_BYTES` pieces. Throws WRITE_FAILED. */
export class ArtifactFile {
  readonly #handle: FileHandle;
  readonly #path: string;
  readonly #digests: string[] = [];
  #hash = createHash("sha256");
  #inChunk = 0;
  #bytes = 0;

  constructor(path: string, handle: FileHandle) {
    this.#path = path;
    this.#handle = handle;
  }

  get bytes(): number {
    return this.#bytes;
  }

  async write(data: Uint8Array): Promise<void> {
    for (let start = 0; start < data.length; ) {
      const end = Math.min(data.length, start + CHUNK_BYTES - this.#inChunk);
      this.#hash.update(data.subarray(start, end));
      this.#inChunk += end - start;
      start = end;
      if (this.#inChunk === CHUNK_BYTES) this.#finishChunk();
    }
    try {
      for (let start = 0; start < data.length; ) {
        start += (await this.#handle.write(data, start)).bytesWritten;
      }
    } catch (cause) {
      throw writeFailed(`cannot write ${this.#path}`, cause);
    }
    this.#bytes += data.length;
  }

  async close(): Promise<FileEntry> {
    if (this.#inChunk > 0 || this.#bytes === 0) this.#finishChunk();
    // Some file systems tell only now that there was no room.
    await this.#handle.close().catch((cause) => {
      throw writeFailed(`cannot write ${this.#path}`, cause);
    });
    return { path: this.#path, bytes: this.#bytes, sha256: this.#digests };
  }

  async discard(): Promise<void> {
    await this.#handle.close().catch(() => undefined);
  }

  #finishChunk(): void {
    this.#digests.push(this.#hash.digest("hex"));
    this.#hash = createHash("sha256");
    this.#inChunk = 0;
  }
}

/**
 * An artifact being written: files go to a hidden folder beside the destination, which replaces the
 * destination in one rename when everything is there. Whatever fails before leaves the destination as it was.
 */
export class ArtifactFolder {
  readonly #destination: string;
  readonly #staging: string;
  /** The outermost folder that was made for this artifact to lie in. */
  readonly #outermost: string;
  readonly #files: FileEntry[] = [];
  readonly #open = new Set<ArtifactFile>();

  private constructor(destination: string, staging: string, outermost: string) {
    this.#destination = destination;
    this.#staging = staging;
    this.#outermost = outermost;
  }

  /** Throws what `create` would, and makes nothing. */
  static async requireRoom(path: string): Promise<void> {
    const destination = resolve(path);
    await refuseToReplace(destination);
    await requireWritable(dirname(destination));
  }

  /** Throws WRITE_FAILED where the destination cannot be written, or holds something that is no artifact. */
  static async create(path: string): Promise<ArtifactFolder> {
    const destination = resolve(path);
    await refuseToReplace(destination);
    const staging = await holdTemporary(hiddenBeside(destination));
    const outermost = await makeFolders(staging).catch((cause) => {
      releaseTemporary(staging);
      throw writeFailed(`cannot create a folder in ${dirname(destination)}`, cause);
    });
    return new ArtifactFolder(destination, staging, outermost);
  }

  async open(path: string): Promise<ArtifactFile> {
    if (!artifactPath.safeParse(path).success) {
      throw new BitloomError("INVALID_OPTION", `"${path}" is no name for a file of an artifact`, {
        expected: "letters, digits, dots, dashes and underscores, with slashes between folders",
        received: path,
      });
    }
    const full = join(this.#staging, path);
    try {
      await mkdir(dirname(full), { recursive: true });
      const file = new ArtifactFile(path, await open(full, "wx"));
      this.#open.add(file);
      return file;
    } catch (cause) {
      throw writeFailed(`cannot create ${path}`, cause);
    }
  }

  async finish(file: ArtifactFile): Promise<void> {
    this.#open.delete(file);
    this.#files.push(await file.close());
  }

  async write(path: string, content: string | Uint8Array): Promise<void> {
    const file = await this.open(path);
    await file.write(typeof content === "string" ? new TextEncoder().encode(content) : content);
    await this.finish(file);
  }

  /** Every finished file, in the order written. */
  get files(): readonly FileEntry[] {
    return this.#files;
  }

  /** Puts the artifact in its place. */
  async commit(): Promise<void> {
    const old = `${this.#staging}.old`;
    releaseTemporary(this.#staging);
    const replaced = await rename(this.#destination, old).then(
      () => true,
      () => false,
    );
    try {
      await rename(this.#staging, this.#destination);
    } catch (cause) {
      if (replaced) await rename(old, this.#destination);
      throw writeFailed(`cannot move the artifact to ${this.#destination}`, cause);
    }
    if (replaced) await rm(old, { recursive: true, force: true });
  }

  /** Removes everything written so far, and the folders made on the way to it. */
  async discard(): Promise<void> {
    await Promise.all([...this.#open].map((file) => file.discard()));
    await removeTemporary(this.#staging);
    for (let folder = this.#staging; folder !== this.#outermost; ) {
      folder = dirname(folder);
      const isEmpty = await rmdir(folder).then(
        () => true,
        () => false,
      );
      if (!isEmpty) return;
    }
  }
}

/**
 * Makes a folder and those it lies in, and returns the outermost of the new ones. Unlike mkdir's own recursion
 * it ends where a file system takes no folders at all, as /proc does.
 */
async function makeFolders(path: string): Promise<string> {
  const missing = [path];
  for (let parent = dirname(path); !existsSync(parent); parent = dirname(parent)) missing.unshift(parent);
  for (const folder of missing) await mkdir(folder);
  return missing[0]!;
}

async function refuseToReplace(destination: string): Promise<void> {
  let names: string[];
  try {
    names = await readdir(destination);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return;
    throw writeFailed(`${destination} is not a folder that can be read`, cause);
  }
  const own = await artifactNames(join(destination, "manifest.json"));
  const foreign = names.filter((name) => !own.has(name));
  if (foreign.length === 0) return;
  throw new BitloomError("WRITE_FAILED", `${destination} holds files that are not a Bitloom artifact`, {
    expected: "a new or empty folder, or an artifact to replace",
    received: foreign.slice(0, 5).join(", "),
    hint: "Choose another --out, or empty the folder yourself.",
  });
}

/** What an artifact's manifest says lies beside it, of whatever format version; nothing where it is no manifest. */
async function artifactNames(manifest: string): Promise<ReadonlySet<string>> {
  try {
    const { files } = artifactFiles.parse(JSON.parse(await readFile(manifest, "utf8")));
    return new Set(["manifest.json", ...files.map(({ path }) => path.split("/")[0]!)]);
  } catch {
    return new Set();
  }
}

const artifactFiles = z.object({
  format: z.literal("bitloom"),
  files: z.array(z.object({ path: z.string() })),
});
