import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fc, it as property } from "@fast-check/vitest";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { checkpoints } from "../test/support/checkpoints.ts";
import { type FakeArtifact, fakeArtifact, memorySource, seal } from "../test/support/fake-artifact.ts";
import type { ByteRange, Device } from "./devices/device.ts";
import { type LanguageModel, loadLanguageModel } from "./index.ts";
import { Random } from "./random.ts";
import { argmax, type SamplingOptions, sample, samplingSettings } from "./sampling.ts";

const VOCABULARY = 32;
const CONTEXT = 24;
const CHUNK = 4;

let artifact: FakeArtifact;
let model: LanguageModel;
let execute: ReturnType<typeof vi.fn>;
beforeAll(async () => {
  artifact = await fakeArtifact({
    languageModel: true,
    vocabularySize: VOCABULARY,
    contextLength: CONTEXT,
    chunkLength: CHUNK,
  });
  model = await loadLanguageModel(memorySource(artifact.files), { threads: 1 });
  execute = vi.spyOn(model.device as never, "run") as never;
});
afterAll(() => model.dispose());
beforeEach(() => {
  model.reset();
  execute.mockClear();
});

/** The entries run, with the length of each. */
const calls = () =>
  execute.mock.calls.map(([entry, symbols]) => (entry === "decode" ? 1 : symbols.get("seq")));

/** Bytes that each run was asked to read. */
const bytesRead = () =>
  execute.mock.calls.map(([, , , ranges]) =>
    (ranges as readonly ByteRange[]).reduce((sum, { bytes }) => sum + bytes, 0),
  );

/** Continuation by `sample` from all logits. */
function sampled(prompt: readonly number[], options: SamplingOptions, count: number): number[] {
  const random = Random.fromSeed(options.seed!);
  const tokens = [...prompt];
  for (let i = 0; i < count; i++) {
    tokens.push(sample(artifact.logits(tokens), tokens, samplingSettings(options), random));
  }
  return tokens.slice(prompt.length);
}

/** Greedy continuation by the definition. */
function greedy(prompt: readonly number[], count: number): number[] {
  const tokens = [...prompt];
  for (let i = 0; i < count; i++) tokens.push(argmax(artifact.logits(tokens)));
  return tokens.slice(prompt.length);
}

const token = fc.nat(VOCABULARY - 1);

describe("prefill and decode", () => {
  property.prop([fc.array(token, { minLength: 1, maxLength: CONTEXT })])(
    "in chunks equal the whole",
    async (tokens) => {
      model.reset();
      execute.mockClear();
      expect(await model.prefill(tokens)).toEqual(artifact.logits(tokens));
      expect(model.cachedTokens).toEqual(tokens);
      const chunks = Array.from({ length: Math.ceil(tokens.length / CHUNK) }, (_, i) =>
        Math.min(CHUNK, tokens.length - i * CHUNK),
      );
      expect(calls()).toEqual(chunks);
    },
  );

  property.prop([
    fc.array(fc.array(fc.nat(1), { minLength: 1, maxLength: CONTEXT }), { minLength: 1, maxLength: 6 }),
  ])("reuse any common beginning and nothing else", async (prompts) => {
    model.reset();
    let before: readonly number[] = [];
    for (const prompt of prompts) {
      execute.mockClear();
      expect(await model.prefill(prompt)).toEqual(artifact.logits(prompt));
      let common = 0;
      while (common < Math.min(before.length, prompt.length - 1) && before[common] === prompt[common])
        common++;
      expect(calls().reduce((a, b) => a + b, 0)).toBe(prompt.length - common);
      before = prompt;
    }
  });

  it("decode one token after another", async () => {
    await model.prefill([3, 1, 4]);
    expect(await model.decode(1)).toEqual(artifact.logits([3, 1, 4, 1]));
    expect(await model.decode(5)).toEqual(artifact.logits([3, 1, 4, 1, 5]));
    expect(calls()).toEqual([3, 1, 1]);
  });

  it("refuse what does not fit, and stay usable", async () => {
    await expect(model.prefill([])).rejects.toMatchObject({ code: "INVALID_INPUT" });
    for (const wrong of [-1, VOCABULARY, 1.5, Number.NaN]) {
      await expect(model.prefill([1, wrong])).rejects.toMatchObject({
        code: "TOKEN_OUT_OF_RANGE",
        received: `${wrong} at index 1`,
      });
      await expect(model.decode(wrong)).rejects.toMatchObject({ code: "TOKEN_OUT_OF_RANGE" });
    }
    const long = new Array<number>(CONTEXT + 1).fill(1);
    await expect(model.prefill(long)).rejects.toMatchObject({
      code: "CONTEXT_OVERFLOW",
      expected: `at most ${CONTEXT} tokens`,
      received: `${CONTEXT + 1} tokens`,
    });
    await model.prefill(long.slice(1));
    await expect(model.decode(1)).rejects.toMatchObject({ code: "CONTEXT_OVERFLOW" });
    expect(await model.prefill([2])).toEqual(artifact.logits([2]));
  });

  it("stop between chunks, keeping what is computed", async () => {
    const controller = new AbortController();
    const tokens = Array.from({ length: 3 * CHUNK }, (_, i) => i);
    setImmediate(() => controller.abort());
    await expect(model.prefill(tokens, { signal: controller.signal })).rejects.toMatchObject({
      code: "ABORTED",
    });
    expect(model.cachedTokens.length).toBeLessThan(tokens.length);
    expect(await model.prefill(tokens)).toEqual(artifact.logits(tokens));
  });
});

