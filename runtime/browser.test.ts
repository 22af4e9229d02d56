import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser } from "playwright-core";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launchBrowser, serve } from "../test/support/browser.ts";
import { type FakeArtifact, fakeArtifact, writeArtifact } from "../test/support/fake-artifact.ts";

/** Runs in the page or in a worker of it: loads the artifact, generates, and says what happened. */
const script = `
import { loadLanguageModel } from "/runtime.js";
const report = async () => {
  const warnings = [];
  const model = await loadLanguageModel("artifact", { threads: 3, onWarning: ({ code }) => warnings.push(code) });
  const { checksum, participants } = await model.run({ x: new Float32Array(4) });
  const { tokens } = await model.generate([1, 2, 3], { maxTokens: 8 }).finish();
  await model.dispose();
  return { checksum: checksum.data[0], participants: participants.data[0], tokens, warnings };
};
const outcome = await report().catch(({ code, message }) => ({ code, message }));
if (globalThis.document === undefined) postMessage(outcome);
else console.log("outcome", JSON.stringify(outcome));
`;
const page = (head: string, body: string) =>
  `<!doctype html><head>${head}</head><script type="module">${body}</script>`;
const inPage = `await import("/script.js");`;
const inWorker = `
new Worker("/script.js", { type: "module" }).onmessage = ({ data }) => console.log("outcome", JSON.stringify(data));`;

let browser: Browser;
let artifact: FakeArtifact;
let folder: string;
let runtime: string;
beforeAll(async () => {
  browser = await launchBrowser();
  artifact = await fakeArtifact({ languageModel: true });
  folder = await mkdtemp(join(tmpdir(), "bitloom-browser-"));
  await writeArtifact(artifact.files, folder);
  const bundle = await rolldown({
    input: fileURLToPath(new URL("./index.ts", import.meta.url)),
    platform: "browser",
    logLevel: "silent",
  });
  const { output } = await bundle.generate({ format: "esm", codeSplitting: false });
  await bundle.close();
  runtime = output[0].code;
});
afterAll(async () => {
  await browser.close();
  await rm(folder, { recursive: true });
});

async function visit(html: string, crossOriginIsolated: boolean): Promise<unknown> {
  const server = await serve({
    crossOriginIsolated,
    routes: {
      "/index.html": { text: html },
      "/runtime.js": { text: runtime },
      "/script.js": { text: script },
      "/artifact": { folder },
    },
  });
  const tab = await browser.newPage();
  try {
    // A strict policy keeps playwright from evaluating anything in the page.
    const said = tab.waitForEvent("console", (message) => message.text().startsWith("outcome "));
    await tab.goto(`${server.url}/index.html`);
    return JSON.parse((await said).text().slice("outcome ".length));
  } finally {
    await tab.close();
    await server.close();
  }
}

describe("in a browser", () => {
  const expected = (participants: number, warnings: string[]) => {
    const tokens = [1, 2, 3];
    for (let i = 0; i < 8; i++) {
      const logits = artifact.logits(tokens);
      tokens.push(logits.indexOf(Math.max(...logits)));
    }
    return { checksum: artifact.checksum, participants, tokens: tokens.slice(3), warnings };
  };

  it.each([
    ["the page", inPage],
    ["a worker", inWorker],
  ])("threads work from %s of an isolated origin", async (_, body) => {
    expect(await visit(page("", body), true)).toEqual(expected(3, []));
  });

  it("one thread does without isolation, with a warning", async () => {
    expect(await visit(page("", inWorker), false)).toEqual(expected(1, ["NO_THREADS"]));
  });

  it("one thread does where the content security policy refuses workers, with a warning", async () => {
    const policy = `<meta http-equiv="Content-Security-Policy" content="worker-src 'none'">`;
    expect(await visit(page(policy, inPage), true)).toEqual(expected(1, ["NO_THREADS"]));
  });

  it("the content security policy that forbids WebAssembly is named", async () => {
    const policy = `<meta http-equiv="Content-Security-Policy" content="script-src 'self' 'unsafe-inline'">`;
    expect(await visit(page(policy, inPage), false)).toMatchObject({
      code: "NO_DEVICE",
      message: expect.stringContaining("wasm-unsafe-eval"),
    });
  });
});
