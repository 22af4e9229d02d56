import { fc, it as property } from "@fast-check/vitest";
import { describe, expect, it } from "vitest";
import { Random } from "./random.ts";
import {
  argmax,
  type SamplingOptions,
  sample,
  sampleCandidates,
  sampledFrom,
  samplingSettings,
} from "./sampling.ts";

const draw = (logits: ArrayLike<number>, options: SamplingOptions, seen: number[] = [], seed = 1) =>
  sample(Float32Array.from(logits), seen, samplingSettings(options), Random.fromSeed(seed));

/** Distribution by the definitions, one step after another on plain arrays, as transformers has them. */
function distribution(
  logits: readonly number[],
  options: SamplingOptions,
  seen: readonly number[],
): number[] {
  const { temperature, topK, topP, minP, repetitionPenalty } = samplingSettings(options);
  const softmax = (values: readonly number[]) => {
    const top = Math.max(...values);
    const weights = values.map((value) => Math.exp(value - top));
    const total = weights.reduce((a, b) => a + b, 0);
    return weights.map((weight) => weight / total);
  };
  let values = logits.map((logit, token) =>
    seen.includes(token)
      ? Math.fround(logit < 0 ? logit * repetitionPenalty : logit / repetitionPenalty)
      : logit,
  );
  values = values.map((value) => value / temperature);
  if (topK < values.length) {
    const kth = [...values].sort((a, b) => b - a)[topK - 1]!;
    values = values.map((value) => (value < kth ? -Infinity : value));
  }
  let probabilities = softmax(values);
  const before = (token: number) =>
    probabilities.reduce(
      (sum, p, other) =>
        p > probabilities[token]! || (p === probabilities[token] && other < token) ? sum + p : sum,
      0,
    );
  if (topP < 1) values = values.map((value, token) => (before(token) < topP ? value : -Infinity));
  probabilities = softmax(values);
  const most = Math.max(...probabilities);
  values = values.map((value, token) => (probabilities[token]! < minP * most ? -Infinity : value));
  return softmax(values);
}

// Over a prime no sum of a few shares can equal: rounding decides nothing.
const share = fc.integer({ min: 1, max: 996 }).map((value) => value / 997);
const options = fc.record({
  temperature: fc.double({ min: 0.3, max: 3, noNaN: true }),
  topK: fc.option(fc.integer({ min: 1, max: 12 }), { nil: undefined }),
  topP: fc.option(share, { nil: undefined }),
  minP: fc.option(fc.oneof(share, fc.constantFrom(0, 1)), { nil: undefined }),
  repetitionPenalty: fc.option(fc.double({ min: 0.5, max: 2, noNaN: true }), { nil: undefined }),
});
const logits = fc.array(
  fc.integer({ min: -80, max: 80 }).map((value) => value / 16),
  { minLength: 1, maxLength: 12 },
);
const seen = fc.array(fc.nat(11), { maxLength: 6 });

/** A random source whose `uniform` is given. */
const fixed = (value: number) => ({ uniform: () => value }) as unknown as Random;

describe("sample", () => {
  property.prop([logits, options, seen], { numRuns: 300 })(
    "inverts the cumulative distribution of the definitions",
    (values, chosen, tokens) => {
      const known = tokens.filter((token) => token < values.length);
      const expected = distribution(values, chosen, known);
      const settings = samplingSettings(chosen);
      let cumulative = 0;
      for (const [token, probability] of expected.entries()) {
        if (probability > 1e-6) {
          // Just inside both ends of the token's share, away from rounding.
          for (const part of [0.001, 0.5, 0.999]) {
            const u = cumulative + part * probability;
            expect(sample(Float32Array.from(values), known, settings, fixed(u))).toBe(token);
          }
        }
        cumulative += probability;
      }
    },
  );

  property.prop([logits, options])("never draws what is excluded, even at the very end", (values, chosen) => {
    const expected = distribution(values, chosen, []);
    for (const u of [0, 1 - 2 ** -53]) {
      const token = sample(Float32Array.from(values), [], samplingSettings(chosen), fixed(u));
      expect(expected[token]).toBeGreaterThan(0);
    }
  });

  property.prop([logits, seen])("is argmax after the penalty at temperature 0", (values, tokens) => {
    const known = tokens.filter((token) => token < values.length);
    const penalized = values.map((value, token) =>
      known.includes(token) ? (value < 0 ? value * 2 : value / 2) : value,
    );
    expect(draw(values, { repetitionPenalty: 2 }, known)).toBe(penalized.indexOf(Math.max(...penalized)));
  });

  it("is greedy by default, the lowest id of equals first", () => {
    expect(draw([1, 3, 3, 2], {})).toBe(1);
    expect(argmax(Float32Array.of(-1, -1))).toBe(0);
  });

  it("keeps a large vocabulary's nucleus whole", () => {
    const values = Float32Array.from({ length: 20_000 }, (_, i) => (i % 1000 === 0 ? 10 : 0));
    // 20 tokens of e^10 and 19,980 of 1: the former hold 0.957 of it.
    for (let seed = 0; seed < 20; seed++) {
      expect(draw(values, { temperature: 1, topP: 0.95 }, [], seed) % 1000).toBe(0);
    }
    const others = Array.from(
      { length: 100 },
      (_, seed) => draw(values, { temperature: 1, topP: 0.999 }, [], seed) % 1000,
    );
    expect(others.some((token) => token !== 0)).toBe(true);
  });

  it("gives the same token for the same seed, and others for others", () => {
    const values = new Float32Array(1000);
    const tokens = Array.from({ length: 20 }, (_, seed) => draw(values, { temperature: 1 }, [], seed));
    expect(tokens).toEqual(
      Array.from({ length: 20 }, (_, seed) => draw(values, { temperature: 1 }, [], seed)),
    );
    expect(new Set(tokens).size).toBeGreaterThan(15);
  });

  it.each([
    [[1, Number.NaN, 2], "NaN for token 1"],
    [[1, 2, Infinity], "Infinity for token 2"],
    [[-Infinity, -Infinity], "-Infinity for every token"],
  ])("refuses the logits %j", (values, received) => {
    for (const temperature of [0, 1]) {
      expect(() => draw(values, { temperature })).toThrow(
        expect.objectContaining({ code: "INVALID_LOGITS", received }),
      );
    }
  });

  it("lets masked tokens be", () => {
    for (let seed = 0; seed < 20; seed++) {
      expect(draw([-Infinity, 0, -Infinity], { temperature: 2 }, [], seed)).toBe(1);
    }
  });

  it.each([
    { temperature: -1 },
    { temperature: Number.NaN },
    { temperature: Infinity },
    { topK: 0 },
    { topK: 1.5 },
    { topP: 0 },
    { topP: 1.01 },
    { minP: -0.1 },
    { minP: 2 },
    { repetitionPenalty: 0 },
  ])("refuses %j by name", (wrong) => {
    expect(() => samplingSettings(wrong)).toThrow(
      expect.objectContaining({
        code: "INVALID_OPTION",
        message: expect.stringContaining(`\`${Object.keys(wrong)[0]}\``),
      }),
    );
  });
});

