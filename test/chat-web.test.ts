import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { build, type PreviewServer, preview } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compileCheckpoint, openCheckpoint } from "../src/index.ts";
import { launchBrowser, serve } from "./support/browser.ts";
import { checkpoints, type GoldenPrompt, readGolden } from "./support/checkpoints.ts";
import { flipped, removed } from "./support/spoil.ts";

const root = fileURLToPath(new URL("../examples/chat-web", import.meta.url));

let folder: string;
/** The built page, with the artifact beside it. */
let site: string;
let artifact: string;
let browser: Browser;
let golden: GoldenPrompt[];
/** Serves the page as the example's own configuration says, cross-origin isolated. */
let isolated: PreviewServer;
let ordinary: Awaited<ReturnType<typeof serve>>;

beforeAll(async () => {
  golden = await readGolden("bitnet-tiny-packed");
  folder = await mkdtemp(join(tmpdir(), "bitloom-chat-web-"));
  site = join(folder, "site");
  artifact = join(site, "model");
  const shared = {
    root,
    configFile: join(root, "vite.config.ts"),
    logLevel: "silent",
    publicDir: false,
    build: { outDir: site },
  } as const;
  await build({
    ...shared,
    resolve: { alias: { "bitloom/runtime": fileURLToPath(new URL("../runtime/index.ts", import.meta.url)) } },
  });
  const checkpoint = await openCheckpoint(checkpoints["bitnet-tiny-packed"].folder);
  // Room for an answer that does not end before it is stopped.
  await compileCheckpoint(checkpoint, {
    out: artifact,
    bounds: { context: 8192 },
    targets: ["wasm", "webgpu"],
  });
  await checkpoint.source.close();
  isolated = await preview({ ...shared, preview: { port: 0, host: "127.0.0.1" } });
  ordinary = await serve({ crossOriginIsolated: false, routes: { "": { folder: site } } });
  browser = await launchBrowser();
});
afterAll(async () => {
  await browser?.close();
  await ordinary?.close();
  await isolated?.close();
  await rm(folder, { recursive: true, force: true });
});

const ordinaryUrl = () => `${ordinary.url}/index.html`;
const isolatedUrl = () => isolated.resolvedUrls!.local[0]!;

async function open(url: string, inBrowser = browser): Promise<Page> {
  const page = await inBrowser.newPage();
  page.setDefaultTimeout(120_000);
  await page.goto(url);
  return page;
}

const status = (page: Page) => page.getByRole("status");
const button = (page: Page, name: string) => page.getByRole("button", { name, exact: true });
const field = (page: Page, name: string) => page.getByLabel(name, { exact: true });

async function loaded(page: Page): Promise<string> {
  await status(page).filter({ hasText: " on " }).waitFor();
  return (await status(page).textContent())!;
}

async function load(page: Page): Promise<string> {
  await button(page, "Load").click();
  return loaded(page);
}

const runOn = (page: Page, device: string) =>
  page.getByRole("combobox", { name: "Run on" }).selectOption(device);

