import { assemble } from "../codegen/targets/wasm/assemble.ts";

/** Milliseconds of the fastest of several runs. */
export function fastest(action: () => void, runs = 7): number {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < runs; i++) {
    const start = performance.now();
    action();
    least = Math.min(least, performance.now() - start);
  }
  return least;
}

const readLoop = `(module (import "env" "memory" (memory 1))
  (func (export "read") (param $p i32) (param $end i32) (result i32) (local $a v128) (local $b v128)
    (loop $next
      (local.set $a (v128.xor (local.get $a) (v128.xor (v128.load (local.get $p)) (v128.load offset=16 (local.get $p)))))
      (local.set $b (v128.xor (local.get $b) (v128.xor (v128.load offset=32 (local.get $p)) (v128.load offset=48 (local.get $p)))))
      (local.set $p (i32.add (local.get $p) (i32.const 64)))
      (br_if $next (i32.lt_u (local.get $p) (local.get $end))))
    (i32x4.extract_lane 0 (v128.xor (local.get $a) (local.get $b)))))`;

/** A plain sequential read of [from, to), what every kernel that streams weights is compared with. */
export async function plainRead(memory: WebAssembly.Memory): Promise<(from: number, to: number) => void> {
  const module = new WebAssembly.Module(await assemble("read", readLoop));
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  return exports.read as (from: number, to: number) => void;
}

/** A table row of right-aligned cells. */
export function cells(...values: readonly (string | number)[]): string {
  return values.map((value) => (typeof value === "number" ? value.toFixed(2) : value).padStart(15)).join("");
}
