import { describe, expect, it } from "vitest";
import { rejectionOf } from "../test/support/errors.ts";
import type { Device } from "./devices/device.ts";
import type { SelfCheck } from "./manifest.ts";
import { selfCheck } from "./self-check.ts";

/** What a device is given and gives. */
class FakeDevice {
  readonly name = "webgpu";
  readonly threads = 1;
  readonly description = "a fake";
  readonly written: Float32Array[] = [];
  readonly #answer: readonly number[];

  constructor(answer: readonly number[]) {
    this.#answer = answer;
  }

  write(_region: string, _offset: number, bytes: Uint8Array): void {
    this.written.push(new Float32Array(bytes.slice().buffer));
  }

  async run(): Promise<Uint8Array<ArrayBuffer>[]> {
    return [new Uint8Array(Float32Array.from(this.#answer).buffer)];
  }

  async read(): Promise<never[]> {
    return [];
  }

  async dispose(): Promise<void> {}
}

describe("a self-check", () => {
  // A period, a patch, and tolerances of two halves.
  const vectors = new Uint8Array(Float32Array.of(1, 2, 7, 0, 0.5).buffer);
  const answer = [1, 2, 1, 7, 1, 2];
  const checks: SelfCheck = {
    path: "vectors",
    checks: [
      {
        name: "check",
        symbols: {},
        steps: [],
        runs: [
          {
            symbols: {},
            writes: [{ offset: 0, bytes: 20, data: 0, stored: 8 }],
            reads: [
              {
                kernel: "cache",
                region: "io",
                offset: 0,
                bytes: 24,
                dtype: "f32",
                expected: 0,
                stored: 8,
                patches: [{ at: 12, bytes: 4, data: 8 }],
                tolerances: 12,
                parts: 2,
              },
            ],
          },
        ],
      },
    ],
  };
  const run = (device: FakeDevice) => selfCheck(device satisfies Device, checks, vectors);

  it("repeats what is stored of operands and answers, and patches answers", async () => {
    const device = new FakeDevice(answer);
    await run(device);
    expect(device.written.at(-1)).toEqual(Float32Array.of(1, 2, 1, 2, 1));
  });

  it("allows each part its tolerance", async () => {
    await run(new FakeDevice(answer.with(4, 1.4)));
    await expect(run(new FakeDevice(answer.with(1, 2.4)))).rejects.toThrow(/cache/);
  });

  it.each(answer.map((_, index) => index))("finds a wrong element %i", async (index) => {
    const error = await rejectionOf(run(new FakeDevice(answer.with(index, 9))));
    expect(error).toMatchObject({
      code: "SELF_CHECK_FAILED",
      message: expect.stringContaining(`"cache" computes wrongly on a fake`),
      expected: expect.stringMatching(new RegExp(`^${answer[index]} within .* as element ${index} `)),
      received: "9",
    });
  });
});
