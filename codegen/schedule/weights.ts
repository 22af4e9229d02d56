import { BitloomError } from "../../errors/index.ts";
import { producer, type Value } from "../../ir/graph.ts";
import { type DType, formatType } from "../../ir/types.ts";
import { elementBytes, type Storage } from "./draft.ts";
import { align } from "./memory.ts";
import type { WeightBuffer, WeightLayout } from "./plan.ts";

/** Weights of one row in a block of 2-bit codes, and the block's bytes. */
const BLOCK_WEIGHTS = 64;
const BLOCK_BYTES = 16;
/** Rows interleaved in packed codes; kernels make as many outputs at a time. */
const INTERLEAVED_ROWS = 4;
/** An int8 row is read sixteen bytes at a time. */
const INT8_SLACK = 16;

/** Blocks of codes in a row of k weights; each group of a row takes whole blocks. */
export function ternaryBlocks(k: number, group: number = k): number {
  const whole = Math.floor(k / group) * Math.ceil(group / BLOCK_WEIGHTS);
  return whole + Math.ceil((k % group) / BLOCK_WEIGHTS);
}

/** Bytes of a [n, k] weight's 2-bit codes: rows padded to four, each group of a row to whole blocks. */
export function ternaryCodeBytes(n: number, k: number, group: number = k): number {
  return padRows(n) * ternaryBlocks(k, group) * BLOCK_BYTES;
}

function padRows(n: number): number {
  return Math.ceil(n / INTERLEAVED_ROWS) * INTERLEAVED_ROWS;
}

/**
 * A build-time value as it is to be stored at an offset.
 * @throws INVALID_GRAPH if its size depends on a symbol
 */
export function weightBuffer(name: string, value: Value, layout: WeightLayout, offset: number): WeightBuffer {
  const dims = value.type.dims.map((dim) => {
    if (typeof dim === "number") return dim;
    throw new BitloomError("INVALID_GRAPH", "a weight's size depends on a symbol", {
      expected: "literal dims",
      received: formatType(value.type),
    });
  });
  const bytes = weightBytes(value, dims, layout);
  return { name, value, layout, dtype: layoutDtype(value, layout), offset, bytes };
}

/** Bytes of a weight in a layout, its padding and slack included. */
export function weightBytes(value: Value, dims: readonly number[], layout: WeightLayout): number {
  const [n = 1, k = 1] = dims;
  const scale = value.type.encoding?.scale;
  const group = typeof scale === "object" ? scale.group : k;
  switch (layout) {
    case "dense":
      return dims.reduce((size, dim) => size * dim, elementBytes(value.type.dtype));
    case "ternary-codes":
      return ternaryCodeBytes(n, k, group);
    case "ternary-scales":
      return padRows(n) * Math.ceil(k / group) * 4;
    case "int8-codes":
      return n * k + INT8_SLACK;
    case "int8-scales":
      return n * 4;
  }
}

function layoutDtype(value: Value, layout: WeightLayout): DType {
  if (layout === "dense") return value.type.dtype;
  if (layout === "ternary-codes") return "u8";
  return layout === "int8-codes" ? "i8" : "f32";
}

const suffixes: Readonly<Record<WeightLayout, string>> = {
  dense: "",
  "ternary-codes": ".codes",
  "ternary-scales": ".scales",
  "int8-codes": ".int8",
  "int8-scales": ".int8_scales",
};

/** Where build-time values lie. */
export interface WeightPlaces {
  storage(value: Value, layout: WeightLayout): Storage;
}

/**
 * The build-time values that steps read, each packed once: values with the same expression over the same
 * parameters are one buffer, whichever graph they come from. Buffers follow each other in order of first use,
 * so that a pass over the steps reads memory forward.
 */
export class WeightRegion implements WeightPlaces {
  readonly #buffers: WeightBuffer[] = [];
  readonly #storages = new Map<string, Storage>();
  readonly #structures = new Map<string, string>();
  readonly #structureOf = new WeakMap<Value, string>();
  readonly #names = new Map<string, number>();
  #bytes = 0;

