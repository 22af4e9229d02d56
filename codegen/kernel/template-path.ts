import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { BitloomError } from "../../errors/index.ts";

let root: string | undefined;

/** The package's own folder: the repository in development, node_modules/bitloom when installed. */
export function packageRoot(): string {
  if (root !== undefined) return root;
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const manifest = join(folder, "package.json");
    if (existsSync(manifest) && JSON.parse(readFileSync(manifest, "utf8")).name === "bitloom") {
      root = folder;
      return folder;
    }
    if (dirname(folder) === folder) {
      throw new BitloomError("MISSING_FILE", "bitloom's package folder was not found", {
        expected: "a package.json named bitloom above this module",
        hint: "Bundle your own code, but leave bitloom's compiler in node_modules: it reads templates/ from there.",
      });
    }
  }
}

/** Absolute path of a template shipped with the package: `templatePath("cpu/softmax.ts")`. */
export function templatePath(name: string): string {
  return join(packageRoot(), "templates", name);
}
