import { fc, test } from "@fast-check/vitest";
import { describe, expect } from "vitest";
import { BitloomError } from "../../../errors/index.ts";
import { parseGraph } from "../../../ir/text/parse.ts";
import type { Step } from "../../../runtime/manifest.ts";
import { weightBorders } from "../borders.ts";
import type { Plan } from "../plan.ts";
import { formatPlan } from "../plan-summary.ts";
import { schedule } from "../schedule.ts";

const MIB = 2 ** 20;
const layer = `graph @layer(batch <= 1, seq <= 16) {
  %x: input f32[batch, seq, 96]
  %g: parameter "norm.weight" f32[96]
  %w: parameter "q_proj.weight" f32[96, 96] ternary(tensor)
  %c: f32[96] = weight_scale(%w)
  %q: i8[batch, seq, 96], %d: f32[batch, seq, 1], %s: i32[batch, seq, 1] = quantize(%x, %g) {bits = 8, granularity = "row", eps = 0.00001}
  %y: f32[batch, seq, 96] = ternary_matmul(%q, %s, %w, %d, %c, %x) {epilogue = add(mul(mul(to_f32(acc), x0), x1), x2)}
  %k: f32[batch, seq, 32] = slice(%y) {axis = 2, start = 64, size = 32}
  %z: f32[batch, seq, 32] = relu(%k)
  return y = %y, z = %z
}`;

const scheduled = (text: string, targets: readonly ("wasm" | "webgpu")[] = ["webgpu"]): Promise<Plan> =>
  schedule({ run: parseGraph(text) }, { targets, maxThreads: 2 });

const steps = (plan: Plan): readonly Step[] => plan.targets.webgpu!.plans.run!;

/** Values of a parameter over the steps. */
function values(plan: Plan, parameter: string) {
  return steps(plan).flatMap((step) => {
    const kernel = plan.targets.webgpu!.kernels.find(({ name }) => name === step.kernel)!;
    const at = kernel.parameters.findIndex(({ name }) => name === parameter);
    const argument = step.arguments[at];
    return argument === undefined || !("value" in argument) ? [] : [argument.value];
  });
}

test("16-bit floats that start inside of a word are copied before kernels read them by words", async () => {
  const plan = await scheduled(`graph @g(batch <= 1) {
    %x: input f32[batch, 3]
    %table: input f16[6, 3]
    %w: f16[4, 3] = slice(%table) {axis = 0, start = 1, size = 4}
    %y: f32[batch, 4] = linear(%x, %w)
    %v: f16[4, 3] = slice(%table) {axis = 0, start = 2, size = 4}
    %z: f32[batch, 4] = linear(%x, %v)
    return y = %y, z = %z
  }`);
  const names = steps(plan).map(({ kernel }) => kernel);
  expect(names).toEqual(["copy_u16", "matmul_f16_gemv_one_row", "matmul_f16_gemv_one_row"]);
});

test("a plan reads as steps over workgroups and items", async () => {
  expect(formatPlan(await scheduled(layer), "webgpu")).toMatchInlineSnapshot(`
    "memory
      weights 4.1 kB in 3 buffers
      state 0 B
      temporaries 2.82 kB
      inputs and outputs 14.3 kB
    kernels (5)
      quantize_rms_norm                    templates/gpu/quantize.ts      1 step
      ternary_gemv_one_row_scale_residual  templates/gpu/ternary-gemv.ts  1 step
      ternary_gemv_scale_residual          templates/gpu/ternary-gemv.ts  1 step
      ternary_gemm_scale_residual          templates/gpu/ternary-gemm.ts  1 step
      elementwise_relu                     elementwise                    1 step
    run(batch <= 1, seq <= 16): 5 steps
      moves weights 3.84 kB, read 16 kB, written 9.86 kB
      3 temporaries of 2.82 kB share 2.82 kB
      quantize %q        quantize_rms_norm                    seq workgroups                   weights 384 B    read 6.21 kB  written 1.66 kB
      ternary_matmul %y  ternary_gemv_one_row_scale_residual  24 x seq workgroups                                                              if seq = 1
      ternary_matmul %y  ternary_gemv_scale_residual          24 x ceildiv(seq, 4) workgroups                                                  if 2 <= seq <= 8
      ternary_matmul %y  ternary_gemm_scale_residual          3 x ceildiv(seq, 32) workgroups  weights 3.46 kB  read 7.74 kB  written 6.14 kB  if 9 <= seq <= 16
      relu %z            elementwise_relu                     seq * 32 items                                    read 2.05 kB  written 2.05 kB  for z
    "
  `);
});

test("targets lay out inputs, outputs, weights and states alike", async () => {
  const both = await scheduled(layer, ["wasm", "webgpu"]);
  for (const target of ["wasm", "webgpu"] as const) {
    const alone = await scheduled(layer, [target]);
    expect(alone.entries).toEqual(both.entries);
    expect(alone.regions).toEqual(both.regions);
    expect(alone.weights.map(({ name, offset }) => [name, offset])).toEqual(
      both.weights.map(({ name, offset }) => [name, offset]),
    );
    expect(alone.targets[target]!.plans).toEqual(both.targets[target]!.plans);
  }
});

/** As if kernels bound nothing but weights. */
function bordersOf({ targets, regions }: Plan): readonly number[] {
  const { kernels, plans } = targets.webgpu!;
  const isBound = (step: Step, position: number) =>
    kernels.find(({ name }) => name === step.kernel)!.parameters[position]!.name === "weights";
  return weightBorders(plans, regions.weights, isBound);
}

