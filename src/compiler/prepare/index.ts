/**
 * Realizes build-time values in their physical layouts while the weights stream through: rows are read from
 * the checkpoint, quantized and packed by WebAssembly kernels of our own, and written in file order. Memory is
 * bounded by a few pieces, whatever the size of a tensor.
 */
import type { WeightBuffer } from "../../../codegen/schedule/plan.ts";
import { producer, type Value } from "../../../ir/graph.ts";
import { toFloat32 } from "../../../ir/tensor.ts";
import { type FloatType, memorySource, type ParameterSource } from "../../checkpoint/source.ts";
import type { FillWeight } from "../weights-file.ts";
import { writeDense } from "./dense.ts";
import { evaluate } from "./fallback.ts";
import { type Int8Consumer, quantizeRows } from "./int8.ts";
import { denseParameter, int8Parts, type TernaryPart, ternaryParts } from "./leaves.ts";
import { interleavedScales, TernaryPacker } from "./ternary.ts";
import { Workspace } from "./workspace.ts";

export { MAX_INTERPRETED_ELEMENTS } from "./fallback.ts";
export { Workspace } from "./workspace.ts";

/**
 * A function that writes the bytes of weight buffers, one buffer at a time. What it hands to `write` is memory
 * that is used again as soon as the promise of `write` resolves.
 *
 * It throws INVALID_WEIGHTS for NaN, Inf and values an asked-for dtype cannot hold, INVALID_TENSOR for packed
 * codes of 3, LIMIT_EXCEEDED for large values that have no streamed form, and what the source throws.
 *
 * @param memory where the kernels work; fillers that share it must not run at the same time
 */
export async function weightFiller(source: ParameterSource, memory?: Workspace): Promise<FillWeight> {
  const workspace = memory ?? (await Workspace.open());
  const context = { source, workspace, packer: new TernaryPacker(workspace, source) };
  return async (buffer, write) => {
    let written = 0;
    await fill(context, buffer, async (bytes) => {
      written += bytes.byteLength;
      await write(bytes);
    });
    // The slack that kernels may read past the last element.
    if (written < buffer.bytes) await write(new Uint8Array(buffer.bytes - written));
  };
}

interface Context {
  readonly source: ParameterSource;
  readonly workspace: Workspace;
  readonly packer: TernaryPacker;
}

type Write = (bytes: Uint8Array) => Promise<void>;

async function fill(context: Context, { value, layout }: WeightBuffer, write: Write): Promise<void> {
  switch (layout) {
    case "dense":
      return fillDense(context, value, write);
    case "ternary-codes": {
      const { packer, parts } = await ternary(context, value);
      return packer.writeCodes(parts, groupSize(value), write);
    }
    case "ternary-scales":
      return write(bytesOf(await stackedScales(context, value)));
    case "int8-codes":
      return fillInt8(context, value, (codes) => write(codes));
    case "int8-scales":
      return fillInt8(context, value, (_codes, scales) => write(bytesOf(scales)));
  }
}

async function fillDense(context: Context, value: Value, write: Write): Promise<void> {
  const node = producer(value);
  const parameter = denseParameter(value, context.source);
  if (parameter !== undefined) {
    return writeDense(context.workspace, context.source, parameter, value.type.dtype as FloatType, write);
  }
  if (node?.op === "concat" && node.attributes.axis === 0) {
    for (const operand of node.operands) await fillDense(context, operand, write);
    return;
  }
  if (node?.op === "weight_scale") {
    const [rows] = value.type.dims as [number];
    return write(bytesOf((await stackedScales(context, node.operands[0]!)).subarray(0, rows)));
  }
  return write(bytesOf((await evaluate(value, context.source)).data));
}

async function fillInt8({ workspace, source }: Context, value: Value, consume: Int8Consumer): Promise<void> {
  const parts = int8Parts(value, source);
  if (parts !== undefined) return quantizeRows(workspace, source, parts, consume);
  const { data, scales } = await evaluate(value, source);
  await consume(bytesOf(data), scales!);
}

/** Scales [ceil(N/4)][groups][4] of a ternary weight. */
async function stackedScales(context: Context, value: Value): Promise<Float32Array> {
  const { packer, parts } = await ternary(context, value);
  const k = value.type.dims[1] as number;
  return interleavedScales(parts, Math.ceil(k / groupSize(value)), (part) => packer.scales(part));
}

/** The parts of a ternary weight, of its own evaluated values where it cannot be streamed. */
async function ternary(
  { source, workspace, packer }: Context,
  value: Value,
): Promise<{ packer: TernaryPacker; parts: readonly TernaryPart[] }> {
  const parts = ternaryParts(value, source);
  if (parts !== undefined) return { packer, parts };
  const evaluated = await evaluate(value, source);
  const [n, k] = evaluated.type.dims as [number, number];
  const parameter = { path: producer(value)?.op ?? "", dims: [n, k], dtype: "f32" } as const;
  const granularity = evaluated.type.encoding!.scale;
  const own = memorySource(new Map([[parameter.path, { dims: [n, k], data: toFloat32(evaluated) }]]));
  return {
    packer: new TernaryPacker(workspace, own),
    parts: [{ kind: "latent", parameter, n, k, granularity, scale: evaluated.scales! }],
  };
}

function groupSize({ type }: Value): number {
  const scale = type.encoding!.scale;
  return typeof scale === "object" ? scale.group : (type.dims[1] as number);
}

function bytesOf(data: ArrayBufferView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
