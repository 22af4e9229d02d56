import { existsSync } from "node:fs";
import { createJiti } from "jiti";
import { packageRoot } from "../../codegen/kernel/template-path.ts";
import { userError } from "../dsl/located.ts";

const imported = new Map<string, Promise<Record<string, unknown>>>();

/**
 * Imports a user's TypeScript or JavaScript module. Its `bitloom` is this very package, installed beside it
 * or not, so that both sides agree on what a model is.
 * A module is evaluated once.
 */
export function importModule(path: string): Promise<Record<string, unknown>> {
  const module = imported.get(path) ?? evaluate(path);
  imported.set(path, module);
  return module;
}

async function evaluate(path: string): Promise<Record<string, unknown>> {
  // Errors in a model name the line of its TypeScript.
  process.setSourceMapsEnabled(true);
  const built = `${packageRoot()}/dist`;
  const alias = existsSync(`${built}/index.js`)
    ? { "bitloom/kernel": `${built}/kernel.js`, "bitloom/ir": `${built}/ir.js`, bitloom: `${built}/index.js` }
    : {};
  try {
    return await createJiti(import.meta.url, { alias, sourceMaps: true, fsCache: false }).import(path);
  } catch (cause) {
    throw userError(`${path} cannot be imported`, cause);
  }
}
