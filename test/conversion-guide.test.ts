import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, it } from "vitest";
import type { AnyModel, CorrectionStatistics, ParameterSource } from "../src/index.ts";

interface Example {
  readonly model: AnyModel;
  readonly initialized: ParameterSource;
  readonly statistics: readonly CorrectionStatistics[];
  readonly parameters: readonly string[];
}

it("runs the example of docs/conversion.md", async () => {
  const guide = await readFile(new URL("../docs/conversion.md", import.meta.url), "utf8");
  const [, example] = /## Models described[\s\S]*?```ts\n([\s\S]*?)```/.exec(guide)!;
  const folder = await mkdtemp(join(tmpdir(), "bitloom-guide-"));
  try {
    const file = join(folder, "example.ts");
    const index = new URL("../src/index.ts", import.meta.url).pathname;
    await writeFile(file, example!.replace('from "bitloom"', `from ${JSON.stringify(index)}`));
    const { model, initialized, statistics, parameters } = (await import(
      /* @vite-ignore */ pathToFileURL(file).href
    )) as Example;
    expect(parameters).toEqual(["up.lrc_U", "up.lrc_V", "down.lrc_U", "down.lrc_V"]);
    expect(new Set(initialized.paths())).toEqual(new Set(model.parameters().map(({ path }) => path)));
    for (const { rank, residualNorm } of statistics) {
      expect(rank).toBe(4);
      expect(residualNorm.after).toBeLessThan(residualNorm.before);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
