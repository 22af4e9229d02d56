import { BitloomError } from "../errors/index.ts";
import { abortable, abortError, throwIfAborted } from "./abort.ts";
import type { ProgressEvent } from "./events.ts";
import { type ArtifactFile, CHUNK_BYTES } from "./manifest.ts";
import type { ArtifactSource } from "./source.ts";

export interface ReadOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((event: ProgressEvent) => void) | undefined;
  /** Compare every chunk with its sha256. */
  readonly verify: boolean;
}

/** Receives a file's bytes in order; `bytes` is valid until the sink is done. */
export type Sink = (bytes: Uint8Array, offset: number) => void | Promise<void>;

/**
 * Streams one file of the artifact to `sink` in pieces of at most `CHUNK_BYTES`, each verified before the sink
 * sees it. Holds two such pieces: one is hashed while the next arrives.
 * @throws BitloomError CORRUPT_FILE naming the byte range or both lengths, ABORTED, and the source's errors.
 */
export async function streamFile(
  source: ArtifactSource,
  file: ArtifactFile,
  sink: Sink,
  options: ReadOptions,
): Promise<void> {
  const { signal, verify } = options;
  const { path, bytes: total } = file;
  const report = (status: ProgressEvent["status"], loaded: number) =>
    options.onProgress?.({
      status,
      file: path,
      loaded,
      total,
      progress: total === 0 ? 100 : (100 * loaded) / total,
    });

  report("initiate", 0);
  let received = 0;
  let handled = 0;
  let filling = new Uint8Array(Math.min(CHUNK_BYTES, total));
  let spare = new Uint8Array(Math.min(CHUNK_BYTES, Math.max(0, total - CHUNK_BYTES)));
  let filled = 0;
  let verifying: Promise<void> | undefined;

  /** Sends the full chunk to be verified, after the one before it has been. */
  const flush = async () => {
    await verifying;
    const chunk = filling.subarray(0, filled);
    const offset = handled;
    verifying = handle(file, chunk, offset, sink, verify);
    // It is awaited later; until then a failure is not unhandled.
    verifying.catch(() => undefined);
    handled += filled;
    filled = 0;
    [filling, spare] = [spare, filling];
  };

  await consume(
    source,
    path,
    total,
    signal,
    () => report("download", 0),
    async (piece) => {
      if (received + piece.length > total)
        throw wrongLength(path, total, `at least ${received + piece.length} bytes`);
      for (let taken = 0; taken < piece.length; ) {
        const part = piece.subarray(taken, taken + Math.min(CHUNK_BYTES, total - handled) - filled);
        filling.set(part, filled);
        filled += part.length;
        taken += part.length;
        if (filled === Math.min(CHUNK_BYTES, total - handled)) await flush();
      }
      received += piece.length;
      report("progress", received);
    },
  );
  if (received !== total) throw wrongLength(path, total, `${received} bytes`);
  if (total === 0) await flush();
  await verifying;
  throwIfAborted(signal);
  report("done", total);
}

/** The whole of one file of the artifact, verified. */
export async function readFile(
  source: ArtifactSource,
  file: ArtifactFile,
  options: ReadOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const whole = new Uint8Array(file.bytes);
  await streamFile(source, file, (bytes, offset) => void whole.set(bytes, offset), options);
  return whole;
}

/**
 * A file of unknown size and hash, at most `limit` bytes: the manifest itself.
 * @throws BitloomError CORRUPT_FILE past the limit, ABORTED, and the source's errors.
 */
export async function readUnlisted(
  source: ArtifactSource,
  path: string,
  limit: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array[] = [];
  let total = 0;
  await consume(
    source,
    path,
    undefined,
    signal,
    () => undefined,
    (piece) => {
      total += piece.length;
      if (total > limit) {
        throw new BitloomError("CORRUPT_FILE", `${path} is too large`, {
          expected: `at most ${limit} bytes`,
          received: `at least ${total} bytes`,
        });
      }
      pieces.push(piece.slice());
    },
  );
  const whole = new Uint8Array(total);
  let offset = 0;
  for (const piece of pieces) {
    whole.set(piece, offset);
    offset += piece.length;
  }
  return whole;
}

const wrongLength = (path: string, total: number, received: string): BitloomError =>
  new BitloomError("CORRUPT_FILE", `${path} has the wrong length`, { expected: `${total} bytes`, received });

/** Opens a file and hands on its pieces; whatever happens, the stream is cancelled when this ends. */
async function consume(
  source: ArtifactSource,
  path: string,
  expectedBytes: number | undefined,
  signal: AbortSignal | undefined,
  onOpen: () => void,
  onPiece: (piece: Uint8Array) => void | Promise<void>,
): Promise<void> {
  throwIfAborted(signal);
  const discard = ({ stream }: { stream: ReadableStream }) => void stream.cancel().catch(() => undefined);
  const { bytes, stream } = await abortable(source.open(path, { signal }), signal, discard).catch((error) => {
    throw signal?.aborted ? abortError(signal) : error;
  });
  const reader = stream.getReader();
  // Ends a read in flight even where the source does not know the signal.
  const onAbort = () => void reader.cancel(signal?.reason).catch(() => undefined);
  signal?.addEventListener("abort", onAbort);
  try {
    if (bytes !== undefined && expectedBytes !== undefined && bytes !== expectedBytes) {
      throw wrongLength(path, expectedBytes, `${bytes} bytes`);
    }
    onOpen();
    for (;;) {
      const { done, value } = await read(reader, path);
      throwIfAborted(signal);
      if (done) return;
      await onPiece(value);
      throwIfAborted(signal);
    }
  } catch (error) {
    await reader.cancel().catch(() => undefined);
    throw signal?.aborted ? abortError(signal) : error;
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

async function read(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  path: string,
): Promise<ReadableStreamReadResult<Uint8Array>> {
  try {
    return await reader.read();
  } catch (cause) {
    if (cause instanceof BitloomError) throw cause;
    throw new BitloomError("READ_FAILED", `Reading ${path} failed`, {
      received: cause instanceof Error ? cause.message : String(cause),
      cause,
    });
  }
}

async function handle(
  file: ArtifactFile,
  chunk: Uint8Array<ArrayBuffer>,
  offset: number,
  sink: Sink,
  verify: boolean,
): Promise<void> {
  if (verify) {
    const expected = file.sha256[Math.floor(offset / CHUNK_BYTES)]!;
    const digest = hex(new Uint8Array(await crypto.subtle.digest("SHA-256", chunk)));
    if (digest !== expected) {
      throw new BitloomError("CORRUPT_FILE", `${file.path} is corrupt`, {
        location: `${file.path} bytes ${offset} to ${offset + Math.max(0, chunk.length - 1)}`,
        expected: `sha256 ${expected}`,
        received: `sha256 ${digest}`,
      });
    }
  }
  await sink(chunk, offset);
}

const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
