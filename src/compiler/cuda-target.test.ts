import { describe, expect, test } from "vitest";
import type { Plan } from "../../codegen/schedule/plan.ts";
import { schedule } from "../../codegen/schedule/schedule.ts";
import { parseGraph } from "../../ir/text/parse.ts";
import { checkArchitectures, writeCudaTarget } from "./cuda-target.ts";
import { nvccVersion, runNvcc } from "./nvcc.ts";

const small = (): Promise<Plan> => {
  const run = parseGraph(`graph @g(batch <= 4) {
    %x: input f32[batch, 6]
    %y: f32[batch, 6] = elementwise(%x) {expr = mul(x0, 2)}
    return y = %y
  }`);
  return schedule({ run }, { targets: ["cuda"], maxThreads: 1 });
};

async function write(architectures: readonly string[]) {
  const files = new Map<string, string | Uint8Array>();
  const folder = {
    write: async (path: string, content: string | Uint8Array) => {
      files.set(path, content);
    },
  };
  return { files, ...(await writeCudaTarget(folder, await small(), { architectures })) };
}

test("a kernel's source, and what launches it", async () => {
  const { files, target, note } = await write([]);
  expect([...files.keys()]).toEqual(["kernels/elementwise_mul.cu"]);
  expect(target.images).toEqual([]);
  expect(note).toContain("sources alone, as asked");
  expect(target.kernels).toEqual([
    {
      name: "elementwise_mul",
      template: "elementwise",
      parameters: ["x0", "out"],
      kind: "range",
      source: "kernels/elementwise_mul.cu",
      entryPoint: "elementwise_mul",
      blockSize: 256,
      sharedBytes: 0,
      launch: [
        { kind: "buffer", parameter: "x0", element: 4 },
        { kind: "buffer", parameter: "out", element: 4 },
        { kind: "range" },
      ],
    },
  ]);
});

test("a machine without nvcc keeps sources, and says so", async () => {
  const path = process.env.PATH;
  process.env.PATH = "";
  try {
    const { target, note } = await write(["sm_90"]);
    expect(target.images).toEqual([]);
    expect(note).toContain("no nvcc on this machine");
  } finally {
    process.env.PATH = path;
  }
});

const version = await nvccVersion();
describe.skipIf(version === undefined)(
  `nvcc${version === undefined ? " (skipped: there is none on the path)" : ""}`,
  () => {
    test("makes machine code for each architecture, and PTX of the least", async () => {
      const { files, target, note } = await write(["sm_90", "sm_80"]);
      expect(target.images).toEqual([
        { kind: "cubin", computeCapability: 90, path: "kernels.sm_90.cubin" },
        { kind: "cubin", computeCapability: 80, path: "kernels.sm_80.cubin" },
        { kind: "ptx", computeCapability: 80, path: "kernels.compute_80.ptx" },
      ]);
      expect(note).toBe(`nvcc ${version} made code for sm_90, sm_80, and PTX`);
      const magic = new TextDecoder().decode((files.get("kernels.sm_90.cubin") as Uint8Array).subarray(1, 4));
      expect(magic).toBe("ELF");
      const ptx = new TextDecoder().decode(files.get("kernels.compute_80.ptx") as Uint8Array);
      expect(ptx).toContain(".entry elementwise_mul");
    });

    test("does not know every architecture, and names those it does", async () => {
      await expect(write(["sm_80", "sm_999"])).rejects.toMatchObject({
        code: "INVALID_OPTION",
        expected: expect.stringMatching(/^sm_80, .*sm_90/),
        received: "sm_999",
      });
    });

    test("ends when it is told to, and what it has started with it", async () => {
      const stop = new AbortController();
      const slow = Array.from(
        { length: 400 },
        (_, i) => `__global__ void k${i}(float *x) { x[${i}] = sinf(x[0]); }`,
      );
      const kind = { kind: "cubin", architecture: "sm_80" } as const;
      const compiling = runNvcc(slow.join("\n"), kind, [], stop.signal);
      setTimeout(() => stop.abort(), 100);
      const started = performance.now();
      await expect(compiling).rejects.toMatchObject({ code: "ABORTED" });
      expect(performance.now() - started).toBeLessThan(2000);
    });

    test("what it does not compile is an error with its own words", async () => {
      const compiling = runNvcc("__global__ void k() { nothing(); }", {
        kind: "cubin",
        architecture: "sm_80",
      });
      await expect(compiling).rejects.toMatchObject({
        code: "ASSEMBLE_FAILED",
        received: expect.stringContaining("nothing"),
      });
    });
  },
);

test.each([[["90"]], [["sm_75"]], [["sm_80", "sm_80"]], ["sm_80"]])("%j are no architectures", (names) => {
  expect(() => checkArchitectures(names as string[])).toThrow(
    expect.objectContaining({ code: "INVALID_OPTION" }),
  );
});
