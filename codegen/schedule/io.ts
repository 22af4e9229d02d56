import type { Graph, Value } from "../../ir/graph.ts";
import type { Dim } from "../../ir/types.ts";
import { elementBytes, type Place } from "./draft.ts";
import { align } from "./memory.ts";
import { elementCount, upperBound } from "./symbols.ts";
import { contiguousView } from "./view.ts";

/** Where what callers give and get lies. */
export interface IoPlaces {
  /** The place of an input of so many bytes at most. */
  input(name: string, value: Value, dims: readonly Dim[], bytes: number): Place;
  /** Byte offset of an entry's output, whose elements may lie at `alias` already. */
  output(entry: string, name: string, alias?: number): number;
}

/**
 * Where inputs and outputs lie, the same on every target. Those of one name share a place in all entries, which is
 * large enough for any of them.
 */
export class IoRegion implements IoPlaces {
  readonly #sizes = new Map<string, number>();
  readonly #offsets = new Map<string, number>();
  readonly #outputs = new Map<string, number>();
  #bytes = 0;

  constructor(graphs: readonly Graph[]) {
    const note = (key: string, { type }: Value, { symbols }: Graph): void => {
      const bytes = upperBound(elementCount(type.dims), symbols) * elementBytes(type.dtype);
      this.#sizes.set(key, Math.max(bytes, this.#sizes.get(key) ?? 0));
    };
    for (const graph of graphs) {
      for (const value of graph.inputs) {
        if (value.origin.kind === "input") note(`input ${value.origin.name}`, value, graph);
      }
      for (const { name, value } of graph.outputs) note(`output ${name}`, value, graph);
    }
  }

  get bytes(): number {
    return this.#bytes;
  }

  input(name: string, { type }: Value, dims: readonly Dim[], bytes: number): Place {
    return contiguousView(
      { name, region: "io", offset: this.#offset("input", name), bytes },
      type.dtype,
      dims,
    );
  }

  #offset(kind: "input" | "output", name: string): number {
    const key = `${kind} ${name}`;
    const known = this.#offsets.get(key);
    if (known !== undefined) return known;
    const offset = this.#bytes;
    this.#bytes += align(this.#sizes.get(key)!);
    this.#offsets.set(key, offset);
    return offset;
  }

  /**
   * Where an entry's output lies: where the first target that asked has it, which may be the place of an input or of
   * another output with the same elements.
   */
  output(entry: string, name: string, alias?: number): number {
    const key = `${entry} ${name}`;
    const known = this.#outputs.get(key) ?? alias ?? this.#offset("output", name);
    this.#outputs.set(key, known);
    return known;
  }
}
