import { z } from "zod";
import { BitloomError } from "../../errors/index.ts";
import { dtypeBytes, type SafetensorsType } from "../../runtime/safetensors.ts";

export interface StoredTensor {
  readonly name: string;
  readonly dtype: SafetensorsType;
  readonly shape: readonly number[];
  /** First byte, counted from the start of the file. */
  readonly offset: number;
  readonly bytes: number;
}

export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: ReadonlyMap<string, string>;
}

/** Real headers take about 150 bytes a tensor; the bound keeps a hostile length from filling memory. */
export const MAX_HEADER_BYTES = 32 * 1024 * 1024;
const MAX_DEPTH = 3;

const entry = z.object({
  dtype: z.string(),
  shape: z.array(z.int().min(0)),
  data_offsets: z.tuple([z.int().min(0), z.int().min(0)]),
});

/**
 * The header's length as stored in a file's first 8 bytes, checked against the file's size.
 * Throws CORRUPT_FILE.
 */
export function headerLength(prefix: Uint8Array, fileBytes: number, file: string): number {
  if (fileBytes < 8) {
    throw corrupt(
      file,
      0,
      "the file is shorter than the 8 bytes of its header's length",
      `${fileBytes} bytes`,
    );
  }
  const length = Number(new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true));
  if (length < 2 || length > MAX_HEADER_BYTES || 8 + length > fileBytes) {
    throw corrupt(
      file,
      0,
      "the header's length is impossible",
      `${length} bytes of header in a file of ${fileBytes} bytes`,
    );
  }
  return length;
}

/**
 * Reads and checks a header: every tensor's dtype, shape and range agree, ranges lie in the file, and they
 * cover it without holes or overlaps, as the format demands.
 *
 * @param header the JSON bytes, without the 8 bytes of length
 * @param fileBytes size of the whole file
 * Throws CORRUPT_FILE or INVALID_TENSOR naming file, tensor and byte.
 */
export function parseHeader(header: Uint8Array, fileBytes: number, file: string): SafetensorsHeader {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(header);
  } catch (cause) {
    throw corrupt(file, 8, "the header is not UTF-8", undefined, cause);
  }
  const names = topLevelKeys(text, file);
  let json: Record<string, unknown>;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw corrupt(file, 8, "the header is not JSON", String(cause), cause);
  }
  const dataStart = 8 + header.byteLength;
  const tensors = new Map<string, StoredTensor>();
  let metadata: ReadonlyMap<string, string> = new Map();
  for (const name of names) {
    if (name === "__metadata__") {
      metadata = readMetadata(json[name], file);
      continue;
    }
    tensors.set(name, readEntry(name, json[name], dataStart, fileBytes, file));
  }
  checkCoverage([...tensors.values()], dataStart, fileBytes, file);
  return { tensors, metadata };
}

function readMetadata(json: unknown, file: string): ReadonlyMap<string, string> {
  const entries =
    typeof json === "object" && json !== null && !Array.isArray(json) ? Object.entries(json) : null;
  if (entries === null || entries.some(([, value]) => typeof value !== "string")) {
    throw corrupt(file, 8, "__metadata__ is not a map of strings to strings");
  }
  return new Map(entries);
}

function readEntry(
  name: string,
  json: unknown,
  dataStart: number,
  fileBytes: number,
  file: string,
): StoredTensor {
  const parsed = entry.safeParse(json);
  if (!parsed.success) {
    throw invalid(file, name, 8, "its header entry is malformed", z.prettifyError(parsed.error));
  }
  const { dtype, shape, data_offsets } = parsed.data;
  if (!Object.hasOwn(dtypeBytes, dtype)) {
    throw invalid(
      file,
      name,
      8,
      "its dtype is unknown",
      dtype,
      `one of ${Object.keys(dtypeBytes).join(", ")}`,
    );
  }
  const [begin, end] = data_offsets;
  const offset = dataStart + begin;
  if (begin > end) {
    throw invalid(file, name, offset, "its range ends before it begins", `data_offsets [${begin}, ${end}]`);
  }
  if (dataStart + end > fileBytes) {
    throw new BitloomError("CORRUPT_FILE", `${file} is truncated: tensor "${name}" reaches beyond its end`, {
      expected: `${dataStart + end} bytes`,
      received: `${fileBytes} bytes`,
      location: `${file}, tensor "${name}", byte ${offset}`,
    });
  }
  const bytes = shapeBytes(shape, dtypeBytes[dtype as SafetensorsType]);
  if (bytes !== end - begin) {
    throw invalid(
      file,
      name,
      offset,
      "its shape and its byte count disagree",
      `${end - begin} bytes`,
      `${bytes} bytes for ${dtype} [${shape.join(", ")}]`,
    );
  }
  return { name, dtype: dtype as SafetensorsType, shape, offset, bytes };
}

