import { BitloomError } from "../errors/index.ts";
import { arrays, type DType, type TypedArray, type TypedArrayOf } from "./dtypes.ts";
import type { Entry, TensorSlot } from "./manifest.ts";
import { describe } from "./options.ts";

/** A tensor with its shape, row-major. f16 and bf16 are Uint16Array of their bits. */
export interface Tensor<D extends DType = DType, Dims extends readonly number[] = readonly number[]> {
  readonly data: TypedArrayOf<D>;
  readonly dims: Dims;
}

/** An input: with its dims, or bare where the entry's shape leaves at most one dim open. */
export type TensorInput<D extends DType = DType, Dims extends readonly number[] = readonly number[]> =
  | TypedArrayOf<D>
  | Tensor<D, Dims>;

export interface BoundInputs {
  /** Each input's bytes with its place. */
  readonly tensors: readonly { readonly slot: TensorSlot; readonly data: TypedArray }[];
  /** The value each symbol of the entry takes. */
  readonly symbols: ReadonlyMap<string, number>;
}

const signature = ({ dtype, dims }: TensorSlot): string => `${dtype}[${dims.join(", ")}]`;

const invalid = (name: string, expected: string, received: string, location?: string): BitloomError =>
  new BitloomError("INVALID_INPUT", `The input "${name}" does not fit`, {
    expected,
    received,
    ...(location === undefined ? {} : { location }),
  });

/** @throws BitloomError INVALID_INPUT for inputs that are not given by name */
export function checkInputs(inputs: Readonly<Record<string, TensorInput>>): void {
  if (
    typeof inputs === "object" &&
    inputs !== null &&
    !Array.isArray(inputs) &&
    !ArrayBuffer.isView(inputs)
  ) {
    return;
  }
  throw new BitloomError("INVALID_INPUT", "Inputs are given by name", {
    expected: "an object of typed arrays or { data, dims }",
    received: describe(inputs),
  });
}

/**
 * Matches inputs with an entry's signature and solves its symbols from their shapes.
 * @throws BitloomError INVALID_INPUT naming the input, the expected and the received dims
 */
export function bindInputs(entry: Entry, inputs: Readonly<Record<string, TensorInput>>): BoundInputs {
  checkInputs(inputs);
  const known = new Set(entry.inputs.map(({ name }) => name));
  for (const name of Object.keys(inputs)) {
    if (!known.has(name)) throw invalid(name, `one of ${[...known].join(", ")}`, name);
  }
  const given = entry.inputs.map((slot) => {
    const value = Object.hasOwn(inputs, slot.name) ? inputs[slot.name] : undefined;
    if (value === undefined) throw invalid(slot.name, signature(slot), "nothing");
    const isTensor = typeof value === "object" && value !== null && "data" in value;
    const { data, dims } = isTensor ? value : { data: value as unknown, dims: undefined };
    if (!(data instanceof arrays[slot.dtype])) {
      throw invalid(slot.name, `${arrays[slot.dtype].name} for ${signature(slot)}`, describe(data));
    }
    if (dims !== undefined && typeof dims?.length !== "number")
      throw invalid(slot.name, `dims of ${signature(slot)}`, describe(dims));
    return { slot, data: data as TypedArray, dims };
  });

  const symbols = new Map<string, number>();
  const bind = (slot: TensorSlot, symbol: string, size: number, received: string) => {
    const largest = entry.symbols[symbol]!;
    const smallest = smallestOf(entry, symbol);
    const bound = symbols.get(symbol) ?? size;
    if (bound !== size) {
      throw invalid(
        slot.name,
        `${signature(slot)} with ${symbol} = ${bound}, as in the inputs before`,
        received,
      );
    }
    if (!(size >= smallest && size <= largest)) {
      throw invalid(slot.name, `${signature(slot)} with ${smallest} <= ${symbol} <= ${largest}`, received);
    }
    symbols.set(symbol, size);
  };

  for (const { slot, data, dims } of given) {
    if (dims === undefined) continue;
    const received = `${slot.dtype}[${Array.from(dims).join(", ")}]`;
    if (dims.length !== slot.dims.length) throw invalid(slot.name, signature(slot), received);
    for (const [axis, dim] of slot.dims.entries()) {
      const size = dims[axis]!;
      if (!Number.isInteger(size)) throw invalid(slot.name, signature(slot), received);
      if (typeof dim === "string") bind(slot, dim, size, received);
      else if (dim !== size) throw invalid(slot.name, signature(slot), received);
    }
    const elements = dims.reduce((product, size) => product * size, 1);
    if (data.length !== elements) {
      throw invalid(slot.name, `${elements} elements for ${received}`, `${data.length} elements`);
    }
  }

  // Bare arrays come last: what the others settled leaves them fewer open dims.
  for (const { slot, data, dims } of given) {
    if (dims !== undefined) continue;
    const received = `${data.length} elements`;
    const open = slot.dims.filter((dim) => typeof dim === "string" && !symbols.has(dim)) as string[];
    const settled = slot.dims.reduce<number>(
      (product, dim) => product * (typeof dim === "number" ? dim : (symbols.get(dim) ?? 1)),
      1,
    );
    if (open.length > 1) {
      throw invalid(
        slot.name,
        `{ data, dims }, since ${signature(slot)} has more than one open dim`,
        received,
      );
    }
    if (open.length === 1) {
      const size = data.length / settled;
      if (!Number.isInteger(size))
        throw invalid(slot.name, `${signature(slot)}, a multiple of ${settled}`, received);
      bind(slot, open[0]!, size, received);
    } else if (data.length !== settled) {
      throw invalid(slot.name, `${settled} elements for ${signature(slot)}`, received);
    }
  }

  // A symbol that no input has is a state's, which is as large as its memory.
  for (const [symbol, largest] of Object.entries(entry.symbols)) {
    if (!symbols.has(symbol)) symbols.set(symbol, largest);
  }
  return { tensors: given, symbols };
}

const smallestOf = (entry: Entry, symbol: string): number => entry.minimums?.[symbol] ?? 1;

/** An output's dims once the symbols have values. */
export function boundDims(slot: TensorSlot, symbols: ReadonlyMap<string, number>): number[] {
  return slot.dims.map((dim) => (typeof dim === "number" ? dim : symbols.get(dim)!));
}
