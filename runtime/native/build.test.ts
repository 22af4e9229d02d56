import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const script = fileURLToPath(new URL("./build.js", import.meta.url));
const out = join(tmpdir(), `bitloom-addon-test-${process.pid}`);
const buildWithoutTools = (...options: readonly string[]) =>
  spawnSync(process.execPath, [script, "--out", out, ...options], { encoding: "utf8", env: { PATH: "" } });

it("says what is missing where it cannot build, and leaves nothing", () => {
  const { status, stderr } = buildWithoutTools();
  expect(stderr).toBe("The CUDA addon was not built: it takes cmake and a C++ compiler\n");
  expect(status).toBe(1);
  expect(existsSync(out)).toBe(false);
});

it("lets a build of the package go on without it", () => {
  const { status, stderr } = buildWithoutTools("--if-possible");
  expect(stderr).toMatch(/cmake/);
  expect(status).toBe(0);
});
