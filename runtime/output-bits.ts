/** Bits that a device's i32 has for the outputs of an entry. */
const BITS = 31;

/**
 * Some of an entry's outputs as bits, the first output's the lowest; those beyond the thirtieth share one.
 * @param outputs the names of all outputs of the entry, in order
 */
export function outputBits(outputs: readonly string[], names: readonly string[]): number {
  return names.reduce((bits, name) => bits | (1 << Math.min(outputs.indexOf(name), BITS - 1)), 0);
}
