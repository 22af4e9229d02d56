// Builds the addon for this machine: `node build.js [--out FOLDER] [--if-possible]`. It goes to the package's
// prebuilds/<platform>-<arch>/, where the runtime looks for it. With --if-possible, a machine that cannot build it
// is told so, and that is no failure.
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const source = dirname(fileURLToPath(import.meta.url));
const name = "bitloom_cuda.node";

/** Path of cmake-js's command. */
function findTool() {
  const require = createRequire(import.meta.url);
  try {
    require.resolve("node-addon-api");
    return join(dirname(require.resolve("cmake-js/package.json")), "bin/cmake-js");
  } catch {
    throw new Error("install what builds it: npm install --no-save cmake-js node-addon-api");
  }
}

/** Builds the addon into `out`, and returns its path. */
function build(out) {
  const tool = findTool();
  if (spawnSync("cmake", ["--version"]).status !== 0) throw new Error("it takes cmake and a C++ compiler");
  const folder = mkdtempSync(join(tmpdir(), "bitloom-addon-"));
  try {
    const options = ["--directory", source, "--out", folder, "--log-level", "error"];
    const { status, stdout, stderr } = spawnSync(process.execPath, [tool, "compile", ...options], {
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(`${stdout}${stderr}`.trim());
    // Renamed into place: a process that has loaded the old one keeps it, and none sees half a file.
    mkdirSync(out, { recursive: true });
    const fresh = join(out, `${name}.${process.pid}`);
    cpSync(join(folder, "Release", name), fresh);
    renameSync(fresh, join(out, name));
    return join(out, name);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const { values } = parseArgs({
  options: {
    out: { type: "string", default: join(source, "../../prebuilds", `${process.platform}-${process.arch}`) },
    "if-possible": { type: "boolean", default: false },
  },
});
try {
  console.log(build(values.out));
} catch (error) {
  console.error(`The CUDA addon was not built: ${error.message}`);
  if (!values["if-possible"]) process.exitCode = 1;
}
