import { BitloomError } from "../../errors/index.ts";
import type { ScaleGranularity } from "../../ir/types.ts";
import { describe, invalidOption } from "../dsl/options.ts";

/** Float types a stored weight may have. */
export type FloatType = "f32" | "f16" | "bf16";

/** Bytes of one stored element. */
export const floatBytes: Readonly<Record<FloatType, number>> = { f32: 4, f16: 2, bf16: 2 };

/**
 * How a parameter's bytes are to be read.
 * - `dense`: row-major little-endian floats. `ternary` says that each is exactly 0 or +-scale, with one scale
 *   at this granularity, so that the weight can be packed without loss.
 * - `ternary-packed`: the uint8 [N/4, K] of transformers; bit pair i of byte (r, k) is code + 1 of weight
 *   (i * N/4 + r, k). `scale` is multiplicative (weight = code * scale): one number, or one a row.
 */
export type ParameterForm =
  | { readonly kind: "dense"; readonly dtype: FloatType; readonly ternary?: ScaleGranularity }
  | { readonly kind: "ternary-packed"; readonly scale: Float32Array; readonly layout: "hf" };

export interface ParameterInfo {
  /** Logical dims: [N, K] for a weight, also when it is stored packed. */
  readonly dims: readonly number[];
  readonly form: ParameterForm;
}

/** Weights by checkpoint path, readable in any order and in pieces. */
export interface ParameterSource {
  /** The file or folder, for messages; absent where there is none. */
  readonly location?: string;
  info(path: string): ParameterInfo | undefined;
  paths(): Iterable<string>;
  /** Fills `into` with the stored bytes of `path` from `byteOffset` on. */
  read(path: string, byteOffset: number, into: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** Bytes of the stored form. */
export function storedBytes(info: ParameterInfo): number {
  const elements = info.dims.reduce((product, dim) => product * dim, 1);
  return info.form.kind === "dense" ? elements * floatBytes[info.form.dtype] : elements / 4;
}

/** `source.info(path)`, or MISSING_TENSOR. */
export function requireInfo(source: Pick<ParameterSource, "info">, path: string): ParameterInfo {
  const info = source.info(path);
  if (info === undefined) throw new BitloomError("MISSING_TENSOR", `The weights have no tensor "${path}"`);
  return info;
}

export interface MemoryParameter {
  readonly dims: readonly number[];
  /** Float32Array for dense f32, Uint16Array of the bits of f16 and bf16, Uint8Array of packed codes. */
  readonly data: Float32Array | Uint16Array | Uint8Array;
  /** Dense f32 when absent. */
  readonly form?: ParameterForm;
}

const denseF32: ParameterForm = { kind: "dense", dtype: "f32" };

/**
 * A source over arrays in memory.
 * @throws BitloomError INVALID_TENSOR for an array that is not what its dims and form say
 */
export function memorySource(parameters: ReadonlyMap<string, MemoryParameter>): ParameterSource {
  if (!(parameters instanceof Map)) {
    throw invalidOption(
      "memorySource: parameters",
      'a Map such as new Map([["fc.weight", { dims, data }]])',
      parameters,
    );
  }
  const infos = new Map<string, ParameterInfo>();
  for (const [path, parameter] of parameters) {
    const { dims, data, form = denseF32 } = checkParameter(path, parameter);
    const info: ParameterInfo = { dims, form };
    if (storedBytes(info) !== data.byteLength) {
      throw new BitloomError("INVALID_TENSOR", `The array given for "${path}" has the wrong length`, {
        expected: `${storedBytes(info)} bytes for [${dims.join(", ")}] ${describeForm(form)}`,
        received: `${data.byteLength} bytes`,
        hint: "Pass one element for each position of `dims`.",
      });
    }
    infos.set(path, info);
  }
  return {
    info: (path) => infos.get(path),
    paths: () => infos.keys(),
    async read(path, byteOffset, into) {
      requireInfo(this, path);
      const { data } = parameters.get(path)!;
      checkRange(path, byteOffset, into.byteLength, data.byteLength);
      into.set(new Uint8Array(data.buffer, data.byteOffset + byteOffset, into.byteLength));
    },
    async close() {},
  };
}

/** What TypeScript would have caught, and arrays of another element type, whose bits would be misread. */
function checkParameter(path: string, parameter: MemoryParameter): MemoryParameter {
  const refuse = (expected: string, received: unknown): never => {
    throw new BitloomError("INVALID_TENSOR", `What is given for "${path}" is no tensor of its form`, {
      expected,
      received: describe(received),
      hint: "Convert the elements: f32 is a Float32Array; f16 and bf16 are a Uint16Array of their bits.",
    });
  };
  const { dims, data, form = denseF32 } = parameter ?? refuse("{ dims, data }", parameter);
  const isLength = (dim: unknown) => Number.isSafeInteger(dim) && Number(dim) >= 1;
  if (!Array.isArray(dims) || !dims.every(isLength)) refuse("dims, a list of lengths", dims);
  const array = arrayOf(form) ?? refuse("a form of memorySource", form);
  if (!(data instanceof array)) refuse(`${array.name} for ${describeForm(form)}`, data);
  return parameter;
}

/** The typed array that holds a form's elements; undefined for what is no form. */
function arrayOf(form: ParameterForm) {
  if (form?.kind === "ternary-packed") return Uint8Array;
  if (form?.kind !== "dense") return undefined;
  return { f32: Float32Array, f16: Uint16Array, bf16: Uint16Array }[form.dtype];
}

/** Refuses a read outside a tensor of `bytes` bytes; a caller's mistake, never the file's. */
export function checkRange(path: string, byteOffset: number, length: number, bytes: number): void {
  if (byteOffset >= 0 && byteOffset + length <= bytes) return;
  throw new BitloomError("INVALID_TENSOR", `A read reaches outside tensor "${path}"`, {
    expected: `a range within 0..${bytes} bytes`,
    received: `${byteOffset}..${byteOffset + length}`,
  });
}

function describeForm(form: ParameterForm): string {
  return form.kind === "dense" ? form.dtype : "ternary-packed";
}