  get buffers(): readonly WeightBuffer[] {
    return this.#buffers;
  }
  get bytes(): number {
    return this.#bytes;
  }

  /** Where a build-time value lies in a layout. */
  storage(value: Value, layout: WeightLayout): Storage {
    const key = `${this.#structure(value)} as ${layout}`;
    const known = this.#storages.get(key);
    if (known !== undefined) return known;
    const buffer = weightBuffer(
      this.#unique(weightName(value) + suffixes[layout]),
      value,
      layout,
      this.#bytes,
    );
    const { name, offset, bytes } = buffer;
    this.#bytes += align(bytes);
    this.#buffers.push(buffer);
    const storage: Storage = { name, region: "weights", offset, bytes };
    this.#storages.set(key, storage);
    return storage;
  }

  /** A short text that two values share just where they are the same expression over parameters. */
  #structure(value: Value): string {
    const known = this.#structureOf.get(value);
    if (known !== undefined) return known;
    const node = producer(value);
    let text: string;
    if (value.origin.kind === "node" && node !== undefined) {
      const operands = node.operands.map((operand) => this.#structure(operand)).join(",");
      text = `${node.op}${JSON.stringify(node.attributes, exactNumbers)}(${operands}).${value.origin.index}`;
    } else text = `${JSON.stringify(value.origin)} ${formatType(value.type)}`;
    let id = this.#structures.get(text);
    if (id === undefined) {
      id = `#${this.#structures.size}`;
      this.#structures.set(text, id);
    }
    this.#structureOf.set(value, id);
    return id;
  }

  #unique(name: string): string {
    const count = (this.#names.get(name) ?? 0) + 1;
    this.#names.set(name, count);
    return count === 1 ? name : this.#unique(`${name}_${count}`);
  }
}

/** JSON has no NaN, infinities or -0. */
function exactNumbers(_key: string, value: unknown): unknown {
  if (typeof value !== "number") return value;
  return Number.isFinite(value) && !Object.is(value, -0)
    ? value
    : `number ${Object.is(value, -0) ? "-0" : value}`;
}

/** Ops that give a weight another form but not another meaning, so its name stays the parameter's. */
const formOnly = new Set(["absmean_quantize", "quantize_int8", "concat", "cast", "reshape"]);

/** `model.layers.0.self_attn.{q_proj,k_proj,v_proj}.weight`, `….weight.weight_scale`, `rope_table_cos`. */
function weightName(value: Value): string {
  const paths: string[] = [];
  let operation = "";
  const visit = (v: Value): void => {
    if (v.origin.kind === "parameter") {
      if (!paths.includes(v.origin.path)) paths.push(v.origin.path);
      return;
    }
    const node = producer(v);
    if (node === undefined) return;
    if (operation === "" && !formOnly.has(node.op)) operation = node.op;
    for (const operand of node.operands) visit(operand);
  };
  visit(value);
  if (paths.length > 0) return joinPaths(paths) + (operation === "" ? "" : `.${operation}`);
  const node = producer(value);
  if (node?.op === "rope_table") return `rope_table_${node.attributes.fn}`;
  return operation;
}

/** Several dotted paths as one, the parts that differ in braces. */
function joinPaths(paths: readonly string[]): string {
  const parts = paths.map((path) => path.split("."));
  const shortest = Math.min(...parts.map((part) => part.length));
  const same = (at: (part: readonly string[]) => string | undefined) => new Set(parts.map(at)).size === 1;
  let head = 0;
  while (head < shortest && same((part) => part[head])) head++;
  let tail = 0;
  while (tail < shortest - head && same((part) => part.at(-1 - tail))) tail++;
  const first = parts[0]!;
  const middles = parts.map((part) => part.slice(head, part.length - tail).join("."));
  const middle = parts.length === 1 ? [] : [`{${middles.join(",")}}`];
  return [...first.slice(0, head), ...middle, ...first.slice(first.length - tail)].join(".");
}
