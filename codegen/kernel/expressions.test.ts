import { fc, test } from "@fast-check/vitest";
import { describe, expect } from "vitest";
import { compileKernel } from "../../test/support/kernel-text.ts";

/** A scalar expression of the kernel language and what it means in JavaScript. */
interface Sample {
  readonly text: string;
  readonly value: (v: Variables) => number;
}
interface Variables {
  readonly a: number;
  readonly b: number;
  readonly u: number;
  readonly x: number;
  readonly y: number;
}

const fround = Math.fround;
const saturate = (x: number) =>
  Number.isNaN(x) ? 0 : Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, Math.trunc(x))) | 0;
const literal = (value: number) => (Object.is(value, -0) ? "(-0)" : value < 0 ? `(${value})` : String(value));

type Fn2 = (a: number, b: number) => number;
const integerOperators: Record<string, Fn2> = {
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": Math.imul,
  "&": (a, b) => a & b,
  "|": (a, b) => a | b,
  "^": (a, b) => a ^ b,
  "<<": (a, b) => a << b,
  ">>>": (a, b) => a >>> b,
};
const floatOperators: Record<string, Fn2> = {
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": (a, b) => a * b,
  "/": (a, b) => a / b,
};
const comparisons: Record<string, (a: number, b: number) => boolean> = {
  "===": (a, b) => a === b,
  "!==": (a, b) => a !== b,
  "<": (a, b) => a < b,
  "<=": (a, b) => a <= b,
  ">": (a, b) => a > b,
  ">=": (a, b) => a >= b,
};

function infix(operands: fc.Arbitrary<Sample>, operators: Record<string, Fn2>, wrap: (x: number) => number) {
  return fc.tuple(operands, fc.constantFrom(...Object.keys(operators)), operands).map(
    ([left, operator, right]): Sample => ({
      text: `(${left.text} ${operator} ${operator === "<<" ? `-(-${right.text})` : right.text})`,
      value: (v) => wrap(operators[operator]!(left.value(v), right.value(v))),
    }),
  );
}
/** TypeScript's parser takes `a < (b > (c))` and `a << (b > (c))` for type arguments; JavaScript's does not. */
const compare = (left: string, operator: string, right: string) =>
  operator === "<" && right.startsWith("(") ? `(${right} > ${left})` : `(${left} ${operator} ${right})`;
const variable = (name: keyof Variables): Sample => ({ text: name, value: (v) => v[name] });

