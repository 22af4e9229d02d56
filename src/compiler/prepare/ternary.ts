import { SCALE_FLOOR } from "../../../ir/index.ts";
import { scaleCount } from "../../../ir/types.ts";
import { floatBytes, type ParameterSource } from "../../checkpoint/source.ts";
import { invalidCodeIn, nonFiniteIn } from "./invalid-weights.ts";
import type { DenseParameter, LatentPart, PackedPart, TernaryPart } from "./leaves.ts";
import { PIECE_BYTES, ranges, readAhead } from "./pieces.ts";
import type { Workspace } from "./workspace.ts";

/** Rows interleaved in packed codes, and weights of one row in a block of 16 bytes. */
const INTERLEAVED_ROWS = 4;
const BLOCK_WEIGHTS = 64;
const BLOCK_BYTES = 16;
/** Four codes of 1, which is weight 0: what rows beyond the last are filled with. */
const PADDING_BYTE = 0b01_01_01_01;

/** Multiplicative scales of parts, kept for as long as the buffers that need them follow each other. */
const REMEMBERED_SCALES = 64;

/** Rows of one part that one kernel call moves into one chunk of the output. */
interface Run {
  readonly part: TernaryPart;
  /** First row within the part, and the row of the chunk it becomes. */
  readonly row: number;
  readonly rows: number;
  readonly target: number;
  /** Set where this run completes a chunk: the chunk's rows, padding included. */
  readonly completes: number | undefined;
}

/** Realizes ternary weights: scales by absmean or from the file, codes in the interleaved block layout. */
export class TernaryPacker {
  readonly #workspace: Workspace;
  readonly #source: ParameterSource;
  readonly #scales = new Map<string, Float32Array>();

  constructor(workspace: Workspace, source: ParameterSource) {
    this.#workspace = workspace;
    this.#source = source;
  }

  /** The scales of a part, row-major: one, one a row, or one for each group of each row. */
  async scales(part: TernaryPart): Promise<Float32Array> {
    if (part.kind === "packed") return part.scale;
    if (typeof part.scale !== "string") return part.scale;
    const key = `${part.scale} ${JSON.stringify(part.granularity)} ${part.parameter.path}`;
    const known = this.#scales.get(key);
    if (known !== undefined) return known;
    const scales = await this.#computeScales(part, part.scale);
    const [oldest] = this.#scales.keys();
    if (this.#scales.size >= REMEMBERED_SCALES && oldest !== undefined) this.#scales.delete(oldest);
    this.#scales.set(key, scales);
    return scales;
  }

  /** Writes the codes of a whole weight, its parts stacked. */
  async writeCodes(
    parts: readonly TernaryPart[],
    groupSize: number,
    write: (bytes: Uint8Array) => Promise<void>,
  ): Promise<void> {
    const k = parts[0]!.k;
    const rowBytes = packedRowBytes(k, groupSize);
    const rows = parts.reduce((sum, { n }) => sum + n, 0);
    const chunkRows = rowsOfPiece(rows, k, 4);
    const scales = new Map<TernaryPart, Float32Array>();
    for (const part of parts) scales.set(part, await this.scales(part));
    const mostScales = Math.max(...[...scales.values()].map((each) => each.length));
    const [even, odd, wide, alphas, codes, flag] = this.#workspace.reserve(
      chunkRows * k * 4,
      chunkRows * k * 4,
      chunkRows * k * 4,
      mostScales * 4,
      chunkRows * rowBytes,
      16,
    );
    const buffers = [even, odd] as const;
    const pad = () => this.#workspace.bytes(codes, chunkRows * rowBytes).fill(PADDING_BYTE);
    pad();
    await readAhead(
      runsOf(parts, chunkRows),
      (run, buffer) => this.#read(run, buffers[buffer]),
      async (run, buffer) => {
        const { part } = run;
        if (part.kind === "packed") this.#repack(run, part, buffers[buffer], codes, flag);
        else {
          if (run.row === 0) this.#workspace.f32(alphas, mostScales).set(scales.get(part)!);
          const weights = this.#widened(part.parameter, buffers[buffer], wide, run.rows * k);
          this.#pack(run, part, weights, alphas, codes, groupSize);
        }
        if (run.completes !== undefined) {
          await write(this.#workspace.bytes(codes, run.completes * rowBytes));
          pad();
        }
      },
    );
  }

  async #read({ part, row, rows }: Run, buffer: number): Promise<void> {
    if (part.kind === "latent") {
      const rowBytes = part.k * floatBytes[part.parameter.dtype];
      const into = this.#workspace.bytes(buffer, rows * rowBytes);
      return this.#source.read(part.parameter.path, row * rowBytes, into);
    }
    const packedRow = row % (part.n / 4);
    return this.#source.read(part.path, packedRow * part.k, this.#workspace.bytes(buffer, rows * part.k));
  }

