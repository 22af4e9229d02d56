import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readGolden } from "./support/checkpoints.ts";
import { type InstalledPackage, installPackage } from "./support/cli.ts";

let installed: InstalledPackage;
beforeAll(async () => {
  installed = await installPackage();
});
afterAll(() => installed?.dispose());

it("the demo of a trained model compiles it, speaks, and says what was done", async () => {
  const demo = new URL("../examples/generate/demo.js", import.meta.url);
  // Run from the package, it must still find the checkpoint beside the original.
  const source = (await readFile(demo, "utf8")).replaceAll("import.meta.url", JSON.stringify(demo.href));
  const { status, stdout, stderr } = await installed.runModule(source);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  const [golden] = await readGolden("bitnet-tiny-packed");
  expect(stdout).toContain(golden!.greedy_text.replace("<|begin_of_text|>", ""));
  expect(stdout).toMatch(
    /operations +\d+ described, \d+ lowered, \d+ after fusion, \d+ kernel calls a token/,
  );
  expect(stdout).toMatch(/kernels +\d+, \d+ kB of WebAssembly/);
  expect(stdout).toMatch(/weights +\d+ kB as f32, \d+ kB packed/);
  expect(stdout).toMatch(/decode +\d+ tokens, \d+ tokens\/s/);
  expect(stdout).not.toContain("undefined");
});
