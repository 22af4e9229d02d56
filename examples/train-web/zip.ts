/** A file of an archive: its path and what it holds, at most 4 GiB in all. */
export interface ArchivedFile {
  readonly path: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** The first second that the format can tell, 1980-01-01: the same files give the same archive. */
const DATE = (1 << 5) | 1;
const NAMES_ARE_UTF8 = 1 << 11;

/** Files in a ZIP archive (PKWARE's APPNOTE, 4.3), stored as they are: weights do not compress. */
export function zip(files: readonly ArchivedFile[]): Blob {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  const directory: Uint8Array<ArrayBuffer>[] = [];
  let offset = 0;
  for (const { path, bytes } of files) {
    const name = new TextEncoder().encode(path);
    const { length } = bytes;
    // From the version that is needed to the length of an extra field.
    const common = [
      20,
      NAMES_ARE_UTF8,
      0,
      0,
      DATE,
      u32(crc32(bytes)),
      u32(length),
      u32(length),
      name.length,
      0,
    ];
    const local = [fields(u32(0x04034b50), ...common), name, bytes];
    directory.push(fields(u32(0x02014b50), 20, ...common, 0, 0, 0, u32(0), u32(offset)), name);
    pieces.push(...local);
    offset += sizeOf(local);
  }
  const count = files.length;
  const end = fields(u32(0x06054b50), 0, 0, count, count, u32(sizeOf(directory)), u32(offset), 0);
  return new Blob([...pieces, ...directory, end], { type: "application/zip" });
}

const sizeOf = (pieces: readonly Uint8Array[]): number => pieces.reduce((sum, { length }) => sum + length, 0);

const u32 = (value: number) => ({ value });

/** Little-endian fields: numbers of two bytes, and of four where they say so. */
function fields(...values: readonly (number | { readonly value: number })[]): Uint8Array<ArrayBuffer> {
  const bytes = values.flatMap((field) => {
    const [value, size] = typeof field === "number" ? [field, 2] : [field.value, 4];
    return Array.from({ length: size }, (_, i) => (value >>> (8 * i)) & 0xff);
  });
  return Uint8Array.from(bytes);
}

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = table[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
