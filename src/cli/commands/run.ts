import { text } from "node:stream/consumers";
import { BitloomError } from "../../../errors/index.ts";
import type { Prompt } from "../../../runtime/index.ts";
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
  readonly device: "auto" | "wasm";
  readonly json?: boolean;
  readonly logits?: boolean;
}

/** Streams the continuation of a prompt to stdout, or prints it as one JSON object. Ctrl-C ends it cleanly. */
export async function run(artifact: string, options: RunOptions): Promise<void> {
  const { json, logits, chat, prompt, tokens, device, threads, ...generation } = options;
  if (logits && !json) throw new BitloomError("INVALID_OPTION", "--logits needs --json");
  const input = await readPrompt(options);
  const controller = new AbortController();
  const interrupt = () => controller.abort();
  process.once("SIGINT", interrupt);
  const model = await loadLanguageArtifact(artifact, { device, threads, signal: controller.signal });
  try {
    const answer = model.generate(input, { ...generation, signal: controller.signal });
    if (json) {
      const result = await answer.finish();
      const { text, tokens, promptTokens, timings } = result;
      const report = { text, tokens, promptTokens, timings };
      const full = logits ? { ...report, logits: Array.from(result.promptLogits) } : report;
      process.stdout.write(`${JSON.stringify(full)}\n`);
      return;
    }
    try {
      for await (const { text } of answer) process.stdout.write(text);
    } finally {
      process.stdout.write("\n");
    }
  } catch (error) {
    if (error instanceof BitloomError && error.code === "ABORTED") process.exitCode = 130;
    else throw error;
  } finally {
    process.off("SIGINT", interrupt);
    await model.dispose();
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
  const content = prompt ?? (process.stdin.isTTY ? undefined : await text(process.stdin));
  if (content === undefined) {
    throw new BitloomError("INVALID_OPTION", "There is no prompt", {
      expected: "--prompt <text>, --tokens <ids>, or text on stdin",
    });
  }
  return chat ? [{ role: "user", content }] : content;
}
