import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { BitloomError } from "../../../errors/index.ts";
import { train as trainModel } from "../../train/train.ts";
import { train } from "./train.ts";

vi.mock("../../train/train.ts", () => ({ train: vi.fn() }));
vi.mock("../../train/training.ts", () => ({ isTraining: () => true }));

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-train-command-"));
  await writeFile(join(folder, "training.mjs"), "export default {};\n");
});
afterEach(async () => {
  process.exitCode = undefined;
  vi.restoreAllMocks();
  await rm(folder, { recursive: true });
});

test.each([
  ["none while the step is loaded", false],
  ["one once it is", true],
])("Ctrl-C promises a checkpoint where there will be one: %s", async (_, isOpen) => {
  vi.mocked(trainModel).mockImplementation(async (_training, { onCompiled, onOpened }) => {
    onCompiled!({ memoryBytes: 1000, recomputes: false });
    if (isOpen) onOpened!();
    process.emit("SIGINT");
    throw new BitloomError("ABORTED", "interrupted");
  });
  const written = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  await train(join(folder, "training.mjs"), { out: join(folder, "run") });
  const said = written.mock.calls.map(([text]) => String(text)).join("");
  expect(said).toContain("a step takes 1 kB");
  expect(said.includes("stopping with a checkpoint")).toBe(isOpen);
});
