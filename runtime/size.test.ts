import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";
import { expect, it } from "vitest";

const KIB = 1024;

/** Bytes, minified and gzipped, of what a browser downloads for a module with this text. */
async function downloadBytes(text: string): Promise<number> {
  const entry = fileURLToPath(new URL("./bundled-by-size-test.js", import.meta.url));
  const bundle = await rolldown({
    input: entry,
    platform: "browser",
    logLevel: "silent",
    plugins: [
      {
        name: "entry",
        resolveId: (id) => (id === entry ? id : null),
        load: (id) => (id === entry ? text : null),
      },
    ],
  });
  const { output } = await bundle.generate({ format: "esm", minify: true });
  await bundle.close();
  return output.reduce((sum, file) => sum + (file.type === "chunk" ? gzipSync(file.code).length : 0), 0);
}

it("is downloaded in a blink", async () => {
  const source = (path: string) => JSON.stringify(fileURLToPath(new URL(path, import.meta.url)));
  const [whole, tokenizers, jinja, zod] = await Promise.all([
    downloadBytes(`export * from ${source("./index.ts")};`),
    downloadBytes(`export { Tokenizer } from "@huggingface/tokenizers";`),
    downloadBytes(`export { Template } from "@huggingface/jinja";`),
    downloadBytes(`export { manifestSchema } from ${source("./manifest.ts")};`),
  ]);
  const own = whole - tokenizers - jinja - zod;
  console.log(
    `runtime, minified and gzipped: ${(whole / KIB).toFixed(1)} KiB\n` +
      `  own code ${(own / KIB).toFixed(1)}, manifest schema with zod ${(zod / KIB).toFixed(1)}, ` +
      `tokenizers ${(tokenizers / KIB).toFixed(1)}, chat templates ${(jinja / KIB).toFixed(1)}`,
  );
  expect(whole).toBeLessThan(60 * KIB);
  expect(own).toBeGreaterThan(0);
});