describe("generate", () => {
  property.prop([fc.array(token, { minLength: 1, maxLength: 12 }), fc.integer({ min: 1, max: 12 })])(
    "is greedy by default, whatever is cached",
    async (prompt, maxTokens) => {
      const tokens: number[] = [];
      const generation = model.generate(prompt, { maxTokens });
      for await (const piece of generation) tokens.push(piece.token);
      expect(tokens).toEqual(greedy(prompt, maxTokens));
      expect(generation.result).toMatchObject({ tokens, promptTokens: prompt, finishReason: "length" });
      expect(generation.result.promptLogits).toEqual(artifact.logits(prompt));
    },
  );

  const optional = <T>(values: fc.Arbitrary<T>) => fc.option(values, { nil: undefined });
  property.prop([
    fc.array(token, { minLength: 1, maxLength: 12 }),
    fc.record({
      seed: fc.integer(),
      // Logits are up to 1023.
      temperature: fc.constantFrom(0, 50, 300),
      topK: optional(fc.integer({ min: 1, max: 8 })),
      topP: optional(fc.double({ min: 0.1, max: 1, noNaN: true })),
      minP: optional(fc.double({ min: 0, max: 1, noNaN: true })),
      repetitionPenalty: optional(fc.double({ min: 0.5, max: 3, noNaN: true })),
    }),
  ])("chooses what it would from all logits, however few it reads", async (prompt, options) => {
    const { tokens } = await model.generate(prompt, { ...options, maxTokens: 12 }).finish();
    expect(tokens).toEqual(sampled(prompt, options, 12));
  });

  it("reads all logits after the prompt, and then one candidate or a few a token", async () => {
    const all = 4 * VOCABULARY;
    const few = 8 * model.info.candidates;
    const read = vi.spyOn(model.device as Device, "read");
    // A run reads, too.
    const secondReads = () => read.mock.calls.length - execute.mock.calls.length;
    const reads: readonly (readonly [SamplingOptions, number])[] = [
      [{}, 8],
      [{ temperature: 200, topK: 5, topP: 0.9 }, few],
      [{ repetitionPenalty: 1.01 }, few],
      [{ temperature: 1, minP: 0.5 }, few],
      [{ temperature: 200, topK: model.info.candidates }, all],
      [{ temperature: 200, topP: 0.9 }, all],
      [{ repetitionPenalty: 0.9 }, all],
    ];
    for (const [options, bytes] of reads) {
      model.reset();
      execute.mockClear();
      read.mockClear();
      await model.generate([1, 2, 3, 4, 5, 6], { ...options, maxTokens: 4 }).finish();
      // The prompt is two chunks.
      expect(bytesRead(), JSON.stringify(options)).toEqual([0, all, bytes, bytes, bytes]);
      expect(secondReads(), JSON.stringify(options)).toBe(0);
    }
    // What lowers candidates below what was not read.
    const options = { seed: 0, temperature: 200, topK: 5, repetitionPenalty: 1000 };
    const prompt = Array.from({ length: 12 }, (_, i) => i);
    const { tokens } = await model.generate(prompt, { ...options, maxTokens: 10 }).finish();
    expect(tokens).toEqual(sampled(prompt, options, 10));
    expect(secondReads()).toBeGreaterThan(0);
    read.mockRestore();
  });

  it("fills the context and no more", async () => {
    const { tokens, finishReason } = await model.generate([1, 2, 3]).finish();
    expect(tokens).toEqual(greedy([1, 2, 3], CONTEXT - 3 + 1));
    expect(finishReason).toBe("length");
    expect(await model.generate(new Int32Array(CONTEXT), { maxTokens: 5 }).finish()).toMatchObject({
      tokens: greedy(new Array(CONTEXT).fill(0), 1),
    });
  });

  it("ends with a stop token, the last of the tokens", async () => {
    const expected = greedy([9], 8);
    const stop = expected[3]!;
    const { tokens, finishReason } = await model.generate([9], { stopTokens: [stop] }).finish();
    expect(tokens).toEqual(expected.slice(0, expected.indexOf(stop) + 1));
    expect(finishReason).toBe("stop");
  });

  it("heeds the model's own stop tokens unless told not to", async () => {
    const stopping = await fakeArtifact({ languageModel: true });
    stopping.manifest.languageModel!.stopTokens = [greedy([9], 1)[0]!];
    seal(stopping);
    await using other = await loadLanguageModel(memorySource(stopping.files), { threads: 1 });
    expect((await other.generate([9], { maxTokens: 5 }).finish()).tokens).toHaveLength(1);
    expect(
      (await other.generate([9], { maxTokens: 5, ignoreStopTokens: true }).finish()).tokens,
    ).toHaveLength(5);
  });

  it("gives the same for the same seed, and says the seed it drew", async () => {
    const options = { temperature: 2000, maxTokens: 10 };
    const drawn = await model.generate([1], options).finish();
    const again = await model.generate([1], { ...options, seed: drawn.seed }).finish();
    expect(again.tokens).toEqual(drawn.tokens);
    const other = await model.generate([1], { ...options, seed: drawn.seed + 1 }).finish();
    expect(other.tokens).not.toEqual(drawn.tokens);
  });

  it("measures itself", async () => {
    const { timings } = await model.generate([1], { maxTokens: 5 }).finish();
    expect(timings.loadMs).toBeGreaterThan(0);
    expect(timings.prefillMs).toBeGreaterThan(0);
    expect(timings.tokensPerSecond).toBeCloseTo(4000 / timings.decodeMs);
    expect((await model.generate([1], { maxTokens: 1 }).finish()).timings.tokensPerSecond).toBe(0);
  });

  it("lets a timer abort it, and can be asked again", async () => {
    const controller = new AbortController();
    const generation = model.generate([1], { signal: controller.signal, maxTokens: 20 });
    const seen: number[] = [];
    await expect(
      (async () => {
        for await (const { token } of generation) {
          seen.push(token);
          if (seen.length === 3) controller.abort("tired");
        }
      })(),
    ).rejects.toMatchObject({ code: "ABORTED", cause: "tired" });
    expect(seen).toEqual(greedy([1], 3));
    expect(generation.result.finishReason).toBeUndefined();
    expect((await model.generate([1], { maxTokens: 5 }).finish()).tokens).toEqual(greedy([1], 5));
    await expect(model.generate([1], { signal: AbortSignal.abort() }).finish()).rejects.toMatchObject({
      code: "ABORTED",
    });
  });

  it("takes turns with other events", async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    const tick = () => new Promise((resolve) => setTimeout(resolve, 2));
    await tick();
    turns = 0;
    execute.mockImplementation(((...[, , , ranges]: Parameters<Device["run"]>) => {
      const end = performance.now() + 3;
      while (performance.now() < end);
      return Promise.resolve(ranges.map(({ bytes }) => new Uint8Array(bytes)));
    }) as never);
    try {
      await model.generate([1], { maxTokens: 10 }).finish();
    } finally {
      execute.mockRestore();
      execute = vi.spyOn(model.device as never, "run") as never;
      clearInterval(timer);
    }
    expect(turns).toBeGreaterThan(5);
  });

  it("has the model to itself until it ends or is left", async () => {
    const generation = model.generate([1], { maxTokens: 10 });
    for await (const _ of generation) {
      await expect(model.decode(1)).rejects.toMatchObject({
        code: "BUSY",
        message: expect.stringMatching(/a generation that has not ended[\s\S]*finish\(\).*break/),
      });
      await expect(model.generate([1]).finish()).rejects.toMatchObject({ code: "BUSY" });
      expect(() => model.reset()).toThrow(expect.objectContaining({ code: "BUSY" }));
      break;
    }
    await model.decode(1);
  });

  it("ends with DISPOSED when the model is disposed of in between", async () => {
    const other = await loadLanguageModel(memorySource(artifact.files), { threads: 2 });
    await expect(
      (async () => {
        for await (const _ of other.generate([1])) await other.dispose();
      })(),
    ).rejects.toMatchObject({ code: "DISPOSED" });
  });

  it("refuses options and prompts that mean nothing", async () => {
    for (const wrong of [{ maxTokens: 0 }, { maxTokens: 1.5 }, { seed: 0.5 }, { temperature: -1 }]) {
      expect(() => model.generate([1], wrong)).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
    }
    for (const [name, wrong] of Object.entries({
      stop: ["", [""], [5], 5, null],
      stopTokens: [[-1], [VOCABULARY], [0.5], 3, "3"],
      signal: ["x", null, {}],
      temperature: ["1", Number.NaN],
      maxToken: [3],
      "options of generate": [null, 3, []],
    })) {
      for (const value of wrong) {
        const options = name.startsWith("options") ? value : { [name]: value };
        expect(() => model.generate([1], options as never)).toThrow(
          expect.objectContaining({
            code: "INVALID_OPTION",
            message: expect.stringContaining(`\`${name}\``),
          }),
        );
      }
    }
    for (const wrong of [null, undefined, 5, {}, () => "x"]) {
      const prompt = wrong as unknown as string;
      await expect(model.generate(prompt).finish()).rejects.toMatchObject({ code: "INVALID_INPUT" });
      await expect(model.prefill(prompt as never)).rejects.toMatchObject({ code: "INVALID_INPUT" });
    }
    await expect(model.prefill("text" as never)).rejects.toMatchObject({ code: "INVALID_INPUT" });
    await expect(model.prefill([1], null as never)).rejects.toMatchObject({ code: "INVALID_OPTION" });
    await expect(model.decode(null as never)).rejects.toMatchObject({ code: "TOKEN_OUT_OF_RANGE" });
    await expect(model.generate([]).finish()).rejects.toMatchObject({ code: "INVALID_INPUT" });
    await expect(model.generate("text").finish()).rejects.toMatchObject({ code: "INVALID_INPUT" });
  });
});