describe("sampleCandidates", () => {
  /** The `count` largest, of equals the lower ids. */
  function largest(logits: readonly number[], count: number) {
    const order = logits.map((_, token) => token).sort((a, b) => logits[b]! - logits[a]! || a - b);
    const tokens = Int32Array.from(order.slice(0, count));
    return { tokens, logits: Float32Array.from(tokens, (token) => logits[token]!) };
  }
  const anyOptions = fc.record({
    temperature: fc.oneof(fc.constant(0), fc.double({ min: 0.1, max: 3, noNaN: true })),
    topK: fc.option(fc.integer({ min: 1, max: 12 }), { nil: undefined }),
    topP: fc.option(share, { nil: undefined }),
    minP: fc.option(fc.oneof(share, fc.constantFrom(0, 1)), { nil: undefined }),
    repetitionPenalty: fc.option(fc.double({ min: 0.5, max: 2, noNaN: true }), { nil: undefined }),
  });
  // Equals are frequent.
  const anyLogits = fc.array(fc.oneof(fc.integer({ min: -3, max: 3 }), fc.constantFrom(-Infinity, 0, -0)), {
    minLength: 1,
    maxLength: 12,
  });

  property.prop([anyLogits, anyOptions, seen, fc.integer({ min: 1, max: 12 }), fc.integer()], {
    numRuns: 2000,
  })("gives what all logits give, or nothing", (values, chosen, tokens, count, seed) => {
    fc.pre(values.some((value) => value > -Infinity));
    const known = new Set(tokens.filter((token) => token < values.length));
    const settings = samplingSettings(chosen);
    const candidates = largest(values, count);
    const random = Random.fromSeed(seed);
    const token = sampleCandidates(candidates, values.length, known, settings, random);
    const fresh = Random.fromSeed(seed);
    const expected = sample(Float32Array.from(values), known, settings, fresh);
    if (token !== undefined) expect(token).toBe(expected);
    else {
      expect(count).toBeLessThan(values.length);
      expect(random).toEqual(Random.fromSeed(seed));
    }
  });

  it("is enough for what is asked of it, but for equals and penalties", () => {
    const values = Array.from({ length: 100 }, (_, i) => Math.sin(i));
    const asked: readonly SamplingOptions[] = [
      {},
      { temperature: 1, topK: 9 },
      { temperature: 1, topK: 9, topP: 0.5, minP: 0.1 },
      { temperature: 0.001, minP: 0.9 },
      { repetitionPenalty: 1.1 },
    ];
    for (const options of asked) {
      const settings = samplingSettings(options);
      expect(sampledFrom(settings, 10)).toBe(options === asked[0] ? "best" : "top");
      const few = largest(values, options === asked[0] ? 1 : 10);
      expect(sampleCandidates(few, 100, new Set(), settings, Random.fromSeed(1))).toBeTypeOf("number");
    }
    for (const options of [
      { temperature: 1, topK: 10 },
      { temperature: 1, topP: 0.5 },
      { repetitionPenalty: 0.9 },
    ]) {
      expect(sampledFrom(samplingSettings(options), 10)).toBe("logits");
    }
  });

  it.each([
    [[Number.NaN, 2], "NaN for token 7"],
    [[Infinity, 2], "Infinity for token 7"],
    [[-Infinity, -Infinity], "-Infinity for every token"],
  ])("refuses the logits %j, or leaves that to who reads all", (values, received) => {
    const refusal = expect.objectContaining({ code: "INVALID_LOGITS", received });
    const choose = (options: SamplingOptions, count: number) => () =>
      sampleCandidates(
        { logits: Float32Array.from(values.slice(0, count)), tokens: Int32Array.of(7, 3).slice(0, count) },
        10,
        new Set(),
        samplingSettings(options),
        Random.fromSeed(1),
      );
    expect(choose({}, 1)).toThrow(refusal);
    const outcome = (() => {
      try {
        return choose({ temperature: 1, topK: 1 }, 2)();
      } catch (error) {
        return error;
      }
    })();
    expect([undefined, refusal]).toContainEqual(outcome);
  });
});
