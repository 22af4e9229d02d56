import type { WasmTarget } from "../../../runtime/manifest.ts";
import { align } from "../../schedule/memory.ts";
import type { Plan } from "../../schedule/plan.ts";
import { CONTROL_BYTES } from "./control.ts";
import { MAX_OFFSET } from "./render.ts";

/** Bytes that kernels may read past the end of their last buffer. */
const SLACK = 64;

/**
 * Where everything lies in linear memory: the control block, the symbols' values and the outputs asked for first, then scratch of
 * each thread, and the regions, weights last. Nothing else is below `MAX_OFFSET`.
 */
export function mapMemory(
  { regions, targets, maxThreads }: Plan,
  symbolOrder: readonly string[],
): WasmTarget["memory"] {
  const { arena: temporaries, scratch: perThread } = targets.wasm!;
  const symbols = CONTROL_BYTES;
  const scratch = align(Math.max(MAX_OFFSET, symbols + 4 * (symbolOrder.length + 1)));
  const scratchBytes = align(perThread);
  const io = scratch + scratchBytes * maxThreads;
  const arena = io + align(regions.io);
  const state = arena + align(temporaries.bytes);
  const weights = state + align(regions.state);
  const totalBytes = weights + align(regions.weights) + SLACK;
  return { symbols, control: 0, scratch, scratchBytes, io, arena, state, weights, totalBytes, maxThreads };
}
