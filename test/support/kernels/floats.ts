/** Numbers for kernels' tests. */

const words = new Uint32Array(1);
const floats = new Float32Array(words.buffer);

/** The bits of x rounded to f32. */
export function bitsOf(x: number): number {
  floats[0] = x;
  return words[0]!;
}

export function fromBits(bits: number): number {
  words[0] = bits;
  return floats[0]!;
}

/** Uneven numbers in -scale..scale, the same for one seed. */
export function pseudoRandom(length: number, scale: number, seed = 1): Float32Array {
  return Float32Array.from({ length }, (_, i) => Math.sin((i + seed) * 12.9898 + seed) * scale);
}
