import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { crc32 } from "node:zlib";
import type { Browser, Page } from "playwright-core";
import { build, type PreviewServer, preview } from "vite";
import { afterAll, beforeAll, expect, it } from "vitest";
import { buildTraining, cosineRate, defineTraining, type TrainReport, train } from "../src/index.ts";
import { alphabetConfig } from "./support/alphabet-model.ts";
import { launchBrowser, serve } from "./support/browser.ts";

const root = fileURLToPath(new URL("../examples/train-web", import.meta.url));
const source = (path: string) => fileURLToPath(new URL(path, import.meta.url));

const text = "abcdefgh".repeat(200);
const training = defineTraining({
  model: alphabetConfig,
  text: [{ content: text }],
  steps: 40,
  batch: 4,
  sequence: 16,
  learningRate: cosineRate(0.02, { warmup: 2 }),
  seed: 7,
});

let folder: string;
let browser: Browser;
/** Serves the page as the example's own configuration says, cross-origin isolated. */
let isolated: PreviewServer;
let ordinary: Awaited<ReturnType<typeof serve>>;
/** The same training in Node. */
let reference: TrainReport;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-train-web-"));
  const site = join(folder, "site");
  const shared = {
    root,
    configFile: join(root, "vite.config.ts"),
    logLevel: "silent",
    publicDir: false,
    build: { outDir: site },
  } as const;
  const alias = {
    "bitloom/runtime": source("../runtime/index.ts"),
    "bitloom/training": source("../runtime/training/index.ts"),
  };
  await build({ ...shared, resolve: { alias } });
  await buildTraining(training, { out: join(site, "training") });
  reference = await train(training, { out: join(folder, "run"), threads: 1 });
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

async function open(url: string): Promise<Page> {
  const page = await browser.newPage();
  await page.goto(url);
  return page;
}

const button = (page: Page, name: string) => page.getByRole("button", { name, exact: true });
const field = (page: Page, name: string) => page.getByLabel(name, { exact: true });
/** A page writes thousands with commas, and nothing yet as a dash. */
const numberIn = (text: string) => Number((/[\d,]+/.exec(text)?.[0] ?? "0").replaceAll(",", ""));
const stepsDone = async (page: Page) => numberIn((await page.locator("#step").textContent())!);

/** The points of one of the curve's lines. */
async function points(page: Page, line: string): Promise<{ x: number; y: number }[]> {
  const drawn = (await page.locator(`.curve .${line}`).getAttribute("points"))!;
  return drawn.split(" ").map((point) => {
    const [x, y] = point.split(",").map(Number) as [number, number];
    return { x, y };
  });
}

/** The files of an archive whose members are stored, as its directory lists them. */
function unzip(archive: Buffer): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  let at = archive.readUInt32LE(archive.length - 6);
  for (let count = archive.readUInt16LE(archive.length - 12); count > 0; count--) {
    const [crc, size] = [archive.readUInt32LE(at + 16), archive.readUInt32LE(at + 24)];
    const nameLength = archive.readUInt16LE(at + 28);
    const name = archive.toString("utf8", at + 46, at + 46 + nameLength);
    const local = archive.readUInt32LE(at + 42);
    const data = local + 30 + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28);
    const bytes = archive.subarray(data, data + size);
    expect(crc32(bytes), name).toBe(crc);
    files.set(name, bytes);
    at += 46 + nameLength;
  }
  return files;
}

