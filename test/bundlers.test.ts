import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { rolldown } from "rolldown";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ArtifactLocation, LoadOptions, Model } from "../runtime/index.ts";
import { bitLinear, compile, defineModel, f32, memorySource } from "../src/index.ts";

const runtime = fileURLToPath(new URL("../runtime/index.ts", import.meta.url));

const model = defineModel({
  name: "sums",
  inputs: { x: f32("batch", 4) },
  layers: { sum: bitLinear(4, 1, { activation: null }) },
  forward: ({ x }, { sum }) => ({ y: sum(x) }),
});
const weights = memorySource(new Map([["sum.weight", { dims: [1, 4], data: Float32Array.of(1, 1, 1, 1) }]]));

/** The app that is bundled hands its loader out. */
type Load = (location?: ArtifactLocation, options?: LoadOptions) => Promise<Model>;
const app = 'import { load } from "./artifact/index.js";\nglobalThis.loadOfBundledApp = load;\n';

/** Bundles the app in `root` and returns the file that holds its code. */
const bundlers: Readonly<Record<string, (root: string) => Promise<string>>> = {
  async vite(root) {
    await build({
      root,
      configFile: false,
      logLevel: "silent",
      resolve: { alias: { "bitloom/runtime": runtime } },
      // What preloads modules asks for a page's document.
      build: { modulePreload: false },
    });
    const assets = join(root, "dist/assets");
    for (const name of await readdir(assets)) {
      const text = await readFile(join(assets, name), "utf8");
      if (name.endsWith(".js") && text.includes("loadOfBundledApp")) return join(assets, name);
    }
    throw new Error("the app is in no file");
  },
  async rolldown(root) {
    const bundle = await rolldown({
      input: join(root, "main.js"),
      platform: "browser",
      logLevel: "silent",
      resolve: { alias: { "bitloom/runtime": runtime } },
    });
    const { output } = await bundle.write({ dir: join(root, "dist"), format: "esm", minify: true });
    await bundle.close();
    return join(root, "dist", output[0].fileName);
  },
};

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-bundlers-"));
  await compile(model, { out: join(folder, "artifact"), weights });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe.each(Object.keys(bundlers))("an artifact's typed loader, bundled by %s", (name) => {
  it("loads from the address it is given, or from beside the bundle", async () => {
    const root = join(folder, name);
    await cp(join(folder, "artifact"), join(root, "artifact"), { recursive: true });
    await writeFile(join(root, "index.html"), '<script type="module" src="/main.js"></script>\n');
    await writeFile(join(root, "main.js"), app);
    const bundle = await bundlers[name]!(root);
    await rm(join(root, "artifact"), { recursive: true });

    await import(/* @vite-ignore */ pathToFileURL(bundle).href);
    const load = Reflect.get(globalThis, "loadOfBundledApp") as Load;
    const answer = async (location?: ArtifactLocation) => {
      const loaded = await load(location, { threads: 1 });
      const { y } = await loaded.run({ x: Float32Array.of(1, 2, 3, 4) });
      await loaded.dispose();
      return y!.data[0];
    };
    expect(await answer(join(folder, "artifact"))).toBe(10);
    expect(await answer(pathToFileURL(`${join(folder, "artifact")}/`))).toBe(10);

    // Nothing is there yet; what is missed says where it was looked for.
    await expect(load()).rejects.toMatchObject({
      code: "MISSING_FILE",
      location: join(dirname(bundle), "manifest.json"),
    });
    await cp(join(folder, "artifact"), dirname(bundle), { recursive: true });
    expect(await answer()).toBe(10);
  });
});