describe("run of a language model", () => {
  it("checks what addresses memory, and forgets the cached tokens", async () => {
    await model.prefill([1, 2]);
    const x = new Float32Array(4);
    await model.run({ x });
    expect(model.cachedTokens).toEqual([]);
    const at = (tokens: number[], position: number, slot: number) =>
      model.run({
        tokens: Int32Array.from(tokens),
        positions: Int32Array.of(position),
        slots: Int32Array.of(slot),
      });
    await expect(at([VOCABULARY], 0, 0)).rejects.toMatchObject({ code: "TOKEN_OUT_OF_RANGE" });
    await expect(at([1, 2], CONTEXT - 1, 0)).rejects.toMatchObject({
      code: "INVALID_INPUT",
      received: "23 at index 0",
    });
    await expect(at([1], -1, 0)).rejects.toMatchObject({ code: "INVALID_INPUT" });
    await expect(at([1], 0, 1)).rejects.toMatchObject({ code: "INVALID_INPUT" });
    const twice = model.run({
      tokens: { data: Int32Array.of(1, 2), dims: [2, 1] },
      positions: Int32Array.of(0, 0),
      slots: Int32Array.of(0, 0),
    });
    await expect(twice).rejects.toMatchObject({ code: "INVALID_INPUT", received: "slot 0 twice" });
    for (const wrong of [null, undefined, 3, [new Float32Array(4)], new Float32Array(4)]) {
      await expect(model.run(wrong as never)).rejects.toMatchObject({
        code: "INVALID_INPUT",
        message: expect.stringContaining("Inputs are given by name"),
      });
    }
  });
});

