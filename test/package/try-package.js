// Packs bitloom as npm would publish it, installs it into an empty folder, and uses it there as a user does:
// the command line on a TypeScript model, then the artifact's typed loader and the runtime from code.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "bitloom-package-"));
const isWindows = process.platform === "win32";

function run(command, args, cwd = folder) {
  return execFileSync(command, args, {
    cwd,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    shell: isWindows,
  });
}

function check(name, actual, expected) {
  const same = expected instanceof RegExp ? expected.test(actual) : actual === expected;
  if (!same) throw new Error(`${name}: expected ${expected}, received ${JSON.stringify(actual)}`);
  console.log(`ok  ${name}`);
}

const model = `import { bitLinear, defineModel, f32, linear, relu2, rmsNorm } from "bitloom";

export default defineModel({
  name: "mlp",
  inputs: { x: f32("batch", 20) },
  layers: { up: bitLinear(20, 12), norm: rmsNorm(12), down: linear(12, 3, { bias: true }) },
  forward: ({ x }, { up, norm, down }) => ({ logits: down(norm(relu2(up(x)))) }),
});
`;

const program = `import { compile, memorySource } from "bitloom";
import { parseGraph, printGraph } from "bitloom/ir";
import { templatePath } from "bitloom/codegen";
import { load as loadArtifact } from "bitloom/runtime";
import { load } from "./dist/index.js";

const typed = await load(undefined, { threads: 1 });
const plain = await loadArtifact("dist", { threads: 1 });
const x = { data: new Float32Array(40).map((_, i) => Math.sin(i)), dims: [2, 20] };
const { logits } = await typed.run({ x });
const again = await plain.run({ x });
console.log(JSON.stringify({
  dims: logits.dims,
  finite: logits.data.every(Number.isFinite),
  same: logits.data.every((value, i) => value === again.logits.data[i]),
  compile: typeof compile === "function" && typeof memorySource === "function",
  ir: printGraph(parseGraph("graph @g(batch <= 8) {\\n  %x: input f32[batch]\\n  return y = %x\\n}")).startsWith("graph @g"),
  templates: templatePath("cpu/softmax.ts").endsWith("softmax.ts"),
}));
await typed.dispose();
await plain.dispose();
`;

const typesProgram = `import { load as loadArtifact } from "bitloom/runtime";
import { type Inputs, load, type Outputs } from "./dist/index.js";

const model = await load();
const elsewhere: typeof model = await loadArtifact<Inputs, Outputs>("https://example.org/mlp/", { threads: 1 });
const { logits } = await model.run({ x: { data: new Float32Array(40), dims: [2, 20] as const } });
const classes: 3 = logits.dims[1];
// @ts-expect-error the input is called x
await model.run({ y: new Float32Array(20) });
console.log(classes, elsewhere);
`;

// A page's project: no types of Node, an older library, and declarations checked too.
const pageConfig = {
  compilerOptions: {
    noEmit: true,
    strict: true,
    module: "nodenext",
    target: "es2022",
    lib: ["es2022", "dom"],
    types: [],
    skipLibCheck: false,
  },
  files: ["use.ts", "mlp.ts"],
};

try {
  const [{ filename, size }] = JSON.parse(
    run("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", folder], root),
  );
  console.log(`package of ${(size / 1000).toFixed(0)} kB`);
  writeFileSync(join(folder, "package.json"), '{ "name": "user", "private": true, "type": "module" }');
  run("npm", [
    "install",
    "--no-audit",
    "--no-fund",
    join(folder, filename),
    "typescript@~6.0.3",
    "@types/node@20",
  ]);

  writeFileSync(join(folder, "mlp.ts"), model);
  check("build", run("npx", ["bitloom", "build", "mlp.ts", "--random", "--out", "dist"]), /kernels/);
  check(
    "inspect",
    run("npx", ["bitloom", "inspect", "mlp.ts", "--random", "--after", "fuse"]),
    /^graph @mlp/,
  );
  const doctor = run("npx", ["bitloom", "doctor"]);
  check("doctor", doctor, /WebAssembly with SIMD/);
  // Machines without cmake or a compiler pack without it.
  if (existsSync(join(root, "prebuilds"))) {
    check("the addon for NVIDIA cards", doctor, /CUDA: (?!bitloom)/);
  }

  writeFileSync(join(folder, "use.js"), program);
  check(
    "use",
    run("node", ["use.js"]).trim(),
    '{"dims":[2,3],"finite":true,"same":true,"compile":true,"ir":true,"templates":true}',
  );

  writeFileSync(join(folder, "use.ts"), typesProgram);
  const options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--types", "node"];
  check("types of the artifact and the package", run("npx", ["tsc", ...options, "use.ts", "mlp.ts"]), "");
  check(
    "types without a browser's",
    run("npx", ["tsc", ...options, "--lib", "es2023", "use.ts", "mlp.ts"]),
    "",
  );

  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(pageConfig));
  check("types in a page's project", run("npx", ["tsc", "--project", "."]), "");
  rmSync(join(folder, "tsconfig.json"));

  const wrong = model.replace("linear(12, 3", "linear(13, 3");
  writeFileSync(join(folder, "wrong.ts"), wrong);
  let refused = "";
  try {
    run("npx", ["tsc", ...options, "wrong.ts"]);
  } catch (error) {
    refused = error.stdout;
  }
  check("a wrong width is a type error at the call", refused, /wrong\.ts\(7,/);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