/** Infinity rather than a wrong number when the product leaves the exact integers. */
function shapeBytes(shape: readonly number[], elementBytes: number): number {
  if (shape.includes(0)) return 0;
  let bytes = elementBytes;
  for (const dim of shape) {
    bytes *= dim;
    if (bytes > Number.MAX_SAFE_INTEGER) return Number.POSITIVE_INFINITY;
  }
  return bytes;
}

function checkCoverage(tensors: StoredTensor[], dataStart: number, fileBytes: number, file: string): void {
  tensors.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let position = dataStart;
  let previous = "the header";
  for (const tensor of tensors) {
    if (tensor.offset < position) {
      throw invalid(
        file,
        tensor.name,
        tensor.offset,
        `it overlaps ${previous}`,
        `a range from ${tensor.offset}`,
      );
    }
    if (tensor.offset > position) {
      throw corrupt(
        file,
        position,
        `bytes ${position}..${tensor.offset} before tensor "${tensor.name}" belong to no tensor`,
      );
    }
    position = tensor.offset + tensor.bytes;
    previous = `tensor "${tensor.name}"`;
  }
  if (position !== fileBytes) {
    throw corrupt(file, position, `${fileBytes - position} bytes after the last tensor belong to none`);
  }
}

/**
 * The keys of the outermost object, in order. JSON.parse keeps the last of two equal keys without a word and
 * accepts any depth; this scan refuses both before it runs.
 */
function topLevelKeys(text: string, file: string): string[] {
  const keys = new Set<string>();
  let depth = 0;
  let expectsKey = false;
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === "{" || char === "[") {
      depth++;
      if (depth > MAX_DEPTH) throw corrupt(file, 8 + i, "the header is nested too deeply");
      if (depth === 1) expectsKey = char === "{";
    } else if (char === "}" || char === "]") {
      depth--;
    } else if (char === "," && depth === 1) {
      expectsKey = true;
    } else if (char === '"') {
      const start = i;
      for (i++; i < text.length && text[i] !== '"'; i++) if (text[i] === "\\") i++;
      if (depth !== 1 || !expectsKey) continue;
      expectsKey = false;
      let key: string;
      try {
        key = JSON.parse(text.slice(start, i + 1));
      } catch (cause) {
        throw corrupt(file, 8 + start, "the header is not JSON", undefined, cause);
      }
      if (keys.has(key)) throw invalid(file, key, 8 + start, "the header names it twice", "a duplicate name");
      keys.add(key);
    }
  }
  if (text.trimStart()[0] !== "{") throw corrupt(file, 8, "the header is not a JSON object");
  return [...keys];
}

function corrupt(file: string, byte: number, what: string, received?: string, cause?: unknown): BitloomError {
  return new BitloomError("CORRUPT_FILE", `${file} is not a valid safetensors file: ${what}`, {
    ...(received === undefined ? {} : { received }),
    location: `${file}, byte ${byte}`,
    cause,
  });
}

function invalid(
  file: string,
  tensor: string,
  byte: number,
  what: string,
  received: string,
  expected?: string,
): BitloomError {
  return new BitloomError("INVALID_TENSOR", `Tensor "${tensor}" of ${file} is invalid: ${what}`, {
    ...(expected === undefined ? {} : { expected }),
    received,
    location: `${file}, tensor "${tensor}", byte ${byte}`,
  });
}
