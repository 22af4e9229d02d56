import {
  type Buffer,
  type i32,
  localId,
  registers,
  type Static,
  u32x4,
  unroll,
  workgroupCount,
  workgroupId,
} from "bitloom/kernel";

/**
 * Copies memory, sixteen bytes an access and `together` of them under way in each thread.
 *
 * Grid: any number of workgroups.
 *
 * @param count of sixteen bytes, a multiple of `together * workgroupSize`
 */
export function copy(
  options: Static<{ workgroupSize: number; together: number }>,
  from: Buffer<u32x4>,
  to: Buffer<u32x4>,
  count: i32,
): void {
  const tile = options.together * options.workgroupSize;
  for (let start = workgroupId() * tile; start < count; start += workgroupCount() * tile) {
    const held = registers(options.together, u32x4(0, 0, 0, 0));
    for (const t of unroll(options.together)) held[t] = from[start + t * options.workgroupSize + localId()]!;
    for (const t of unroll(options.together)) to[start + t * options.workgroupSize + localId()] = held[t]!;
  }
}
