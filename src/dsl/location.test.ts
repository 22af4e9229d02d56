import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createJiti } from "jiti";
import { describe, expect, it } from "vitest";
import { callerLocation, userFrame } from "./location.ts";

describe("the user's frame of a stack", () => {
  const installed = "file:///app/node_modules/bitloom/dist/index.js";
  const stack = (...frames: readonly string[]) => ["Error: location", ...frames].join("\n");

  it("is the first one outside of an installed package", () => {
    const frames = stack(
      "    at callerLocation (file:///app/node_modules/bitloom/dist/index.js:10:5)",
      "    at fc (file:///app/node_modules/bitloom/dist/chunk-a1b2.js:99:7)",
      "    at forward (file:///app/my%20models/mlp.ts?t=1:12:31)",
      "    at main (file:///app/main.ts:3:1)",
    );
    expect(userFrame(frames, installed)).toEqual({ file: "/app/my models/mlp.ts", line: 12, column: 31 });
  });

  it("is found when source maps show the package's sources", () => {
    const frames = stack(
      "    at callerLocation (/app/node_modules/bitloom/src/dsl/location.ts:10:5)",
      "    at layer (/app/node_modules/bitloom/src/dsl/layers/linear.ts:99:7)",
      "    at GraphBuilder.apply (/app/node_modules/bitloom/ir/builder.ts:5:7)",
      "    at Object.forward (/app/mlp.ts:12:31)",
    );
    expect(userFrame(frames, installed)).toEqual({ file: "/app/mlp.ts", line: 12, column: 31 });
  });

  it("is not a frame of the engine or of Node", () => {
    const frames = stack(
      "    at callerLocation (file:///app/node_modules/bitloom/dist/index.js:10:5)",
      "    at Array.map (<anonymous>)",
      "    at node:internal/process/task_queues:95:5",
      "    at async file:///app/mlp.ts:4:2",
    );
    expect(userFrame(frames, installed)).toEqual({ file: "/app/mlp.ts", line: 4, column: 2 });
  });

  it("is not a frame of another package, such as the one that runs the command line", () => {
    const frames = stack(
      "    at compile (file:///app/node_modules/bitloom/dist/index.js:10:5)",
      "    at async Command.parseAsync (/app/node_modules/commander/lib/command.js:1122:5)",
    );
    expect(userFrame(frames, installed)).toBeUndefined();
  });

  it("is a family's own line, which is the model's", () => {
    const frames = stack(
      "    at projection (/repo/src/dsl/layers/linear.ts:1:1)",
      "    at forward (/repo/src/dsl/families/bitnet.ts:40:12)",
    );
    expect(userFrame(frames, "file:///repo/src/dsl/location.ts")).toMatchObject({
      file: "/repo/src/dsl/families/bitnet.ts",
    });
  });

  it("is unknown when every frame is Bitloom's", () => {
    expect(
      userFrame(stack("    at trace (/app/node_modules/bitloom/dist/cli.js:1:1)"), installed),
    ).toBeUndefined();
  });

  it("is this line, and leaves the stack's depth as it was", () => {
    const limit = Error.stackTraceLimit;
    expect(callerLocation()).toMatchObject({ file: fileURLToPath(import.meta.url), column: 12 });
    expect(Error.stackTraceLimit).toBe(limit);
  });
});

it("names the TypeScript line of a model that is loaded at run time", async () => {
  const folder = await mkdtemp(join(tmpdir(), "bitloom-location-"));
  try {
    const path = join(folder, "model.ts");
    const lines = [
      `import { bitLinear, defineModel, f32 } from "${fileURLToPath(new URL("./index.ts", import.meta.url))}";`,
      "interface Erased {",
      "  readonly gone: string;",
      "}",
      "export default defineModel({",
      '  name: "m",',
      '  inputs: { x: f32("batch", 3) },',
      "  layers: { fc: bitLinear(4, 4) },",
      "  forward: ({ x }, { fc }) => ({ y: fc(x as never) }),",
      "});",
    ];
    await writeFile(path, lines.join("\n"));
    const module = await createJiti(import.meta.url, { fsCache: false }).import<{
      default: { trace(): void };
    }>(path);
    expect(() => module.default.trace()).toThrow(`at: ${path}:9:37`);
  } finally {
    await rm(folder, { recursive: true });
  }
});
