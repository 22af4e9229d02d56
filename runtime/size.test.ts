import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";
import { expect, it } from "vitest";

const KIB = 1024;

interface Download {
  /** Bytes, minified and gzipped, of all that may be downloaded, and of what is as soon as the module is. */
  readonly whole: number;
  readonly atOnce: number;
  /** The code that is downloaded at once, and all that may be. */
  readonly code: string;
  readonly allCode: string;
}

/** What a browser downloads for a module with this text. */
async function download(text: string): Promise<Download> {
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
  const chunks = output.filter((file) => file.type === "chunk");
  const needed = new Set<string>();
  const need = (name: string): void => {
    const chunk = chunks.find(({ fileName }) => fileName === name);
    if (chunk === undefined || needed.has(name)) return;
    needed.add(name);
    chunk.imports.forEach(need);
  };
  need(output[0].fileName);
  const bytes = (files: typeof chunks) => files.reduce((sum, { code }) => sum + gzipSync(code).length, 0);
  const textOf = (files: typeof chunks) => files.map(({ code }) => code).join("\n");
  const first = chunks.filter(({ fileName }) => needed.has(fileName));
  return { whole: bytes(chunks), atOnce: bytes(first), code: textOf(first), allCode: textOf(chunks) };
}

const source = (path: string) => JSON.stringify(fileURLToPath(new URL(path, import.meta.url)));

it("is downloaded in a blink", async () => {
  const [{ whole, atOnce, code, allCode }, ...packages] = await Promise.all([
    download(`export * from ${source("./index.ts")};`),
    download(`export { Tokenizer } from "@huggingface/tokenizers";`),
    download(`export { Template } from "@huggingface/jinja";`),
    download(`export { manifestSchema } from ${source("./manifest.ts")};`),
  ]);
  const [tokenizers, jinja, zod] = packages.map((of) => of.whole) as [number, number, number];
  const own = whole - tokenizers - jinja - zod;
  console.log(
    `runtime, minified and gzipped: ${(whole / KIB).toFixed(1)} KiB, ${(atOnce / KIB).toFixed(1)} of them at once\n` +
      `  own code ${(own / KIB).toFixed(1)}, manifest schema with zod ${(zod / KIB).toFixed(1)}, ` +
      `tokenizers ${(tokenizers / KIB).toFixed(1)}, chat templates ${(jinja / KIB).toFixed(1)}`,
  );
  expect(whole).toBeLessThan(60 * KIB);
  expect(own).toBeGreaterThan(0);
  // The WebGPU device is downloaded where it is used.
  expect(code).not.toContain("createComputePipelineAsync");
  // CUDA's is Node's alone.
  expect(allCode).toContain("createComputePipelineAsync");
  expect(allCode).not.toContain("addProgram");
});

it("trains with little more, which pages that do not train do not download", async () => {
  const [runtime, training] = await Promise.all([
    download(`export * from ${source("./index.ts")};`),
    download(`export * from ${source("./index.ts")}; export * from ${source("./training/index.ts")};`),
  ]);
  const more = training.whole - runtime.whole;
  console.log(`bitloom/training, minified and gzipped: ${(more / KIB).toFixed(1)} KiB more`);
  expect(more).toBeLessThan(8 * KIB);
  expect(training.code).toContain("gradient_norm");
  expect(runtime.allCode).not.toContain("gradient_norm");
});
