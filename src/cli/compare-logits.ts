import { setImmediate } from "node:timers/promises";
import { loadLanguageModel } from "../../runtime/index.ts";
import { argmax } from "../../runtime/sampling.ts";

export interface LogitsComparison {
  /** ||a - b|| / ||b|| over all compared logits. */
  readonly relativeL2: number;
  /** Positions where both have the same most likely token. */
  readonly sameTop: number;
  readonly positions: number;
}

const POSITIONS = 32;

/**
 * How far the logits of artifact `a` are from those of `b`, over one fixed pseudo-random sequence of tokens.
 * Both are folders of the same language model.
 */
export async function compareLogits(a: string, b: string, signal: AbortSignal): Promise<LogitsComparison> {
  const left = await collect(a, signal);
  const right = await collect(b, signal);
  let difference = 0;
  let norm = 0;
  let sameTop = 0;
  left.forEach((logits, position) => {
    const other = right[position]!;
    logits.forEach((value, index) => {
      difference += (value - other[index]!) ** 2;
      norm += other[index]! ** 2;
    });
    if (argmax(logits) === argmax(other)) sameTop += 1;
  });
  return { relativeL2: Math.sqrt(difference / norm), sameTop, positions: left.length };
}

async function collect(folder: string, signal: AbortSignal): Promise<Float32Array[]> {
  const model = await loadLanguageModel(folder, { signal });
  try {
    const { vocabularySize, contextLength } = model.info;
    const rows: Float32Array[] = [];
    for (let position = 0; position < Math.min(POSITIONS, contextLength); position++) {
      // A turn of the event loop, in which an interruption can arrive.
      await setImmediate();
      rows.push(await model.decode((position * 7919 + 13) % vocabularySize, { signal }));
    }
    return rows;
  } finally {
    await model.dispose();
  }
}