  #pack(
    { row, rows, target }: Run,
    { k, granularity }: LatentPart,
    weights: number,
    alphas: number,
    codes: number,
    groupSize: number,
  ): void {
    const stride = granularity === "tensor" ? 0 : scaleCount(granularity, 1, k);
    const first = alphas + row * stride * 4;
    this.#workspace.kernels.packTernary(weights, first, codes, k, groupSize, stride, target, 0, rows);
  }

  #repack(run: Run, part: PackedPart, packed: number, codes: number, flag: number): void {
    const shift = 2 * Math.floor(run.row / (part.n / 4));
    const invalid = this.#workspace.i32(flag, 1);
    invalid[0] = 0;
    this.#workspace.kernels.repackTernary(packed, codes, flag, part.k, shift, run.target, 0, run.rows);
    if (invalid[0] === 0) return;
    const piece = this.#workspace.bytes(packed, run.rows * part.k);
    throw invalidCodeIn(piece, part.path, part.k, shift, run.row);
  }

  /** One pass over a parameter for its scales. */
  async #computeScales(
    { parameter, n, k, granularity }: LatentPart,
    scale: "absmean" | "magnitude",
  ): Promise<Float32Array> {
    const groupSize = typeof granularity === "object" ? granularity.group : k;
    const groups = Math.ceil(k / groupSize);
    const pieceRows = rowsOfPiece(n, k, floatBytes[parameter.dtype]);
    const rowBytes = k * floatBytes[parameter.dtype];
    const [even, odd, wide, results] = this.#workspace.reserve(
      pieceRows * rowBytes,
      pieceRows * rowBytes,
      pieceRows * k * 4,
      pieceRows * groups * 8,
    );
    const buffers = [even, odd] as const;
    const scales = new Float32Array(scaleCount(granularity, n, k));
    let total = 0;
    await readAhead(
      ranges(n, pieceRows),
      ({ first, count }, buffer) => {
        const into = this.#workspace.bytes(buffers[buffer], count * rowBytes);
        return this.#source.read(parameter.path, first * rowBytes, into);
      },
      ({ first, count }, buffer) => {
        const weights = this.#widened(parameter, buffers[buffer], wide, count * k);
        const values = this.#ofGroups(scale, weights, results, k, groupSize, count);
        for (let i = 0; i < values.length; i++) {
          const value = values[i]!;
          if (!Number.isFinite(value)) {
            throw nonFiniteIn(this.#workspace.bytes(buffers[buffer], count * rowBytes), parameter, first * k);
          }
          if (granularity === "tensor") total += value;
          else {
            const length = Math.min(groupSize, k - (i % groups) * groupSize);
            scales[first * groups + i] = scale === "absmean" ? absmean(value, length) : value || SCALE_FLOOR;
          }
        }
      },
    );
    if (granularity === "tensor") scales[0] = absmean(total, n * k);
    return scales;
  }

  /** The sum of magnitudes, or the largest, of each group of each row; not finite where a weight is not. */
  #ofGroups(
    scale: "absmean" | "magnitude",
    weights: number,
    results: number,
    k: number,
    groupSize: number,
    rows: number,
  ): Float64Array | Float32Array {
    const count = rows * Math.ceil(k / groupSize);
    if (scale === "absmean") {
      this.#workspace.kernels.absmeanSums(weights, results, k, groupSize, 0, rows);
      return this.#workspace.f64(results, count);
    }
    this.#workspace.kernels.groupMagnitudes(weights, results, k, groupSize, 0, rows);
    return this.#workspace.f32(results, count);
  }

  /** The address of `count` stored floats as f32. */
  #widened({ dtype }: DenseParameter, stored: number, wide: number, count: number): number {
    if (dtype === "f32") return stored;
    this.#workspace.widen(dtype, stored, wide, count);
    return wide;
  }
}

/** alpha = max(RN32(sum |W| / count), 1e-5). */
function absmean(sum: number, count: number): number {
  return Math.max(Math.fround(sum / count), SCALE_FLOOR);
}

/** Scales of stacked parts as the kernels read them: [ceil(rows/4)][groups][4], the rest zero. */
export async function interleavedScales(
  parts: readonly TernaryPart[],
  groups: number,
  scalesOf: (part: TernaryPart) => Promise<Float32Array>,
): Promise<Float32Array> {
  const rows = parts.reduce((sum, { n }) => sum + n, 0);
  const out = new Float32Array(Math.ceil(rows / INTERLEAVED_ROWS) * groups * INTERLEAVED_ROWS);
  let begin = 0;
  for (const part of parts) {
    const scales = await scalesOf(part);
    for (let row = 0; row < part.n; row++) {
      const lane = (begin + row) % INTERLEAVED_ROWS;
      const first = (begin + row - lane) * groups + lane;
      for (let group = 0; group < groups; group++) {
        out[first + group * INTERLEAVED_ROWS] =
          scales.length === 1 ? scales[0]! : scales[row * groups + group]!;
      }
    }
    begin += part.n;
  }
  return out;
}

/** Every group of a row is padded to whole blocks. */
function packedRowBytes(k: number, groupSize: number): number {
  const whole = Math.floor(k / groupSize) * Math.ceil(groupSize / BLOCK_WEIGHTS);
  return (whole + Math.ceil((k % groupSize) / BLOCK_WEIGHTS)) * BLOCK_BYTES;
}

/** Rows of about a piece, a multiple of the interleaved rows; not more than there are. */
function rowsOfPiece(rows: number, k: number, elementBytes: number): number {
  const groups = Math.min(
    Math.floor(PIECE_BYTES / (k * elementBytes * INTERLEAVED_ROWS)),
    Math.ceil(rows / INTERLEAVED_ROWS),
  );
  return Math.max(1, groups) * INTERLEAVED_ROWS;
}

/** Cuts stacked parts at the borders of chunks, of parts, and of the four bit pairs of packed tensors. */
function* runsOf(parts: readonly TernaryPart[], chunkRows: number): Generator<Run> {
  const total = parts.reduce((sum, { n }) => sum + n, 0);
  let position = 0;
  for (const part of parts) {
    const field = part.kind === "packed" ? part.n / 4 : part.n;
    for (let row = 0; row < part.n; ) {
      const target = position % chunkRows;
      const rows = Math.min(part.n - row, field - (row % field), chunkRows - target);
      position += rows;
      const filled = position % chunkRows === 0 || position === total;
      const padded = Math.ceil((target + rows) / INTERLEAVED_ROWS) * INTERLEAVED_ROWS;
      yield { part, row, rows, target, completes: filled ? padded : undefined };
      row += rows;
    }
  }
}
