import { execFileSync } from "node:child_process";
import { expect, it } from "vitest";
import { wasmFeatures } from "./features.ts";

it("finds SIMD and threads in this engine", () => {
  expect(wasmFeatures()).toMatchObject({ simd: true, threads: true });
});

it("trusts a relaxed dot product only where it is right", () => {
  // V8 11.3, in Node 20, has it behind a flag, and its baseline compiler computes it wrongly.
  const major = Number(process.versions.node.split(".")[0]);
  expect(wasmFeatures().relaxedSimd).toBe(major >= 22);
});

it("is not fooled by an engine that only validates it", () => {
  const flag = "--experimental-wasm-relaxed-simd";
  const known = execFileSync(process.execPath, ["--v8-options"], { encoding: "utf8" });
  if (!known.includes(flag.slice(2))) return;
  const source = new URL("./features.ts", import.meta.url).href;
  const script = `
    import { readFileSync } from "node:fs";
    import { transpileModule } from "typescript";
    const { outputText } = transpileModule(readFileSync(new URL(${JSON.stringify(source)}), "utf8"), {
      compilerOptions: { module: "ESNext", target: "ES2022" },
    });
    const { wasmFeatures } = await import("data:text/javascript," + encodeURIComponent(outputText));
    console.log(wasmFeatures().relaxedSimd);`;
  const output = execFileSync(process.execPath, [flag, "--input-type=module", "-e", script], {
    encoding: "utf8",
  });
  const major = Number(process.versions.node.split(".")[0]);
  expect(output.trim()).toBe(String(major >= 22));
});
