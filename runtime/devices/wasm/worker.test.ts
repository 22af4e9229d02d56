import { afterEach, describe, expect, it, vi } from "vitest";
import wabt from "wabt";
import { startWorkers, type Thread } from "./worker.ts";

const memory = () => new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });

async function compile(work: string): Promise<WebAssembly.Module> {
  const parsed = (await wabt()).parseWat(
    "worker.wat",
    `(module (import "env" "memory" (memory 1 1 shared))
      (func (export "work") (param $thread i32) ${work})
      (func (export "fail") (i32.atomic.store (i32.const 0) (i32.const 1))))`,
    { threads: true },
  );
  const { buffer } = parsed.toBinary({});
  parsed.destroy();
  return new WebAssembly.Module(new Uint8Array(buffer));
}

/** Never returns. */
const SLEEP = "(drop (memory.atomic.wait32 (i32.const 64) (i32.const 0) (i64.const -1)))";
/** Stores 1 at 4 * thread, then sleeps. */
const REPORT = `(i32.atomic.store (i32.mul (local.get $thread) (i32.const 4)) (i32.const 1)) ${SLEEP}`;

let threads: readonly Thread[] = [];
afterEach(async () => {
  await Promise.all(threads.map((thread) => thread.terminate()));
  threads = [];
});

describe("startWorkers", () => {
  it("numbers the threads from 1, and ends them even while they sleep", async () => {
    const shared = memory();
    threads = await startWorkers({ module: await compile(REPORT), memory: shared }, 4, vi.fn(), undefined);
    expect(threads).toHaveLength(3);
    await vi.waitFor(() => expect([...new Int32Array(shared.buffer, 0, 5)]).toEqual([0, 1, 1, 1, 0]));
  });

  it("tells of a thread that traps, and lets the other threads know", async () => {
    const shared = memory();
    const onDeath = vi.fn();
    threads = await startWorkers(
      { module: await compile("unreachable"), memory: shared },
      2,
      onDeath,
      undefined,
    );
    await vi.waitFor(() => expect(onDeath).toHaveBeenCalledWith(expect.stringContaining("unreachable")));
    expect(new Int32Array(shared.buffer)[0]).toBe(1);
  });

  it("fails where a thread cannot start", async () => {
    const unshared = new WebAssembly.Memory({ initial: 1, maximum: 1 });
    await expect(
      startWorkers({ module: await compile(SLEEP), memory: unshared }, 2, vi.fn(), undefined),
    ).rejects.toMatchObject({ code: "WORKER_FAILED" });
  });

  it("stops starting when aborted", async () => {
    const controller = new AbortController();
    const starting = startWorkers(
      { module: await compile(SLEEP), memory: memory() },
      4,
      vi.fn(),
      controller.signal,
    );
    controller.abort();
    await expect(starting).rejects.toMatchObject({ code: "ABORTED" });
  });
});
