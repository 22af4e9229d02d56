import { BitloomError } from "../../errors/index.ts";
import { f32ToBf16 } from "../../ir/tensor.ts";
import type { ParameterDeclaration } from "../dsl/layer.ts";
import { familyParameters } from "./family-parameters.ts";
import { generator, hash } from "./generator.ts";
import type { Checkpoint } from "./huggingface.ts";
import { knownModels } from "./known-models.ts";
import {
  checkRange,
  type ParameterForm,
  type ParameterInfo,
  type ParameterSource,
  requireInfo,
  storedBytes,
} from "./source.ts";

/** What kind of values a random parameter gets. */
export interface RandomParameter {
  readonly path: string;
  readonly dims: readonly number[];
  /**
   * - `ternary`: uniform codes, packed, with a scale near 1 / sqrt(K) that keeps activations in range;
   * - `dense`: bf16 of magnitude up to 1, as an embedding;
   * - `norm`: f32 within 1 +- 1/8.
   */
  readonly kind: "ternary" | "dense" | "norm";
}

/**
 * Elements of the pool that every tensor is cut from, each from its own start. A prime length keeps the rows
 * of a matrix from lining up with it; copying from the pool is as fast as memory.
 */
const POOL_BYTES = { ternary: 4_194_301, dense: 2 * 2_097_143, norm: 4 * 65_521 } as const;

/** Deterministic random parameters: the same seed and path give the same bytes at any offset. */
export function randomSource(parameters: readonly RandomParameter[], seed: number): ParameterSource {
  const pools = { ternary: ternaryPool(seed), dense: densePool(seed), norm: normPool(seed) };
  const kinds = new Map(parameters.map(({ path, kind }) => [path, kind]));
  const infos = new Map(parameters.map((parameter) => [parameter.path, describe(parameter)]));
  return {
    info: (path) => infos.get(path),
    paths: () => infos.keys(),
    async read(path, byteOffset, into) {
      checkRange(path, byteOffset, into.byteLength, storedBytes(requireInfo(this, path)));
      const pool = pools[kinds.get(path)!];
      // A multiple of 4 leaves elements whole.
      let position = (((hash(path, seed) & ~3) >>> 0) + byteOffset) % pool.byteLength;
      for (let done = 0; done < into.byteLength; ) {
        const bytes = Math.min(into.byteLength - done, pool.byteLength - position);
        into.set(pool.subarray(position, position + bytes), done);
        done += bytes;
        position = 0;
      }
    },
    async close() {},
  };
}

/** A checkpoint of a published model's shapes with random weights. Throws INVALID_OPTION for an unknown name. */
export function randomCheckpoint(name: string, seed = 0): Checkpoint {
  const config = Object.hasOwn(knownModels, name) ? knownModels[name] : undefined;
  if (config === undefined) {
    throw new BitloomError("INVALID_OPTION", "No shapes are known for this model", {
      expected: Object.keys(knownModels).join(", "),
      received: name,
    });
  }
  return {
    config,
    quantization: "packed-multiply",
    source: randomSource(familyParameters(config).map(randomParameter), seed),
    tokenizerFiles: [],
  };
}

/** Packed storage holds four rows in a byte; other BitLinear weights are quantized from dense ones. */
export function randomParameter({ path, dims, kind }: ParameterDeclaration): RandomParameter {
  if (kind === "norm") return { path, dims, kind };
  return { path, dims, kind: kind === "bitLinear" && dims[0]! % 4 === 0 ? "ternary" : "dense" };
}

function describe({ path, dims, kind }: RandomParameter): ParameterInfo {
  if (kind === "norm") return { dims, form: { kind: "dense", dtype: "f32" } };
  if (kind === "dense") return { dims, form: { kind: "dense", dtype: "bf16" } };
  const [n, k] = dims;
  if (dims.length !== 2 || n! % 4 !== 0) {
    throw new BitloomError("INVALID_TENSOR", `Random ternary tensor "${path}" cannot be packed`, {
      expected: "[N, K] with N a multiple of 4",
      received: `[${dims.join(", ")}]`,
    });
  }
  // Codes uniform over three values have a variance of 2/3.
  const form: ParameterForm = {
    kind: "ternary-packed",
    scale: Float32Array.of(Math.sqrt(1.5 / k!)),
    layout: "hf",
  };
  return { dims, form };
}

/** Four codes of 0, 1, 2 a byte, all 81 combinations equally likely. */
function ternaryPool(seed: number): Uint8Array {
  const bytes = Uint8Array.from({ length: 81 }, (_, value) =>
    [1, 3, 9, 27].reduce((byte, power, i) => byte | ((Math.floor(value / power) % 3) << (2 * i)), 0),
  );
  const next = generator(seed);
  const pool = new Uint8Array(POOL_BYTES.ternary);
  for (let i = 0; i < pool.length; i++) pool[i] = bytes[next() % 81]!;
  return pool;
}

function densePool(seed: number): Uint8Array {
  const next = generator(seed + 1);
  const pool = new Uint16Array(POOL_BYTES.dense / 2);
  for (let i = 0; i < pool.length; i++) pool[i] = f32ToBf16(next() / 2 ** 31 - 1);
  return new Uint8Array(pool.buffer);
}

function normPool(seed: number): Uint8Array {
  const next = generator(seed + 2);
  const pool = new Float32Array(POOL_BYTES.norm / 4);
  for (let i = 0; i < pool.length; i++) pool[i] = 0.875 + next() / 2 ** 34;
  return new Uint8Array(pool.buffer);
}
