import type { Graph, Value } from "../../../ir/graph.ts";
import type { Dim } from "../../../ir/types.ts";
import { codesView } from "../activation-codes.ts";
import { elementBytes, type Place, type Storage } from "../draft.ts";
import { type StatePlaces, stateView } from "../entry.ts";
import type { IoPlaces } from "../io.ts";
import { align } from "../memory.ts";
import type { WeightBuffer, WeightLayout } from "../plan.ts";
import { elementCount, upperBound } from "../symbols.ts";
import { contiguousView } from "../view.ts";
import { type WeightPlaces, weightBuffer } from "../weights.ts";

/**
 * Where a check's operands and outputs lie, its weights and states too: all in the io region, so that a check needs
 * nothing of the model and leaves nothing behind. The n-th piece of every check starts at the n-th border.
 */
export class CheckMemory implements IoPlaces, StatePlaces, WeightPlaces {
  readonly inputs = new Map<Value, Place>();
  readonly weights: WeightBuffer[] = [];
  /** Bytes of each piece. */
  readonly sizes: number[] = [];
  readonly #graph: Graph;
  readonly #padded: ReadonlySet<Value>;
  readonly #borders: readonly number[] | undefined;
  readonly #layouts = new Map<string, Storage>();
  readonly #outputs = new Map<string, number>();

  /**
   * @param padded inputs that are codes of activations, in rows as quantizers write them
   * @param borders where pieces start; without any they follow each other
   */
  constructor(graph: Graph, padded: ReadonlySet<Value>, borders?: readonly number[]) {
    this.#graph = graph;
    this.#padded = padded;
    this.#borders = borders;
  }

  input(name: string, value: Value, dims: readonly Dim[], bytes: number): Place {
    const place = this.#padded.has(value)
      ? this.#move(codesView(name, dims))
      : contiguousView(this.#piece(name, bytes), value.type.dtype, dims);
    this.inputs.set(value, place);
    return place;
  }

  output(_entry: string, name: string, alias?: number): number {
    const { type } = this.#graph.outputs.find((output) => output.name === name)!.value;
    const known =
      this.#outputs.get(name) ?? alias ?? this.#piece(name, this.#bytes(type.dims, type.dtype)).offset!;
    this.#outputs.set(name, known);
    return known;
  }

  place(value: Value, bounds: Graph["symbols"]): Place {
    const known = this.inputs.get(value);
    if (known !== undefined) return known;
    const largest = value.type.dims.map((dim) => upperBound(dim, bounds));
    const place = stateView(this.#piece("state", this.#bytes(largest, value.type.dtype)), value, largest);
    this.inputs.set(value, place);
    return place;
  }

  storage(value: Value, layout: WeightLayout): Storage {
    const name = value.name ?? "weight";
    const key = `${name} as ${layout}`;
    const known = this.#layouts.get(key);
    if (known !== undefined) return known;
    const { bytes } = weightBuffer(name, value, layout, 0);
    const storage = this.#piece(name, bytes);
    this.weights.push(weightBuffer(name, value, layout, storage.offset!));
    this.#layouts.set(key, storage);
    return storage;
  }

  #bytes(dims: readonly Dim[], dtype: Value["type"]["dtype"]): number {
    return upperBound(elementCount(dims), this.#graph.symbols) * elementBytes(dtype);
  }

  #move(place: Place): Place {
    const { bytes, paddedColumns } = place.buffer;
    const piece = this.#piece(place.buffer.name, upperBound(bytes, this.#graph.symbols));
    return { ...place, buffer: { ...piece, bytes, ...(paddedColumns !== undefined && { paddedColumns }) } };
  }

  #piece(name: string, bytes: number): Storage {
    const index = this.sizes.length;
    const offset = this.#borders?.[index] ?? bordersOf([this.sizes]).at(-1)!;
    this.sizes.push(bytes);
    return { name, region: "io", offset, bytes };
  }
}

/** Where each piece starts that is large enough for the piece of its number of every list, and last where all end. */
export function bordersOf(lists: readonly (readonly number[])[], start = 0): readonly number[] {
  const borders = [start];
  for (let i = 0; lists.some((sizes) => i < sizes.length); i++) {
    borders.push(borders[i]! + align(Math.max(...lists.map((sizes) => sizes[i] ?? 0))));
  }
  return borders;
}