it("trains to the bits of the same training in Node, draws its loss, and hands the model out", async () => {
  const page = await open(isolated.resolvedUrls!.local[0]!);
  await page
    .getByRole("status")
    .filter({ hasText: /^alphabet, [\d,]+ parameters, on WebAssembly/ })
    .waitFor();
  await field(page, "Text to learn from").fill(text);
  await field(page, "Prompt").fill("abcdefghabcdefgh");
  await field(page, "Temperature").fill("0");
  await field(page, "Tokens").fill("8");
  await field(page, "Every so many steps").fill("15");
  await button(page, "Start").click();
  await page.locator("#step").filter({ hasText: "40 of 40" }).waitFor();
  await page
    .locator("article", { hasText: "step 40" })
    .filter({ hasText: "abcdefghabcdefghabcdefgh" })
    .waitFor();
  await button(page, "Start").waitFor();

  const { losses, evaluations } = reference;
  expect(await page.locator("#loss").textContent()).toBe(losses.at(-1)!.toFixed(3));
  expect(await page.locator("#held-out").textContent()).toBe(evaluations.at(-1)!.loss.toFixed(3));
  const drawn = await points(page, "steps");
  expect(drawn).toHaveLength(40);
  // Down is up.
  expect(drawn.at(-1)!.y).toBeGreaterThan(drawn[0]!.y + 50);
  for (const [i, { x }] of drawn.entries()) expect(x).toBeGreaterThan(drawn[i - 1]?.x ?? 0);
  expect(await points(page, "held-out")).toHaveLength(evaluations.length);
  const footers = await page.locator("article footer").allTextContents();
  expect(footers.map((footer) => footer.split(" · ")[0])).toEqual([
    "step 40",
    "step 30",
    "step 15",
    "before training",
  ]);

  const download = page.waitForEvent("download");
  await button(page, "Download model").click();
  const files = unzip(await readFile(await (await download).path()));
  expect([...files.keys()].sort()).toEqual(
    ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"].map(
      (name) => `alphabet/${name}`,
    ),
  );
  for (const [path, bytes] of files) {
    const inNode = await readFile(join(reference.model, path.replace("alphabet/", "")));
    expect(bytes.equals(inNode), path).toBe(true);
  }
  await page.close();
});

it("pauses, writes when asked to, goes on and stops", async () => {
  const page = await open(`${ordinary.url}/index.html`);
  await page.getByRole("status").filter({ hasText: "1 thread" }).waitFor();
  await page.getByRole("combobox", { name: "Learn from" }).selectOption("Numbers in words");
  expect(await field(page, "Text to learn from").inputValue()).toContain(
    "\n342 is three hundred and forty-two.\n",
  );
  await field(page, "Steps").fill("100000");
  await field(page, "Every so many steps").fill("100000");
  await button(page, "Start").click();
  await expect.poll(() => stepsDone(page)).toBeGreaterThanOrEqual(10);
  await button(page, "Pause").click();
  await button(page, "Sample now").click();
  // Written after the step that was under way: none follows.
  const sample = page.locator("article").first();
  await sample
    .filter({ hasText: /^step \d+/ })
    .locator('[aria-busy="false"]')
    .waitFor();
  const paused = await stepsDone(page);
  expect(numberIn((await sample.locator("footer").textContent())!)).toBe(paused);
  expect(await page.locator("article").count()).toBe(2);

  await button(page, "Resume").click();
  await expect.poll(() => stepsDone(page)).toBeGreaterThan(paused);
  await button(page, "Stop").click();
  await button(page, "Start").waitFor();
  expect(await button(page, "Download model").isEnabled()).toBe(true);
  await page.close();
});

it("says what is wrong, and goes on once it is mended", async () => {
  const page = await browser.newPage();
  await page.route("**/training.json", (route) => route.fulfill({ body: "{}" }));
  await page.goto(`${ordinary.url}/index.html`);
  await page.getByRole("alert").getByText("CORRUPT_FILE").waitFor();
  expect(await page.getByRole("status").textContent()).toBe("No training");
  await page.unroute("**/training.json");
  await button(page, "Load again").click();
  await field(page, "Text to learn from").fill("too short");
  await button(page, "Start").click();
  await page.getByRole("alert").getByText("INVALID_INPUT").waitFor();
  // The artifact was built without.
  expect(await page.getByRole("option", { name: "WebGPU" }).isDisabled()).toBe(true);
  await field(page, "Text to learn from").fill(text);
  await field(page, "Steps").fill("2");
  await button(page, "Start").click();
  await page.locator("#step").filter({ hasText: "2 of 2" }).waitFor();
  expect(await page.getByRole("alert").count()).toBe(0);
  await page.close();
});