describe("text", () => {
  let speaker: LanguageModel;
  beforeAll(async () => {
    const read = (name: string) => readFile(join(checkpoints["bitnet-tiny-packed"].folder, name), "utf8");
    const names = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];
    const speaking = await fakeArtifact({
      languageModel: true,
      vocabularySize: 2048,
      contextLength: 64,
      extra: Object.fromEntries(await Promise.all(names.map(async (name) => [name, await read(name)]))),
    });
    speaker = await loadLanguageModel(memorySource(speaking.files), { threads: 1 });
  });
  afterAll(() => speaker.dispose());

  it("comes in pieces that join to the decoding of the tokens", async () => {
    const tokenizer = speaker.tokenizer!;
    for (let seed = 0; seed < 10; seed++) {
      const generation = speaker.generate("Return a list", { maxTokens: 30, temperature: 500, seed });
      let text = "";
      for await (const piece of generation) text += piece.text;
      const { tokens, promptTokens } = generation.result;
      expect(promptTokens).toEqual(tokenizer.encode("Return a list"));
      expect(text).toBe(tokenizer.decode(tokens));
      expect(generation.result.text).toBe(text);
    }
  });

  it("stops before a stop text", async () => {
    const whole = (await speaker.generate("Return", { maxTokens: 30 }).finish()).text;
    const stop = whole.slice(20, 26);
    const { text, finishReason } = await speaker.generate("Return", { maxTokens: 30, stop }).finish();
    expect(text).toBe(whole.slice(0, whole.indexOf(stop)));
    expect(finishReason).toBe("stop");
  });

  it("answers a conversation", async () => {
    const messages = [{ role: "user", content: "What is a string?" }];
    const { promptTokens } = await speaker.generate(messages, { maxTokens: 1 }).finish();
    expect(speaker.tokenizer!.decode(promptTokens, false)).toBe(
      "<|begin_of_text|>User: What is a string?<|eot_id|>Assistant: ",
    );
  });
});