const { i32, f32 } = fc.letrec<{ i32: Sample; u32: Sample; f32: Sample; bool: Sample }>((tie) => {
  const choice = (type: "i32" | "u32" | "f32") =>
    fc.tuple(tie("bool"), tie(type), tie(type), fc.boolean()).map(
      ([condition, left, right, eager]): Sample => ({
        text: eager
          ? `select(${condition.text}, ${left.text}, ${right.text})`
          : `(${condition.text} ? ${left.text} : ${right.text})`,
        value: (v) => (condition.value(v) ? left.value(v) : right.value(v)),
      }),
    );
  // Typed by a variable, so that constants never stand alone.
  const typedLiteral = (name: "a" | "u" | "x", value: number, wrap: (x: number) => number): Sample => ({
    text: `(${name} + ${literal(value)})`,
    value: (v) => wrap(v[name] + value),
  });
  return {
    i32: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom(variable("a"), variable("b")),
      fc.integer().map((value) => typedLiteral("a", value, (x) => x | 0)),
      infix(tie("i32"), integerOperators, (x) => x | 0),
      fc.tuple(tie("i32"), tie("i32")).map(
        ([left, right]): Sample => ({
          text: `(${left.text} >> ${right.text})`,
          value: (v) => left.value(v) >> right.value(v),
        }),
      ),
      // Division by a nonzero number other than -1 cannot trap.
      fc.tuple(tie("i32"), tie("i32"), fc.constantFrom("/", "%")).map(
        ([left, right, operator]): Sample => ({
          text: `(${left.text} ${operator} ((${right.text} & 1023) + 2))`,
          value: (v) => {
            const divisor = (right.value(v) & 1023) + 2;
            return operator === "/" ? (left.value(v) / divisor) | 0 : (left.value(v) % divisor) | 0;
          },
        }),
      ),
      tie("i32").map((x): Sample => ({ text: `(-${x.text})`, value: (v) => -x.value(v) | 0 })),
      tie("i32").map((x): Sample => ({ text: `(~${x.text})`, value: (v) => ~x.value(v) })),
      tie("f32").map(
        (x): Sample => ({ text: `convert.f32ToI32(${x.text})`, value: (v) => saturate(x.value(v)) }),
      ),
      tie("u32").map(
        (x): Sample => ({ text: `select(${x.text} > 5, a, b)`, value: (v) => (x.value(v) > 5 ? v.a : v.b) }),
      ),
      choice("i32"),
    ),
    u32: fc.oneof(
      { maxDepth: 4 },
      fc.constant(variable("u")),
      fc.nat().map((value) => typedLiteral("u", value, (x) => x >>> 0)),
      infix(tie("u32"), integerOperators, (x) => x >>> 0),
      fc.tuple(tie("u32"), tie("i32")).map(
        ([left, right]): Sample => ({
          text: `(${left.text} >> ${right.text})`,
          value: (v) => left.value(v) >>> right.value(v),
        }),
      ),
      fc.tuple(tie("u32"), fc.integer({ min: 1, max: 1000 }), fc.constantFrom("/", "%")).map(
        ([left, divisor, operator]): Sample => ({
          text: `(${left.text} ${operator} ${divisor})`,
          value: (v) => (operator === "/" ? Math.floor(left.value(v) / divisor) : left.value(v) % divisor),
        }),
      ),
      choice("u32"),
    ),
    f32: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom(variable("x"), variable("y")),
      fc.float({ noNaN: true }).map((value) => typedLiteral("x", value, fround)),
      infix(tie("f32"), floatOperators, fround),
      tie("f32").map((x): Sample => ({ text: `(-${x.text})`, value: (v) => -x.value(v) })),
      tie("f32").map(
        (x): Sample => ({ text: `math.sqrt(${x.text})`, value: (v) => fround(Math.sqrt(x.value(v))) }),
      ),
      fc.tuple(tie("f32"), tie("f32")).map(
        ([left, right]): Sample => ({
          text: `math.max(${left.text}, ${right.text})`,
          value: (v) => Math.max(left.value(v), right.value(v)),
        }),
      ),
      tie("i32").map(
        (x): Sample => ({ text: `convert.i32ToF32(${x.text})`, value: (v) => fround(x.value(v)) }),
      ),
      choice("f32"),
    ),
    bool: fc.oneof(
      { maxDepth: 3 },
      fc
        .tuple(
          fc.constantFrom("i32" as const, "u32" as const, "f32" as const),
          fc.constantFrom(...Object.keys(comparisons)),
        )
        .chain(([type, operator]) =>
          fc.tuple(tie(type), tie(type)).map(
            ([left, right]): Sample => ({
              text: compare(left.text, operator, right.text),
              value: (v) => Number(comparisons[operator]!(left.value(v), right.value(v))),
            }),
          ),
        ),
      fc.tuple(tie("bool"), tie("bool"), fc.boolean()).map(
        ([left, right, and]): Sample => ({
          text: `(${left.text} ${and ? "&&" : "||"} ${right.text})`,
          value: (v) => (and ? left.value(v) && right.value(v) : left.value(v) || right.value(v)),
        }),
      ),
      tie("bool").map((x): Sample => ({ text: `(!${x.text})`, value: (v) => 1 - x.value(v) })),
    ),
  };
});

const word = fc.oneof(fc.integer(), fc.constantFrom(0, 1, -1, 2147483647, -2147483648));
const inputs = fc.record<Variables>({
  a: word,
  b: word,
  u: fc.oneof(fc.nat(), fc.constant(0xffffffff)),
  x: fc.float(),
  y: fc.float(),
});

async function agrees(type: "i32" | "f32", samples: Sample[], variables: Variables): Promise<void> {
  // One module for many expressions; as run-time values, and again as constants that fold.
  const size = 4;
  const stores = samples.map(({ text }, i) => `out[${i}] = ${text};`).join("\n");
  const { a, b, u, x, y } = variables;
  const constants = [
    `const a: i32 = ${literal(a)};`,
    `const b: i32 = ${literal(b)};`,
    `const u: u32 = ${u};`,
    `const x: f32 = ${literal(x)};`,
    `const y: f32 = ${literal(y)};`,
  ].join("\n");
  const atRunTime = `export function kernel(out: Buffer<${type}>, a: i32, b: i32, u: u32, x: f32, y: f32) {\n${stores}\n}`;
  const folded = `export function kernel(out: Buffer<${type}>) {\n${constants}\n${stores}\n}`;
  const expected = samples.map(({ value }) => value(variables));
  for (const text of [atRunTime, folded]) {
    const { memory, run } = await compileKernel(text);
    if (text === folded) run(4096);
    else run(4096, a, b, u, x, y);
    const received = type === "i32" ? Int32Array : Float32Array;
    const out = [...new received(memory.buffer, 4096, samples.length * (size / 4))];
    samples.forEach((sample, i) => {
      expect(out[i], `${sample.text} with ${Object.entries(variables).join()}`).toBe(expected[i]);
    });
  }
}

describe("random expressions compute what JavaScript does with rounding at every step", () => {
  test.prop([fc.array(i32, { minLength: 1, maxLength: 30 }), inputs], { numRuns: 60, endOnFailure: true })(
    "i32",
    async (samples, v) => {
      await agrees("i32", samples, v);
    },
  );
  test.prop([fc.array(f32, { minLength: 1, maxLength: 30 }), inputs], { numRuns: 60, endOnFailure: true })(
    "f32",
    async (samples, v) => {
      await agrees("f32", samples, v);
    },
  );
});
