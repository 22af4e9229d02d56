import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, expect, it } from "vitest";

/** Signals reach a whole process, so that each case has one of its own. */
const program = `
import { interruptible } from "./interrupt.mjs";
import { BitloomError } from "./errors.mjs";
import { withTemporaryFolder } from "./temporary.mjs";
import { setTimeout } from "node:timers/promises";

process.stdout.on("error", () => {});
await interruptible(async (signal) => withTemporaryFolder("bitloom-interrupt-test", async (folder) => {
  process.stdout.write(folder + "\\n");
  try {
    signal.addEventListener("abort", () => process.stdout.write("stopping\\n"));
    while (process.argv[2] === "lingers") await setTimeout(5);
    while (!signal.aborted) {
      await setTimeout(5);
      if (process.argv[2] === "writes") process.stdout.write("more\\n");
    }
    if (process.argv[2] === "stops slowly") await setTimeout(300);
    throw new BitloomError(process.argv[2] === "fails" ? "WRITE_FAILED" : "ABORTED", "ended");
  } finally {
    process.stderr.write("cleaned up\\n");
  }
})).catch(({ code }) => process.stderr.write(code));
`;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-interrupt-"));
  const source = (path: string) => fileURLToPath(new URL(path, import.meta.url));
  const bundle = await rolldown({
    input: {
      interrupt: source("./interrupt.ts"),
      errors: source("../../errors/index.ts"),
      temporary: source("../files/temporary.ts"),
    },
    platform: "node",
    logLevel: "silent",
  });
  await bundle.write({ dir: folder, format: "esm", entryFileNames: "[name].mjs" });
  await bundle.close();
  await writeFile(join(folder, "program.mjs"), program);
});
afterAll(() => rm(folder, { recursive: true }));

/** Starts the program, ends it in some way once it works, and says how that went. */
async function ended(mode: string, end: (child: ReturnType<typeof spawn>) => void) {
  const child = spawn(process.execPath, [join(folder, "program.mjs"), mode]);
  let errors = "";
  child.stderr.on("data", (data) => {
    errors += data;
  });
  const [said] = await once(child.stdout, "data");
  end(child);
  child.stdout.resume();
  const [status] = await once(child, "close");
  expect(existsSync(String(said).trim()), "the temporary folder").toBe(false);
  return { status, errors };
}

it.skipIf(process.platform === "win32").each([
  ["Ctrl-C", "SIGINT", 130],
  ["a polite kill", "SIGTERM", 143],
  ["the end of its terminal", "SIGHUP", 129],
] as const)("lets work clean up after %s, without a message", async (_, signal, status) => {
  expect(await ended("waits", (child) => child.kill(signal))).toEqual({ status, errors: "cleaned up\n" });
});

it.skipIf(process.platform === "win32")(
  "lets work clean up where a terminal's end is told twice",
  async () => {
    const twice = (child: ReturnType<typeof spawn>) => {
      child.stdout!.once("data", () => child.kill("SIGHUP"));
      child.kill("SIGHUP");
    };
    expect(await ended("stops slowly", twice)).toEqual({ status: 129, errors: "cleaned up\n" });
  },
);

it.skipIf(process.platform === "win32")("ends lingering work at the second signal", async () => {
  const twice = (child: ReturnType<typeof spawn>) => {
    child.stdout!.once("data", () => child.kill("SIGTERM"));
    child.kill("SIGINT");
  };
  expect(await ended("lingers", twice)).toEqual({ status: 143, errors: "" });
});

it("ends work whose output nobody reads any more", async () => {
  const { status, errors } = await ended("writes", (child) => child.stdout!.destroy());
  expect({ status, errors }).toEqual({ status: 141, errors: "cleaned up\n" });
});

it.skipIf(process.platform === "win32")("hides no other failure of interrupted work", async () => {
  const { errors } = await ended("fails", (child) => child.kill("SIGINT"));
  expect(errors).toBe("cleaned up\nWRITE_FAILED");
});
