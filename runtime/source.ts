import { BitloomError } from "../errors/index.ts";
import { isNode, nodeModule } from "./node.ts";
import { describe } from "./options.ts";

export interface OpenFile {
  /** Size where the source knows it: lets a truncated file fail before it is read. */
  readonly bytes?: number | undefined;
  /** The file from its first byte. A chunk may be reused by the source once the next one is asked for. */
  readonly stream: ReadableStream<Uint8Array>;
}

/** Where the files of an artifact come from. */
export interface ArtifactSource {
  /**
   * @param path a path of the manifest, such as `weights.safetensors`
   * @throws BitloomError MISSING_FILE, READ_FAILED
   */
  open(path: string, options: { readonly signal?: AbortSignal | undefined }): Promise<OpenFile>;
}

/** As much of a browser's FileSystemDirectoryHandle as reading takes; Node's types do not know that one. */
export interface DirectoryHandle {
  getDirectoryHandle(name: string): Promise<DirectoryHandle>;
  getFileHandle(name: string): Promise<{ getFile(): Promise<File> }>;
}

/**
 * What `load` takes: a folder (a path or file URL in Node), the http(s) URL of one, the files of a browser's
 * folder picker or drop, or an own source.
 */
export type ArtifactLocation =
  | string
  | URL
  | ArtifactSource
  | DirectoryHandle
  | Iterable<File>
  | ArrayLike<File>;

/** The source for a location. @throws BitloomError INVALID_OPTION for anything else. */
export function resolveSource(location: ArtifactLocation): ArtifactSource {
  // An empty path would mean the current folder, which nobody asked for.
  if (location !== "" && (typeof location === "string" || location instanceof URL)) {
    return fromAddress(String(location));
  }
  if (typeof location === "object" && location !== null) {
    if ("open" in location) return location;
    if ("getFileHandle" in location) return new DirectoryHandleSource(location);
    if (Symbol.iterator in location || "length" in location) return new FileListSource(Array.from(location));
  }
  throw new BitloomError("INVALID_OPTION", "This is no place to load an artifact from", {
    expected: "a folder path, a URL, a directory handle, files, or an object with open()",
    received: describe(location),
  });
}

function fromAddress(address: string): ArtifactSource {
  if (/^https?:/i.test(address)) return new HttpSource(new URL(address));
  if (!isNode) return new HttpSource(relativeTo(globalThis.location?.href, address));
  return new FolderSource(/^file:/i.test(address) ? nodeModule("node:url").fileURLToPath(address) : address);
}

function relativeTo(page: string | undefined, address: string): URL {
  try {
    return new URL(address, page);
  } catch (cause) {
    // A worker made from a blob has no address that others are relative to.
    throw new BitloomError("INVALID_OPTION", "The artifact's address cannot be resolved here", {
      expected: "a whole URL",
      received: address,
      cause,
    });
  }
}

const missing = (location: string, cause?: unknown): BitloomError =>
  new BitloomError("MISSING_FILE", "A file of the artifact is missing", {
    location,
    hint: "Check the artifact's address; it is the folder that holds manifest.json.",
    cause,
  });

const unreadable = (location: string, received: string | undefined, cause?: unknown): BitloomError =>
  new BitloomError("READ_FAILED", "A file of the artifact cannot be read", {
    location,
    ...(received === undefined ? {} : { received }),
    cause,
  });

const READ_BYTES = 1024 * 1024;

class FolderSource implements ArtifactSource {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async open(path: string): Promise<OpenFile> {
    const location = nodeModule("node:path").join(this.#folder, path);
    const failure = (cause: unknown) =>
      ["ENOENT", "ENOTDIR"].includes((cause as NodeJS.ErrnoException).code ?? "")
        ? missing(location, cause)
        : unreadable(location, (cause as Error).message, cause);
    let handle: Awaited<ReturnType<typeof import("node:fs/promises").open>>;
    try {
      handle = await nodeModule("node:fs/promises").open(location);
    } catch (cause) {
      throw failure(cause);
    }
    try {
      const { size } = await handle.stat();
      const buffer = new Uint8Array(Math.min(READ_BYTES, Math.max(1, size)));
      const stream = new ReadableStream<Uint8Array>(
        {
          async pull(controller) {
            try {
              const { bytesRead } = await handle.read(buffer, 0, buffer.length);
              if (bytesRead > 0) return controller.enqueue(buffer.subarray(0, bytesRead));
            } catch (cause) {
              await handle.close().catch(() => undefined);
              return controller.error(failure(cause));
            }
            await handle.close();
            controller.close();
          },
          cancel: () => handle.close(),
        },
        // Reads happen only when asked for: that lets them share one buffer.
        { highWaterMark: 0 },
      );
      return { bytes: size, stream };
    } catch (cause) {
      await handle.close();
      throw failure(cause);
    }
  }
}

class HttpSource implements ArtifactSource {
  readonly #base: URL;

  /** @param base the artifact's folder; a query (a signature, say) is sent with every file */
  constructor(base: URL) {
    this.#base = new URL(base);
    if (!this.#base.pathname.endsWith("/")) this.#base.pathname += "/";
  }

  async open(path: string, { signal }: { readonly signal?: AbortSignal | undefined }): Promise<OpenFile> {
    const url = new URL(path, this.#base);
    url.search = this.#base.search;
    let response: Response;
    try {
      response = await fetch(url, { signal: signal ?? null });
    } catch (cause) {
      throw unreadable(url.href, (cause as Error).message, cause);
    }
    if (!response.ok || response.body === null) {
      await response.body?.cancel();
      if (response.status === 404 || response.status === 410) throw missing(url.href);
      throw unreadable(url.href, `HTTP status ${response.status}`);
    }
    // Content-Length counts compressed bytes, and across origins nothing says whether they are.
    return { stream: response.body };
  }
}

class DirectoryHandleSource implements ArtifactSource {
  readonly #root: DirectoryHandle;

  constructor(root: DirectoryHandle) {
    this.#root = root;
  }

  async open(path: string): Promise<OpenFile> {
    const folders = path.split("/");
    const name = folders.pop()!;
    try {
      let folder = this.#root;
      for (const segment of folders) folder = await folder.getDirectoryHandle(segment);
      return fromFile(await (await folder.getFileHandle(name)).getFile());
    } catch (cause) {
      throw (cause as Error).name === "NotFoundError"
        ? missing(path, cause)
        : unreadable(path, (cause as Error).message, cause);
    }
  }
}

class FileListSource implements ArtifactSource {
  readonly #files: ReadonlyMap<string, File>;

  constructor(files: readonly File[]) {
    // A folder picker gives `folder/kernels/a.wat`; the manifest counts from inside the folder.
    this.#files = new Map(
      files.map((file) => [file.webkitRelativePath?.replace(/^[^/]*\//, "") || file.name, file]),
    );
  }

  async open(path: string): Promise<OpenFile> {
    const file = this.#files.get(path);
    if (file === undefined) throw missing(path);
    return fromFile(file);
  }
}

const fromFile = (file: File): OpenFile => ({ bytes: file.size, stream: file.stream() });