describe("weights larger than a binding", () => {
  const head = `graph @g(batch <= 1) {
    %w: parameter "head.weight" f32[100000, 800]
    %ids: input i32[batch]
    %x: f32[batch, 800] = embedding(%w, %ids)
    %y: f32[batch, 100000] = linear(%x, %w)
    return y = %y
  }`;

  test("are read piece by piece, each once, in buffers of a guaranteed size", async () => {
    const plan = await scheduled(head);
    const pieces = steps(plan).filter(({ kernel }) => kernel.startsWith("matmul"));
    const firsts = values(plan, "firstColumn") as number[];
    const counts = values(plan, "columns") as number[];
    expect(pieces.length).toBe(3);
    expect(firsts).toEqual([0, counts[0], counts[0]! + counts[1]!]);
    expect(firsts[2]! + counts[2]!).toBe(100_000);
    expect(values(plan, "firstId")).toEqual(firsts);
    pieces.forEach(({ arguments: [weights] }, i) => {
      if (weights?.kind !== "buffer") throw new Error("the first argument is the weight");
      expect(weights.offset).toBe(firsts[i]! * 3200);
      expect(weights.bytes).toBe(counts[i]! * 3200);
      expect(weights.bytes).toBeLessThanOrEqual(128 * MIB);
    });
    expect(bordersOf(plan)).toEqual([0, firsts[2]! * 3200]);
  });

  const encodings = [
    "f32",
    "f16",
    "int8(row)",
    "ternary(row)",
    "ternary(group 1)",
    "ternary(group 48)",
  ] as const;

  test.prop([
    fc.constantFrom(...encodings),
    fc.integer({ min: 1, max: 3000 }),
    fc.integer({ min: 1, max: 200 }),
  ])(
    "pieces of any storage are bound within the limit, and are all of the weight",
    async (encoding, n, k) => {
      const limits = { bufferBytes: 16 + 259 * 16 * k };
      const weight = encoding.includes("(") ? `f32[${n}, ${k}] ${encoding}` : `${encoding}[${n}, ${k}]`;
      const graph = parseGraph(`graph @g() {
        %x: input f32[1, ${k}]
        %w: parameter "w" ${weight}
        %y: f32[1, ${n}] = linear(%x, %w)
        return y = %y
      }`);
      const plan = await schedule({ run: graph }, { targets: ["webgpu"], maxThreads: 1, limits });
      const parts = steps(plan).flatMap((step) =>
        step.arguments.flatMap((argument) =>
          argument.kind === "buffer" && argument.region === "weights"
            ? [{ start: argument.offset as number, bytes: argument.bytes as number }]
            : [],
        ),
      );
      for (const { offset, bytes } of plan.weights) {
        let end = offset;
        for (const part of parts.filter(({ start }) => start >= offset && start < offset + bytes)) {
          expect(part.bytes).toBeLessThanOrEqual(limits.bufferBytes);
          // A step that has no use for scales is given the codes instead.
          if (part.start === end) end += part.bytes;
        }
        expect(end).toBe(offset + bytes);
      }
    },
  );

  test("small ones share a buffer", async () => {
    const plan = await scheduled(layer);
    expect(bordersOf(plan)).toEqual([0]);
  });
});

test("an op that only a build can compute names the target", async () => {
  const failing = scheduled(`graph @g() {
    %x: input f32[4, 4]
    %w: f32[4, 4] int8(row) = quantize_int8(%x)
    %ids: input i32[2]
    %y: f32[2, 4] = embedding(%w, %ids)
    return y = %y
  }`);
  await expect(failing).rejects.toThrow("quantize_int8 does not run on target webgpu");
});

describe("what a kernel cannot count is refused, naming the step and the bounds:", () => {
  const refused = async (text: string, target: "webgpu" | "cuda") => {
    const error = await schedule({ run: parseGraph(text) }, { targets: [target], maxThreads: 1 }).catch(
      (caught: unknown) => caught,
    );
    expect(error).toBeInstanceOf(BitloomError);
    return error as BitloomError;
  };

  test.each(["webgpu", "cuda"] as const)("workgroups along the second axis of %s", async (target) => {
    const error = await refused(
      `graph @tall(rows <= 4000000) {
        %x: input f32[rows, 4]
        %w: parameter "w" f32[4, 4]
        %y: f32[rows, 4] = linear(%x, %w)
        return y = %y
      }`,
      target,
    );
    expect(error).toMatchObject({
      code: "LIMIT_EXCEEDED",
      message: expect.stringContaining("linear %y"),
      expected: "at most 65535 workgroups along the second axis",
      received: "125000",
      hint: "Lower the bounds of: rows.",
    });
  });

  test("elements beyond 2^31", async () => {
    const error = await refused(
      `graph @wide(a <= 65536, b <= 65536) {
        %x: input f32[a, b]
        %s: f32[a, b] = softmax(%x)
        %t: f32[a, b] = softmax(%s)
        return t = %t
      }`,
      "cuda",
    );
    expect(error.code).toBe("LIMIT_EXCEEDED");
    expect(error.expected).toMatch(/^at most 2147483647 elements/);
    expect(error.hint).toBe("Lower the bounds of: a, b.");
  });
});
