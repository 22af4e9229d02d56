import { elementBytes } from "../../../codegen/schedule/draft.ts";
import type {
  ObservedValue,
  PlannedCheck,
  PlannedChecks,
  TargetName,
} from "../../../codegen/schedule/plan.ts";
import { evaluate, holds } from "../../../codegen/schedule/symbols.ts";
import type { Value } from "../../../ir/graph.ts";
import { type Tensor, toFloat32 } from "../../../ir/tensor.ts";
import type { Check, SelfCheck } from "../../../runtime/manifest.ts";
import { encodeHeader } from "../../../runtime/safetensors.ts";
import { memorySource } from "../../checkpoint/source.ts";
import type { ArtifactFolder } from "../artifact-folder.ts";
import { Workspace, weightFiller } from "../prepare/index.ts";
import { answers } from "./answers.ts";
import { checkOperands, PERIOD } from "./operands.ts";

type Run = Check["runs"][number];

/** Evaluates a target's checks by the interpreter and writes their vectors to a file. */
export async function writeSelfCheck(
  folder: Pick<ArtifactFolder, "write">,
  target: TargetName,
  { checks }: PlannedChecks,
): Promise<SelfCheck> {
  const vectors = new Vectors();
  const workspace = await Workspace.open();
  const described: Check[] = [];
  for (const [index, check] of checks.entries()) {
    const name = `self-check.${index}`;
    const runs: Run[] = [];
    for (const [number, symbols] of check.runs.entries()) {
      runs.push(await describeRun(`${name}.${number}`, target, check, symbols, vectors, workspace));
    }
    const symbols = [...check.graph.symbols].map(([symbol, { max }]) => [symbol, max]);
    described.push({ name, symbols: Object.fromEntries(symbols), steps: [...check.steps], runs });
  }
  const path = `self-check.${target}.safetensors`;
  const { header, data } = vectors.file();
  await folder.write(path, Buffer.concat([header, ...data]));
  return { path, checks: described.map((check) => shifted(check, header.length)) };
}

async function describeRun(
  name: string,
  target: TargetName,
  check: PlannedCheck,
  symbols: ReadonlyMap<string, number>,
  vectors: Vectors,
  workspace: Workspace,
): Promise<Run> {
  const operands = checkOperands(check, symbols);
  const writes: Run["writes"] = [];
  const write = (label: string, offset: number, image: Uint8Array, width: number): void => {
    const stored = repeats(image, PERIOD * width) ? PERIOD * width : image.length;
    const data = vectors.add(`${name}.${label}`, image.subarray(0, stored));
    writes.push({ offset, bytes: image.length, data, stored });
  };
  for (const { value, place } of check.inputs) {
    const { type, data } = operands.get(value)!;
    const image = imageOf({ type, data }, place, symbols);
    write(value.name!, evaluate(place.offset, symbols), image, data.BYTES_PER_ELEMENT);
  }
  for (const [buffer, image] of await weightImages(check, operands, workspace)) {
    write(`${buffer.name}.${buffer.layout}`, buffer.offset, image, elementBytes(buffer.dtype));
  }
  const right = answers(check, target, operands, symbols);
  const reads = right.flatMap(({ tensor, tolerance }, index): Run["reads"] => {
    const { place, writers } = check.observed[index]!;
    const step = writers
      .map((writer) => check.steps[writer]!)
      .findLast((writer) => holds(writer.guard, symbols));
    if (step === undefined) return [];
    const image = imageOf(tensor, place, symbols);
    const columns = tensor.type.dims.at(-1) ?? 1;
    const rows = Float32Array.from(
      { length: tolerance.length / columns },
      (_, row) => tolerance[row * columns]!,
    );
    // Tolerances are a row's own where rows follow each other in memory; otherwise the largest is everybody's.
    const parts = isByRows(place, symbols) ? rows : Float32Array.of(rows.reduce((a, b) => Math.max(a, b), 0));
    const { dtype } = tensor.type;
    return [
      {
        kernel: step.kernel,
        region: place.region,
        offset: evaluate(place.offset, symbols),
        bytes: image.length,
        dtype: dtype === "bool" ? "u8" : dtype,
        ...storedAnswer(image, `${name}.result${index}`, tensor.data.BYTES_PER_ELEMENT, vectors),
        tolerances: vectors.add(`${name}.tolerance${index}`, new Uint8Array(parts.buffer)),
        parts: parts.length,
      },
    ];
  });
  return { symbols: Object.fromEntries(symbols), writes, reads };
}

/** Gaps between what is patched that are not worth two patches. */
const LEAST_GAP = 64;

