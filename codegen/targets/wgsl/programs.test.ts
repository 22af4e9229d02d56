import { fc, test } from "@fast-check/vitest";
import { afterAll, beforeAll, expect } from "vitest";
import { GpuHost } from "../../../test/support/gpu-host.ts";
import { compileKernel, parseKernel } from "../../../test/support/kernel-text.ts";

let host: GpuHost;
beforeAll(async () => {
  host = await GpuHost.open();
});
afterAll(() => host.close());

const variables = ["p", "q", "r"];
const { expression, condition } = fc.letrec<{ expression: string; condition: string }>((tie) => ({
  expression: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom(...variables, "n"),
    fc.integer({ min: -9, max: 9 }).map((value) => `(n + ${value})`),
    fc
      .tuple(tie("expression"), fc.constantFrom("+", "-", "*", "&", "|", "^"), tie("expression"))
      .map(([left, operator, right]) => `(${left} ${operator} ${right})`),
    fc.tuple(tie("expression"), fc.nat(31)).map(([value, count]) => `(${value} >> ${count})`),
    fc
      .tuple(tie("condition"), tie("expression"), tie("expression"))
      .map(([test, yes, no]) => `(${test} ? ${yes} : ${no})`),
    tie("expression").map((index) => `out[${index} & 15]!`),
    tie("expression").map((value) => `mix(${value}, out)`),
  ),
  condition: fc.oneof(
    { maxDepth: 2 },
    fc
      .tuple(tie("expression"), fc.constantFrom("===", "!==", ">", ">="), tie("expression"))
      .map(([left, operator, right]) => `(${left} ${operator} ${right})`),
    fc
      .tuple(tie("condition"), fc.constantFrom("&&", "||"), tie("condition"))
      .map(([left, operator, right]) => `(${left} ${operator} ${right})`),
    tie("condition").map((inner) => `(!${inner})`),
  ),
}));

/** Statements that end. `depth` makes the names of loops' variables unique; from 1 on they are in a loop. */
function statements(depth: number): fc.Arbitrary<string> {
  const target = fc.oneof(
    fc.constantFrom(...variables),
    expression.map((index) => `out[${index} & 15]`),
  );
  const assignment = fc
    .tuple(target, fc.constantFrom("=", "+=", "-=", "*=", "^="), expression)
    .map((parts) => `${parts.join(" ")};`);
  const leave = fc
    .tuple(condition, fc.constantFrom("break", "continue"))
    .map(([test, word]) => `if (${test}) ${word};`);
  const choices = [assignment, assignment];
  if (depth > 0) choices.push(leave);
  if (depth < 3) {
    const inner = statements(depth + 1);
    const branch = fc.tuple(condition, inner, inner);
    choices.push(
      fc
        .tuple(fc.nat(5), inner)
        .map(([count, body]) => `for (let i${depth} = 0; i${depth} < ${count}; i${depth}++) { ${body} }`),
      fc.tuple(fc.nat(4), inner).map(([count, body]) => {
        const counter = `w${depth}`;
        return `{ let ${counter}: i32 = ${count}; while (${counter} > 0) { ${counter} -= 1; ${body} } }`;
      }),
      ...(depth === 0 ? [] : [branch.map(([test, yes, no]) => `if (${test}) { ${yes} } else { ${no} }`)]),
    );
  }
  return fc.array(fc.oneof(...choices), { minLength: 1, maxLength: 4 }).map((lines) => lines.join("\n"));
}

const helper = `function mix(value: i32, memory: Buffer<i32>): i32 {
  for (let i = 0; i < 16; i++) {
    if (memory[i]! > value) return i;
  }
  return value ^ 5;
}`;

test.prop([statements(0), fc.integer()], { numRuns: 60, endOnFailure: true })(
  "random programs do what they do on the wasm target",
  async (body, n) => {
    const program = (parameters: string) => `${helper}
      export function kernel(${parameters}out: Buffer<i32>, n: i32): void {
        let p: i32 = n;
        let q: i32 = 1;
        let r: i32 = 2;
        ${body}
        out[0] = p; out[1] = q; out[2] = r;
      }`;
    const { memory, run } = await compileKernel(program(""));
    run(4096, n);
    const expected = [...new Int32Array(memory.buffer, 4096, 16)];
    const options = "options: Static<{ workgroupSize: number }>, ";
    const onGpu = await host.load(await parseKernel(program(options), { workgroupSize: 1 }));
    const out = new Int32Array(16);
    await onGpu({ out, n }, { workgroups: 1 });
    expect([...out], onGpu.module.text).toEqual(expected);
  },
);
