import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fc, it as property } from "@fast-check/vitest";
import { beforeAll, describe, expect, it } from "vitest";
import { checkpoints, type GoldenPrompt, readGolden } from "../test/support/checkpoints.ts";
import { TextStream } from "./text-stream.ts";
import { Tokenizer, type TokenizerFiles } from "./tokenizer.ts";

const { folder } = checkpoints["bitnet-tiny-packed"];
let files: TokenizerFiles;
let tokenizer: Tokenizer;
let golden: GoldenPrompt[];
beforeAll(async () => {
  const read = (name: string) => readFile(join(folder, name), "utf8");
  files = {
    tokenizer: JSON.parse(await read("tokenizer.json")),
    config: JSON.parse(await read("tokenizer_config.json")),
    chatTemplate: await read("chat_template.jinja"),
  };
  tokenizer = await Tokenizer.create(files);
  golden = await readGolden("bitnet-tiny-packed");
});

describe("Tokenizer", () => {
  it("encodes every golden prompt to the ids PyTorch's side has, and decodes what it generated", () => {
    expect(golden.length).toBeGreaterThan(0);
    for (const { prompt, input_ids, greedy_ids, greedy_text } of golden) {
      expect(tokenizer.encode(prompt)).toEqual(input_ids);
      expect(tokenizer.decode(greedy_ids, false)).toBe(greedy_text);
    }
  });

  property.prop([fc.string({ unit: "grapheme", maxLength: 40 })])(
    "gives any text back, whole and streamed",
    (text) => {
      const ids = tokenizer.encode(text);
      const whole = tokenizer.decode(ids);
      expect(whole).toBe(text);
      const stream = new TextStream((tokens) => tokenizer.decode(tokens));
      expect(ids.map((id) => stream.push(id)).join("") + stream.flush()).toBe(text);
    },
  );

  property.prop([fc.array(fc.nat(2047), { maxLength: 40 }), fc.array(fc.nat(2047), { maxLength: 8 })])(
    "streams any tokens to the text they have together",
    (ids, before) => {
      fc.pre(!tokenizer.decode(before).endsWith("\uFFFD"));
      const stream = new TextStream((tokens) => tokenizer.decode(tokens), before);
      const streamed = ids.map((id) => stream.push(id)).join("") + stream.flush();
      expect(tokenizer.decode(before) + streamed).toBe(tokenizer.decode([...before, ...ids]));
    },
  );

  it("skips ids beyond its vocabulary", () => {
    expect(tokenizer.decode([582, 5000])).toBe(tokenizer.decode([582]));
    expect(tokenizer.decode([])).toBe("");
  });

  it("writes a conversation as the template says, and begins it once", async () => {
    const messages = [
      { role: "user", content: " Hi " },
      { role: "assistant", content: "Hello" },
      { role: "user", content: "Bye" },
    ];
    const text = "User: Hi<|eot_id|>Assistant: Hello<|eot_id|>User: Bye<|eot_id|>Assistant: ";
    expect(tokenizer.canChat).toBe(true);
    expect(await tokenizer.applyChatTemplate(messages)).toBe(text);
    expect(await tokenizer.encodeChat(messages)).toEqual(tokenizer.encode(text));
    expect((await tokenizer.encodeChat(messages))[0]).toBe(0);

    const beginning = await Tokenizer.create({
      ...files,
      chatTemplate: `{{ bos_token }}${files.chatTemplate}`,
    });
    expect(await beginning.encodeChat(messages)).toEqual(tokenizer.encode(text));
  });

  it("finds the template in the config too", async () => {
    const { tokenizer: json, config } = files;
    const create = (chat_template: unknown) =>
      Tokenizer.create({ tokenizer: json, config: { ...config, chat_template } });
    for (const template of [
      "{{ messages[0].content }}",
      [{ name: "default", template: "{{ messages[0].content }}" }],
    ]) {
      expect(await (await create(template)).applyChatTemplate([{ role: "user", content: "x" }])).toBe("x");
    }
    const none = await create(undefined);
    expect(none.canChat).toBe(false);
    await expect(none.encodeChat([])).rejects.toMatchObject({ code: "INVALID_INPUT" });
    const strict = await create("{{ raise_exception('no system role') }}");
    await expect(strict.encodeChat([])).rejects.toMatchObject({
      code: "INVALID_INPUT",
      received: "no system role",
    });
  });

  it("refuses what is no tokenizer", async () => {
    await expect(Tokenizer.create({ tokenizer: {} })).rejects.toMatchObject({ code: "CORRUPT_FILE" });
  });
});