/** An answer as the file has it: caches are mostly what they were, which is what repeats. */
function storedAnswer(
  image: Uint8Array,
  name: string,
  width: number,
  vectors: Vectors,
): Pick<Run["reads"][number], "expected" | "stored" | "patches"> {
  const stored = PERIOD * width;
  const ranges: { start: number; end: number }[] = [];
  for (let at = stored; at < image.length; at++) {
    if (image[at] === image[at % stored]) continue;
    const last = ranges.at(-1);
    if (last !== undefined && at - last.end < LEAST_GAP) last.end = at + 1;
    else ranges.push({ start: at, end: at + 1 });
  }
  const patched = ranges.reduce((sum, { start, end }) => sum + end - start, 0);
  if (stored + patched > image.length / 2) return { expected: vectors.add(name, image) };
  return {
    expected: vectors.add(name, image.subarray(0, stored)),
    stored,
    patches: ranges.map(({ start, end }, index) => ({
      at: start,
      bytes: end - start,
      data: vectors.add(`${name}.patch${index}`, image.subarray(start, end)),
    })),
  };
}

/** A check's weights as kernels read them. */
async function weightImages(check: PlannedCheck, operands: ReadonlyMap<Value, Tensor>, workspace: Workspace) {
  const parameters = check.graph.parameters.map((value) => {
    const tensor = operands.get(value)!;
    return [value.name!, { dims: tensor.type.dims, data: toFloat32(tensor) }] as const;
  });
  const fill = await weightFiller(memorySource(new Map(parameters)), workspace);
  const images: [PlannedCheck["weights"][number], Uint8Array][] = [];
  for (const buffer of check.weights) {
    const image = new Uint8Array(buffer.bytes);
    if (buffer.layout === "dense") image.set(bytesOf(operands.get(buffer.value)!));
    else {
      let end = 0;
      await fill(buffer, async (bytes) => {
        image.set(bytes, end);
        end += bytes.length;
      });
    }
    images.push([buffer, image]);
  }
  return images;
}

/** Whether a tensor's rows follow each other in memory, padded alike. */
function isByRows(
  { dims, strides, paddedRow }: ObservedValue["place"],
  symbols: ReadonlyMap<string, number>,
): boolean {
  let expected = paddedRow === 0 ? 1 : paddedRow;
  for (let axis = dims.length - 1; axis >= 0; axis--) {
    const dim = evaluate(dims[axis]!, symbols);
    if (axis === dims.length - 1 && paddedRow > 0) continue;
    if (dim !== 1 && evaluate(strides[axis]!, symbols) !== expected) return false;
    expected *= dim;
  }
  return true;
}

/** A tensor's elements as they lie in memory from its first one on, with zeros between them. */
function imageOf(
  { type, data }: Tensor,
  { strides, paddedRow }: ObservedValue["place"],
  symbols: ReadonlyMap<string, number>,
): Uint8Array {
  const { dims } = type;
  const steps = strides.map((stride) => evaluate(stride, symbols));
  const end = dims.reduce((last, dim, axis) => last + (dim - 1) * steps[axis]!, 1);
  const rows = paddedRow === 0 ? 0 : data.length / dims.at(-1)!;
  const image = new (data.constructor as Float32ArrayConstructor)(Math.max(end, rows * paddedRow));
  for (let index = 0; index < data.length; index++) {
    let rest = index;
    let at = 0;
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      at += (rest % dims[axis]!) * steps[axis]!;
      rest = Math.floor(rest / dims[axis]!);
    }
    image[at] = data[index]!;
  }
  return new Uint8Array(image.buffer);
}

const bytesOf = ({ data }: Tensor): Uint8Array =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

function repeats(bytes: Uint8Array, period: number): boolean {
  return bytes.length > period && bytes.every((byte, i) => i < period || byte === bytes[i - period]);
}

/** The vectors of a file, in order; equal ones are there once. */
class Vectors {
  readonly #names: string[] = [];
  readonly #data: Uint8Array[] = [];
  readonly #known = new Map<string, number>();
  #bytes = 0;

  /** Where it lies among the data. */
  add(name: string, bytes: Uint8Array): number {
    const content = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
    const known = this.#known.get(content);
    if (known !== undefined) return known;
    const offset = this.#bytes;
    this.#known.set(content, offset);
    this.#names.push(name);
    this.#data.push(bytes);
    this.#bytes += bytes.length;
    return offset;
  }

  file(): { readonly header: Uint8Array; readonly data: readonly Uint8Array[] } {
    const tensors = this.#names.map(
      (name, i) => ({ name, dtype: "U8", shape: [this.#data[i]!.length] }) as const,
    );
    return { header: encodeHeader(tensors), data: this.#data };
  }
}

/** The check with places in the file, which its data follow. */
function shifted({ runs, ...check }: Check, by: number): Check {
  return {
    ...check,
    runs: runs.map((run) => ({
      ...run,
      writes: run.writes.map((write) => ({ ...write, data: write.data + by })),
      reads: run.reads.map((read) => ({
        ...read,
        expected: read.expected + by,
        ...(read.patches && {
          patches: read.patches.map((patch) => ({ ...patch, data: patch.data + by })),
        }),
        tolerances: read.tolerances + by,
      })),
    })),
  };
}
