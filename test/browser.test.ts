import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCheckpoint } from "../src/checkpoint/huggingface.ts";
import { compileCheckpoint } from "../src/compiler/checkpoint.ts";
import { askWorker, launchBrowser } from "./support/browser.ts";
import { bundleForBrowser } from "./support/bundle.ts";
import { checkpoints, type GoldenPrompt, readGolden } from "./support/checkpoints.ts";

/** Runs in a worker of the page: loads the artifact and answers each prompt, token by token. */
const answer = `
import { loadLanguageModel } from "./runtime.js";
export default async ({ prompts, threads }) => {
  const warnings = [];
  await using model = await loadLanguageModel("/artifact/", {
    threads,
    onWarning: ({ code }) => warnings.push(code),
  });
  const answers = [];
  for (const { prompt, maxTokens } of prompts) {
    const pieces = [];
    const generation = model.generate(prompt, { maxTokens, ignoreStopTokens: true });
    for await (const { text } of generation) pieces.push(text);
    answers.push({ text: pieces.join(""), tokens: generation.result.tokens, pieces: pieces.length });
  }
  return { answers, warnings, device: model.device.description };
};
`;

interface Reply {
  readonly answers: readonly { readonly text: string; readonly tokens: number[]; readonly pieces: number }[];
  readonly warnings: readonly string[];
  readonly device: string;
}

describe("in a browser's worker", () => {
  let folder: string;
  let runtime: string;
  let browser: Browser;
  let golden: GoldenPrompt[];

  beforeAll(async () => {
    golden = await readGolden("bitnet-tiny-packed");
    folder = await mkdtemp(join(tmpdir(), "bitloom-browser-"));
    const checkpoint = await openCheckpoint(checkpoints["bitnet-tiny-packed"].folder);
    try {
      await compileCheckpoint(checkpoint, { out: join(folder, "artifact") });
    } finally {
      await checkpoint.source.close();
    }
    runtime = await bundleForBrowser(fileURLToPath(new URL("../runtime/index.ts", import.meta.url)));
    browser = await launchBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    await rm(folder, { recursive: true, force: true });
  });

  function answers(crossOriginIsolated: boolean, threads: number | undefined): Promise<Reply> {
    const routes = { "/runtime.js": { text: runtime }, "/artifact": { folder: join(folder, "artifact") } };
    const prompts = golden.map(({ prompt, input_ids, greedy_ids }) => ({
      prompt,
      maxTokens: greedy_ids.length - input_ids.length,
    }));
    return askWorker(browser, { answer, crossOriginIsolated, routes }, { threads, prompts });
  }

  it.each([
    { place: "a cross-origin isolated page, two threads", isolated: true, threads: 2, says: /2 threads/ },
    { place: "a cross-origin isolated page, one thread", isolated: true, threads: 1, says: /1 thread/ },
    { place: "an ordinary page", isolated: false, threads: 2, says: /1 thread/ },
  ])("gives PyTorch's greedy text in $place", async ({ isolated, threads, says }) => {
    const reply = await answers(isolated, threads);
    expect(reply.device).toMatch(says);
    // Chromium has relaxed SIMD, which Node 20 has not: here its kernels are held to the same bits.
    expect(reply.device).toMatch(/relaxed SIMD/);
    expect(reply.warnings).toEqual(isolated ? [] : ["NO_THREADS"]);
    expect(reply.answers.map(({ tokens }) => tokens)).toEqual(
      golden.map(({ input_ids, greedy_ids }) => greedy_ids.slice(input_ids.length)),
    );
    golden.forEach(({ greedy_text }, index) => {
      const answer = reply.answers[index]!;
      expect(answer.pieces).toBe(answer.tokens.length);
      expect(greedy_text.endsWith(answer.text)).toBe(true);
    });
  });
});
