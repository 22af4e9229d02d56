import { availableParallelism } from "node:os";
import { defaultExclude, defineConfig } from "vitest/config";

/** Tests of pure functions: files share a worker's modules, which otherwise take longer to load than the tests to run. */
const pure = ["{ir,codegen,errors,templates/cpu,src/dsl,src/checkpoint,src/quantize}/**/*.test.ts"];

const source = (path: string) => new URL(path, import.meta.url).pathname;

export default defineConfig({
  resolve: {
    alias: [
      { find: /^bitloom$/, replacement: source("./src/index.ts") },
      { find: /^bitloom\/runtime$/, replacement: source("./runtime/index.ts") },
      { find: /^bitloom\/training$/, replacement: source("./runtime/training/index.ts") },
      { find: /^bitloom\/cuda$/, replacement: source("./runtime/devices/cuda/index.ts") },
      { find: /^bitloom\/ir$/, replacement: source("./ir/index.ts") },
      { find: /^bitloom\/codegen$/, replacement: source("./codegen/index.ts") },
      { find: /^bitloom\/kernel$/, replacement: source("./codegen/kernel/intrinsics.ts") },
    ],
  },
  test: {
    setupFiles: ["test/support/setup.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // The default leaves a core idle: of two, half of all.
    maxWorkers: availableParallelism(),
    projects: [
      { extends: true, test: { name: "pure", include: pure, isolate: false } },
      {
        extends: true,
        test: {
          name: "node",
          include: ["{src,ir,codegen,templates,runtime,errors,test,examples,bench}/**/*.test.ts"],
          exclude: [...defaultExclude, ...pure],
          typecheck: { enabled: true, include: ["{src,test}/**/*.test-d.ts"] },
          provide: { webgpuEngine: "dawn" },
        },
      },
      {
        extends: true,
        test: { name: "chromium", include: ["test/webgpu.test.ts"], provide: { webgpuEngine: "chromium" } },
      },
    ],
  },
});
