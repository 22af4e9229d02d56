import { access, readFile, stat } from "node:fs/promises";
import { basename } from "node:path";
import { BitloomError } from "../../errors/index.ts";

/** JSON files beside weights are small; the bound keeps a wrong file from filling memory. */
const MAX_JSON_BYTES = 256 * 1024 * 1024;

/** Throws MISSING_FILE, or CORRUPT_FILE for what is not JSON. */
export async function readJson(path: string): Promise<unknown> {
  let text: string;
  try {
    if ((await stat(path)).size > MAX_JSON_BYTES) {
      throw new BitloomError("CORRUPT_FILE", `${basename(path)} is too large to be a JSON file`, {
        location: path,
      });
    }
    text = await readFile(path, "utf8");
  } catch (cause) {
    if (cause instanceof BitloomError) throw cause;
    throw new BitloomError("MISSING_FILE", `Cannot read ${basename(path)}`, { location: path, cause });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new BitloomError("CORRUPT_FILE", `${basename(path)} is not JSON`, {
      received: String(cause),
      location: path,
      cause,
    });
  }
}

/** As `readJson`; undefined where there is no such file. */
export async function readOptionalJson(path: string): Promise<unknown> {
  return (await existing([path])).length > 0 ? readJson(path) : undefined;
}

/** Those of the paths that exist, in their order. */
export async function existing(paths: readonly string[]): Promise<string[]> {
  const found = await Promise.all(
    paths.map((path) =>
      access(path).then(
        () => true,
        () => false,
      ),
    ),
  );
  return paths.filter((_, i) => found[i]);
}
