import { defineConfig } from "tsdown";

export default defineConfig({
  entry: {
    index: "src/index.ts",
    cli: "src/cli/main.ts",
    runtime: "runtime/index.ts",
    training: "runtime/training/index.ts",
    cuda: "runtime/devices/cuda/index.ts",
    ir: "ir/index.ts",
    codegen: "codegen/index.ts",
    kernel: "codegen/kernel/intrinsics.ts",
  },
  format: "esm",
  platform: "neutral",
  deps: { neverBundle: [/^node:/] },
  dts: true,
  // Models have [Symbol.dispose], which the libraries of TypeScript before ESNext do not know.
  banner: { dts: '/// <reference lib="esnext.disposable" />' },
  // Not what somebody else has put there, such as a model's folder.
  clean: ["dist/*.js", "dist/*.js.map", "dist/*.d.ts"],
  sourcemap: true,
  fixedExtension: false,
});
