import { readFileSync } from "node:fs";
import { packageRoot } from "../codegen/kernel/template-path.ts";

const manifest = JSON.parse(readFileSync(`${packageRoot()}/package.json`, "utf8")) as {
  readonly version: string;
};

/** This package's version, as its package.json says. */
export const version = manifest.version;
