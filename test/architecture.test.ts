import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

/** What each room may import, as docs/architecture.md draws it. A file path allows that file alone. */
const arrows: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  ir: ["errors"],
  templates: ["codegen/kernel/intrinsics.ts"],
  codegen: ["ir", "errors", "runtime/manifest.ts", "runtime/output-bits.ts", "runtime/symbols.ts"],
  runtime: ["errors"],
  src: ["ir", "codegen", "runtime", "errors"],
};

/** npm packages that may reach a user's browser. */
const runtimePackages = ["zod", "@huggingface/tokenizers", "@huggingface/jinja"];

interface Import {
  readonly from: string;
  readonly specifier: string;
  readonly typeOnly: boolean;
}

function sourceFiles(room: string): string[] {
  return readdirSync(join(root, room), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !/\.test(-d)?\.ts$/.test(name))
    .map((name) => join(room, name));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), "utf8");
  const pattern =
    /^(?:import|export)\s+(type\s)?[^"';]*?from\s+"([^"]+)"|^import\s+"([^"]+)"|\bimport\("([^"]+)"\)/gm;
  return [...text.matchAll(pattern)].map((match) => ({
    from: file,
    specifier: (match[2] ?? match[3] ?? match[4]) as string,
    typeOnly: match[1] !== undefined,
  }));
}

/** The repository path a relative or `bitloom/...` specifier means; undefined for packages. */
function target({ from, specifier }: Import): string | undefined {
  if (specifier === "bitloom/kernel") return "codegen/kernel/intrinsics.ts";
  if (!specifier.startsWith(".")) return undefined;
  return relative(root, join(root, dirname(from), specifier));
}

const rooms = Object.keys(arrows);
const imports = rooms.flatMap(sourceFiles).flatMap(importsOf);

describe("the house", () => {
  it.each(rooms)("%s imports only along its arrows", (room) => {
    const allowed = [room, ...(arrows[room] ?? [])];
    const strays = imports
      .filter(({ from }) => from.startsWith(`${room}/`))
      .filter((entry) => {
        const path = target(entry);
        return path !== undefined && !allowed.some((place) => path === place || path.startsWith(`${place}/`));
      })
      .map(({ from, specifier }) => `${from} imports ${specifier}`);
    expect(strays).toEqual([]);
  });

  it("keeps heavy packages out of the runtime", () => {
    const packages = imports
      .filter(({ from }) => from.startsWith("runtime/") || from.startsWith("errors/"))
      .filter(
        (entry) => !entry.typeOnly && target(entry) === undefined && !entry.specifier.startsWith("node:"),
      )
      .map(({ specifier }) => specifier)
      .filter(
        (name) => !runtimePackages.some((allowed) => name === allowed || name.startsWith(`${allowed}/`)),
      );
    expect(packages).toEqual([]);
  });

  it("has no import cycles between values", () => {
    const edges = new Map<string, string[]>();
    for (const entry of imports) {
      const path = target(entry);
      if (path === undefined || entry.typeOnly) continue;
      edges.set(entry.from, [...(edges.get(entry.from) ?? []), path]);
    }
    const done = new Set<string>();
    const cycles: string[] = [];
    const visit = (file: string, trail: readonly string[]): void => {
      if (trail.includes(file)) {
        cycles.push([...trail.slice(trail.indexOf(file)), file].join(" -> "));
        return;
      }
      if (done.has(file)) return;
      for (const next of edges.get(file) ?? []) visit(next, [...trail, file]);
      done.add(file);
    };
    for (const file of edges.keys()) visit(file, []);
    expect(cycles).toEqual([]);
  });
});