async function greedy(page: Page, maxTokens: number): Promise<void> {
  await page.getByLabel(/Chat, with the model's template/).uncheck();
  await field(page, "Temperature").fill("0");
  await field(page, "Most tokens").fill(String(maxTokens));
}

/** Sends a prompt from the keyboard. */
async function send(page: Page, text: string): Promise<void> {
  await field(page, "Prompt").fill(text);
  await field(page, "Prompt").press("Enter");
}

/** The last turn's prompt and answer, once it has ended. */
async function turn(page: Page): Promise<{ prompt: string; answer: string; footer: string }> {
  const last = page.locator("article").last();
  await last.locator('[aria-busy="false"]').waitFor();
  const [prompt, answer, footer] = await Promise.all(
    [".prompt", ".answer", "footer"].map(async (part) => (await last.locator(part).textContent())!),
  );
  return { prompt: prompt!, answer: answer!, footer: footer! };
}

describe("the chat page", () => {
  it.each([
    { place: "a cross-origin isolated page", url: isolatedUrl, says: /2 threads$/, warnings: ["NO_WEBGPU"] },
    {
      place: "an ordinary page",
      url: ordinaryUrl,
      says: /1 thread$/,
      warnings: ["NO_THREADS", "NO_WEBGPU"],
    },
  ])("loads the model beside it and gives PyTorch's greedy text in $place", async (expected) => {
    const page = await open(expected.url());
    await field(page, "Threads").fill("2");
    await expect.poll(() => field(page, "Or load it from its address").inputValue()).toBe("./model/");
    expect(await load(page)).toMatch(expected.says);
    expect((await page.locator(".warning code").allTextContents()).sort()).toEqual(expected.warnings);

    const { prompt, input_ids, greedy_ids, greedy_text } = golden[0]!;
    await greedy(page, greedy_ids.length - input_ids.length);
    await send(page, prompt);
    const { answer, footer } = await turn(page);
    expect(`<|begin_of_text|>${prompt}${answer}`).toBe(greedy_text);
    expect(footer).toMatch(/^32 tokens · [\d.]+ tokens\/s · prompt \d+ ms · limit reached$/);
    await page.close();
  });

  it("shows text as it comes, and stops when asked to", async () => {
    const page = await open(ordinaryUrl());
    await load(page);
    await greedy(page, 8000);
    await page.evaluate(() => {
      const lengths: number[] = [];
      Object.assign(globalThis, { lengths });
      new MutationObserver(() => {
        lengths.push(document.querySelector(".answer")?.textContent.length ?? 0);
      }).observe(document.querySelector("#turns")!, { subtree: true, childList: true, characterData: true });
    });
    await send(page, "Return a list of");
    await page.waitForFunction(() => document.querySelector(".answer")!.textContent.length > 2000);
    await button(page, "Stop").click();

    const { answer, footer } = await turn(page);
    expect(footer).toMatch(/^\d+ tokens · .* · stopped$/);
    expect(Number.parseInt(footer, 10)).toBeLessThan(8000);
    const lengths: number[] = await page.evaluate(() => Reflect.get(globalThis, "lengths"));
    const grown = lengths.filter((length, index) => length > (lengths[index - 1] ?? 0));
    expect(grown.length).toBeGreaterThan(3);
    expect(grown.at(-1)).toBe(answer.length);

    // What came last is in view.
    await page.waitForFunction(() => {
      const { scrollHeight, scrollTop, clientHeight } = document.querySelector("#conversation")!;
      return scrollHeight > clientHeight && scrollHeight - scrollTop - clientHeight < 2;
    });

    await field(page, "Most tokens").fill("8");
    await send(page, "The licenses for most software");
    expect((await turn(page)).footer).toMatch(/^8 tokens/);
    await page.close();
  });

  it("runs on WebGPU, stops there too, and goes on with another device", { timeout: 180_000 }, async () => {
    const withGpu = await launchBrowser({ webgpu: true });
    const page = await open(ordinaryUrl(), withGpu);
    await runOn(page, "WebGPU");
    expect(await load(page)).toMatch(/^bitnet-tiny on WebGPU, /);
    const { prompt, greedy_text } = golden[0]!;
    const count = 8;
    await greedy(page, 32);
    await send(page, prompt);
    await page.waitForFunction(() => document.querySelector(".answer")!.textContent.length > 4);
    await button(page, "Stop").click();
    const stopped = await turn(page);
    expect(stopped.footer).toMatch(/stopped$/);
    expect(greedy_text.startsWith(`<|begin_of_text|>${prompt}${stopped.answer}`)).toBe(true);

    await greedy(page, count);
    await send(page, prompt);
    const whole = await turn(page);
    expect(greedy_text.startsWith(`<|begin_of_text|>${prompt}${whole.answer}`)).toBe(true);
    expect(whole.answer.length).toBeGreaterThan(count);
    expect(whole.footer).toMatch(/^8 tokens · [\d.]+ tokens\/s · /);

    await runOn(page, "WebAssembly");
    await button(page, "Load again").click();
    await status(page).filter({ hasText: "on WebAssembly" }).waitFor();
    await send(page, prompt);
    expect((await turn(page)).answer).toBe(whole.answer);
    await withGpu.close();
  });

  it("chats by the model's template, again from the same seed, and forgets", async () => {
    const page = await open(ordinaryUrl());
    await load(page);
    await field(page, "Seed").fill("7");
    await field(page, "Most tokens").fill("24");
    await send(page, "What is a file?");
    const first = await turn(page);
    expect(first.footer).toContain("seed 7");
    await send(page, "And a folder?");
    const second = await turn(page);
    expect(second.prompt).toBe("And a folder?");

    await button(page, "Regenerate").click();
    expect(await turn(page)).toMatchObject({ prompt: second.prompt, answer: second.answer });
    expect(await page.locator("article").count()).toBe(2);

    await button(page, "Clear").click();
    expect(await page.locator("article").count()).toBe(0);
    await send(page, "And a folder?");
    // Without the first turn it is another question.
    expect((await turn(page)).answer).not.toBe(second.answer);
    await page.close();
  });

  it("loads a folder that is picked, and one that is dropped", async () => {
    const page = await open(ordinaryUrl());
    await field(page, "Folder of the artifact").setInputFiles(artifact);
    expect(await loaded(page)).toMatch(/^bitnet-tiny on WebAssembly/);
    await page.close();

    const other = await open(ordinaryUrl());
    const client = await other.context().newCDPSession(other);
    for (const type of ["dragEnter", "dragOver", "drop"] as const) {
      const data = { items: [], files: [artifact], dragOperationsMask: 1 };
      await client.send("Input.dispatchDragEvent", { type, x: 300, y: 300, data });
    }
    expect(await loaded(other)).toMatch(/^bitnet-tiny on WebAssembly/);
    await other.close();
  });

  it("says what is wrong with an artifact, and goes on with another", async () => {
    const page = await open(ordinaryUrl());
    for (const { spoil, code, says } of [
      { spoil: flipped("weights.safetensors", 100_000), code: "CORRUPT_FILE", says: /weights.* is corrupt/ },
      { spoil: removed("tokenizer.json"), code: "MISSING_FILE", says: /Choose the folder/ },
    ]) {
      const broken = await mkdtemp(join(folder, "broken-"));
      await cp(artifact, broken, { recursive: true });
      await spoil(broken);
      await field(page, "Folder of the artifact").setInputFiles(broken);
      const alert = page.getByRole("alert");
      await alert.getByText(code).waitFor();
      expect(await alert.textContent()).toMatch(says);
      expect(await button(page, "Send").isDisabled()).toBe(true);
      expect(await status(page).textContent()).toBe("No model");
    }

    // This browser has no GPU to offer.
    await runOn(page, "WebGPU");
    await button(page, "Load").click();
    await page.getByRole("alert").getByText("NO_DEVICE").waitFor();

    await runOn(page, "WebAssembly");
    await load(page);
    expect(await page.getByRole("alert").count()).toBe(0);
    await send(page, "word ".repeat(8192));
    await page.locator("article").getByText("CONTEXT_OVERFLOW").waitFor();
    // To be shortened.
    expect(await field(page, "Prompt").inputValue()).toMatch(/^word word/);
    await page.close();
  });

  it("shows how loading advances, and cancels it", async () => {
    const page = await open(ordinaryUrl());
    // Held back until it is not wanted any more.
    await page.route("**/weights.safetensors", () => undefined);
    await button(page, "Load").click();
    await page.getByText(/^weights.safetensors, 0.0 of \d\.\d MB$/).waitFor();
    await button(page, "Cancel").click();
    await page.getByText("Loading was cancelled").waitFor();
    await page.unroute("**/weights.safetensors");
    await button(page, "Load again").click();
    expect(await loaded(page)).toMatch(/^bitnet-tiny/);
    await page.close();
  });
});
