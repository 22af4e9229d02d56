import type { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { BitloomError } from "../errors/index.ts";

/** One turn of a conversation; templates may use further keys. */
export interface Message {
  readonly role: string;
  readonly content: string;
  readonly [key: string]: unknown;
}

/** The files a tokenizer is made of, parsed. */
export interface TokenizerFiles {
  readonly tokenizer: object;
  /** tokenizer_config.json */
  readonly config?: Readonly<Record<string, unknown>> | undefined;
  /** chat_template.jinja; preferred to the config's own */
  readonly chatTemplate?: string | undefined;
}

/** What Hugging Face calls them in a folder; a tokenizer has the first. */
export const tokenizerFileNames = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] as const;

/** Text to token ids and back, as the checkpoint's own tokenizer does it. */
export class Tokenizer {
  readonly #tokenizer: HuggingFaceTokenizer;
  readonly #config: Readonly<Record<string, unknown>>;
  readonly #chatTemplate: string | undefined;

  private constructor(
    tokenizer: HuggingFaceTokenizer,
    config: Readonly<Record<string, unknown>>,
    chatTemplate?: string,
  ) {
    this.#tokenizer = tokenizer;
    this.#config = config;
    this.#chatTemplate = chatTemplate;
  }

  /** @throws BitloomError CORRUPT_FILE when tokenizer.json is no tokenizer this library reads */
  static async create({ tokenizer, config = {}, chatTemplate }: TokenizerFiles): Promise<Tokenizer> {
    const library = await import("@huggingface/tokenizers");
    try {
      return new Tokenizer(
        new library.Tokenizer(tokenizer, config),
        config,
        chatTemplate ?? templateOf(config.chat_template),
      );
    } catch (cause) {
      throw new BitloomError("CORRUPT_FILE", "tokenizer.json describes no tokenizer that can be used", {
        received: (cause as Error).message,
        cause,
      });
    }
  }

  /**
   * The tokenizer of a folder, a checkpoint's or an artifact's; undefined where it holds no tokenizer.json.
   * @param readText a file's text by its name, undefined where there is no such file
   * @throws BitloomError CORRUPT_FILE naming the file, and what `readText` throws
   */
  static async fromFiles(
    readText: (name: string) => Promise<string | undefined>,
  ): Promise<Tokenizer | undefined> {
    const readJson = async (name: string) => parseJson(name, await readText(name));
    const tokenizer = await readJson("tokenizer.json");
    if (tokenizer === undefined) return undefined;
    const config = (await readJson("tokenizer_config.json")) as Record<string, unknown> | undefined;
    return Tokenizer.create({ tokenizer, config, chatTemplate: await readText("chat_template.jinja") });
  }

  /** Whether there is a chat template. */
  get canChat(): boolean {
    return this.#chatTemplate !== undefined;
  }

  /**
   * Token ids of a text, special tokens written in it recognized.
   * @param addSpecialTokens put what the tokenizer puts around a text (usually the token that begins one)
   */
  encode(text: string, addSpecialTokens = true): number[] {
    return this.#tokenizer.encode(text, { add_special_tokens: addSpecialTokens }).ids;
  }

  /** The text of token ids; ids beyond the vocabulary, as padded heads have, are skipped. */
  decode(tokens: readonly number[], skipSpecialTokens = true): string {
    const known = tokens.filter((token) => this.#tokenizer.id_to_token(token) !== undefined);
    if (known.length === 0) return "";
    return this.#tokenizer.decode(known, {
      skip_special_tokens: skipSpecialTokens,
      // It would take spaces out of text already shown.
      clean_up_tokenization_spaces: false,
    });
  }

  /**
   * A conversation as the chat template writes it, up to where the assistant answers.
   * @throws BitloomError INVALID_INPUT when there is no template or it refuses the messages
   */
  async applyChatTemplate(messages: readonly Message[]): Promise<string> {
    if (this.#chatTemplate === undefined) {
      throw new BitloomError("INVALID_INPUT", "The artifact has no chat template", {
        hint: "Give a text prompt, or build from a checkpoint with chat_template.jinja.",
      });
    }
    const { Template } = await import("@huggingface/jinja");
    const specialTokens = Object.fromEntries(
      ["bos_token", "eos_token", "unk_token", "pad_token"].map((name) => [
        name,
        contentOf(this.#config[name]),
      ]),
    );
    try {
      return new Template(this.#chatTemplate).render({
        ...specialTokens,
        messages,
        add_generation_prompt: true,
      });
    } catch (cause) {
      throw new BitloomError("INVALID_INPUT", "The chat template cannot write these messages", {
        received: (cause as Error).message,
        hint: "Messages are { role, content }; the template says which roles it knows.",
        cause,
      });
    }
  }

  /**
   * Token ids of a conversation. The token that begins a text comes once, whether the template writes it or not.
   * @throws BitloomError as `applyChatTemplate`
   */
  async encodeChat(messages: readonly Message[]): Promise<number[]> {
    const text = await this.applyChatTemplate(messages);
    const bos = contentOf(this.#config.bos_token);
    return this.encode(text, bos === undefined || !text.startsWith(bos));
  }
}

function parseJson(name: string, text: string | undefined): object | undefined {
  try {
    return text === undefined ? undefined : JSON.parse(text);
  } catch (cause) {
    throw new BitloomError("CORRUPT_FILE", `${name} is not JSON`, {
      received: (cause as Error).message,
      cause,
    });
  }
}

/** A special token, which configs give as text or as `{ content }`. */
const contentOf = (token: unknown): string | undefined =>
  typeof token === "string"
    ? token
    : ((token as { content?: string } | null | undefined)?.content ?? undefined);

/** A config's template: text, or a list of named ones, of which "default" is meant. */
function templateOf(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return undefined;
  const named = value as readonly { name: string; template: string }[];
  return named.find(({ name }) => name === "default")?.template;
}
