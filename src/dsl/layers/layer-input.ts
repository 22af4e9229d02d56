import { declarationOf, type Layer } from "../layer.ts";
import { located } from "../located.ts";
import type { Tensor } from "../tensor.ts";
import { type Trace, traceOf } from "../trace.ts";

/**
 * Checks what a layer was called with, for callers that TypeScript did not check.
 * @throws BitloomError INVALID_MODEL, UNKNOWN_PARAMETER, DTYPE_MISMATCH or SHAPE_MISMATCH, each naming the
 * layer's path, both types and the user's line.
 */
export function layerInput(layer: Layer, x: Tensor, dtype: "f32" | "i32", lastDim?: number): Trace {
  const { type } = declarationOf(layer);
  const trace = traceOf(type, x);
  const path = trace.pathOf(layer);
  const expected = lastDim === undefined ? `${dtype}[...]` : `${dtype}[..., ${lastDim}]`;
  const received = String(x);
  if (x.dtype !== dtype) {
    throw located("DTYPE_MISMATCH", `${path} (${type}) takes ${dtype}`, { expected, received });
  }
  if (lastDim !== undefined && x.dims.at(-1) !== lastDim) {
    throw located("SHAPE_MISMATCH", `${path} (${type}) takes ${lastDim} features`, {
      expected,
      received,
      hint: "The last axis of the input is the layer's inFeatures.",
    });
  }
  return trace;
}
