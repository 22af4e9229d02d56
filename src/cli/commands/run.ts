import { text } from "node:stream/consumers";
import { BitloomError } from "../../../errors/index.ts";
import type { Generation, LoadOptions, Prompt } from "../../../runtime/index.ts";
import { interruptible } from "../interrupt.ts";
import { loadLanguageArtifact } from "../load-artifact.ts";

export interface RunOptions {
  readonly prompt?: string;
  readonly tokens?: readonly number[];
  readonly chat?: boolean;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
  readonly seed?: number;
  readonly threads?: number;
  readonly device: NonNullable<LoadOptions["device"]>;
  readonly json?: boolean;
  readonly logits?: boolean;
}

/** Streams the continuation of a prompt to stdout, or prints it as one JSON object. Ctrl-C ends it cleanly. */
export async function run(artifact: string, options: RunOptions): Promise<void> {
  const { json, logits, chat, prompt, tokens, device, threads, ...generation } = options;
  if (logits && !json) throw new BitloomError("INVALID_OPTION", "--logits needs --json");
  const input = await readPrompt(options);
  await interruptible(async (signal) => {
    const model = await loadLanguageArtifact(artifact, { device, threads, signal });
    try {
      const answer = model.generate(input, { ...generation, signal });
      if (json) await printJson(answer, logits ?? false);
      else await stream(answer, model.tokenizer === undefined);
    } finally {
      await model.dispose();
    }
  });
}

async function printJson(answer: Generation, withLogits: boolean): Promise<void> {
  const { text, tokens, promptTokens, promptLogits, timings } = await answer.finish();
  const report = { text, tokens, promptTokens, timings };
  const full = withLogits ? { ...report, logits: Array.from(promptLogits) } : report;
  process.stdout.write(`${JSON.stringify(full)}\n`);
}

/** Writes the text as it comes; without a tokenizer there is none, and the ids go out as `--tokens` takes them. */
async function stream(answer: Generation, asTokens: boolean): Promise<void> {
  let line = "";
  try {
    for await (const { token, text } of answer) {
      process.stdout.write(asTokens ? `${line === "" ? "" : ","}${token}` : text);
      line = "\n";
    }
  } finally {
    process.stdout.write(line);
  }
}

async function readPrompt({ prompt, tokens, chat }: RunOptions): Promise<Prompt> {
  if (tokens !== undefined) {
    if (prompt !== undefined || chat) {
      throw new BitloomError("INVALID_OPTION", "--tokens stands alone", {
        received: "--prompt or --chat too",
      });
    }
    return tokens;
  }
  const content = prompt ?? (process.stdin.isTTY ? "" : await readLines());
  if (prompt === undefined && content === "") {
    throw new BitloomError("INVALID_OPTION", "There is no prompt", {
      expected: "--prompt <text>, --tokens <ids>, or text on stdin",
    });
  }
  return chat ? [{ role: "user", content }] : content;
}

/** What is piped in, without the line break that ends it: that is the shell's. */
async function readLines(): Promise<string> {
  return (await text(process.stdin)).replace(/\r?\n$/, "");
}
