/** Random expressions of the kernel language, and what they mean in JavaScript. */
import fc from "fast-check";

/** A scalar expression of the kernel language and what it means in JavaScript. */
export interface Sample {
  readonly text: string;
  readonly value: (v: Variables) => number;
}
export interface Variables {
  readonly a: number;
  readonly b: number;
  readonly u: number;
  readonly x: number;
  readonly y: number;
}

const fround = Math.fround;
const saturate = (x: number) =>
  Number.isNaN(x) ? 0 : Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, Math.trunc(x))) | 0;
/** A number as the kernel language writes it. */
const literal = (value: number) => (Object.is(value, -0) ? "(-0)" : value < 0 ? `(${value})` : String(value));

/** Throws where a sum or product of whole numbers is no longer exact. */
function whole(x: number): number {
  if (Math.abs(x) > 2 ** 24) throw new RangeError("inexact");
  return x;
}

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
const { "/": _, ...exactFloatOperators } = floatOperators;
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
const squareRoot = (operand: fc.Arbitrary<Sample>) =>
  operand.map((x): Sample => ({ text: `math.sqrt(${x.text})`, value: (v) => fround(Math.sqrt(x.value(v))) }));
const variable = (name: keyof Variables): Sample => ({ text: name, value: (v) => v[name] });

/**
 * Random expressions over the variables a, b (i32), u (u32), x, y (f32). With `exactFloats` every float is a
 * small whole number, so that results are exact however a device rounds, contracts or reorders.
 */
export function randomExpressions({ exactFloats }: { readonly exactFloats: boolean }) {
  const floats = exactFloats ? exactFloatOperators : floatOperators;
  const round = exactFloats ? whole : fround;
  const floatLiteral = exactFloats ? fc.integer({ min: -8, max: 8 }) : fc.float({ noNaN: true });
  return fc.letrec<{ i32: Sample; u32: Sample; f32: Sample; bool: Sample }>((tie) => {
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
          (x): Sample => ({
            text: `select(${x.text} > 5, a, b)`,
            value: (v) => (x.value(v) > 5 ? v.a : v.b),
          }),
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
        floatLiteral.map((value) => typedLiteral("x", value, round)),
        infix(tie("f32"), floats, round),
        tie("f32").map((x): Sample => ({ text: `(-${x.text})`, value: (v) => -x.value(v) })),
        ...(exactFloats ? [] : [squareRoot(tie("f32"))]),
        fc.tuple(tie("f32"), tie("f32")).map(
          ([left, right]): Sample => ({
            text: `math.max(${left.text}, ${right.text})`,
            value: (v) => Math.max(left.value(v), right.value(v)),
          }),
        ),
        tie("i32").map(
          (x): Sample =>
            exactFloats
              ? { text: `convert.i32ToF32(${x.text} & 7)`, value: (v) => x.value(v) & 7 }
              : { text: `convert.i32ToF32(${x.text})`, value: (v) => fround(x.value(v)) },
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
}

const word = fc.oneof(fc.integer(), fc.constantFrom(0, 1, -1, 2147483647, -2147483648));

/** Values for the variables; floats as `randomExpressions` wants them. */
export function randomVariables({ exactFloats }: { readonly exactFloats: boolean }): fc.Arbitrary<Variables> {
  const float = exactFloats ? fc.integer({ min: -8, max: 8 }) : fc.float();
  const u = fc.oneof(fc.nat(), fc.constant(0xffffffff));
  return fc.record<Variables>({ a: word, b: word, u, x: float, y: float });
}

/** Declarations that make the variables constants. */
export function constantVariables({ a, b, u, x, y }: Variables): string {
  return [
    `const a: i32 = ${literal(a)};`,
    `const b: i32 = ${literal(b)};`,
    `const u: u32 = ${u};`,
    `const x: f32 = ${literal(x)};`,
    `const y: f32 = ${literal(y)};`,
  ].join("\n");
}
