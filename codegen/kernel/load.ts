/**
 * Reads kernel sources with ts-morph. Only syntax is used: kernels have their own types, so TypeScript's
 * checker, which takes seconds to start, never runs. ts-morph itself takes a third of a second to import and
 * is loaded on first use.
 */
import { existsSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import type { Project, ts } from "ts-morph";
import { BitloomError } from "../../errors/index.ts";
import { syntaxError } from "./source-error.ts";

/** Imports of a kernel file: from the vocabulary, or from a sibling file. */
export type Import =
  | { readonly kind: "intrinsic"; readonly name: string }
  | { readonly kind: "sibling"; readonly module: SourceModule; readonly name: string };

/** One TypeScript file of kernels. */
export interface SourceModule {
  readonly path: string;
  /** File name without extension, a prefix for helpers that become functions of the output. */
  readonly name: string;
  readonly functions: ReadonlyMap<string, ts.FunctionDeclaration>;
  /** Initializers of top-level constants. */
  readonly constants: ReadonlyMap<string, ts.Expression>;
  readonly imports: ReadonlyMap<string, Import>;
}

/** A kernel's source, ready to be specialised. */
export interface Template {
  readonly module: SourceModule;
  readonly name: string;
  readonly declaration: ts.FunctionDeclaration;
  readonly typescript: typeof ts;
}

interface Reader {
  readonly ts: typeof ts;
  readonly project: Project;
  readonly modules: Map<string, SourceModule>;
}

let reader: Promise<Reader> | undefined;

function openReader(): Promise<Reader> {
  reader ??= import("ts-morph").then(({ Project, ts }) => ({
    ts,
    project: new Project({ skipAddingFilesFromTsConfig: true, skipLoadingLibFiles: true }),
    modules: new Map(),
  }));
  return reader;
}

/**
 * Finds an exported kernel function in a TypeScript file.
 * @throws MISSING_FILE if there is no such file, KERNEL_SYNTAX if it has no such function.
 */
export async function loadTemplate(file: string, functionName: string): Promise<Template> {
  const open = await openReader();
  return findFunction(open, readModule(open, resolve(file)), functionName);
}

/** Like `loadTemplate`, from text; relative imports resolve against `file`, which need not exist. */
export async function parseTemplate(text: string, functionName: string, file: string): Promise<Template> {
  const open = await openReader();
  const source = open.project.createSourceFile(resolve(file), text, { overwrite: true });
  return findFunction(open, scanModule(open, resolve(file), source.compilerNode), functionName);
}

function findFunction(open: Reader, module: SourceModule, name: string): Template {
  const declaration = module.functions.get(name);
  if (declaration === undefined) {
    throw new BitloomError("KERNEL_SYNTAX", `there is no kernel function ${name}`, {
      expected: `one of ${[...module.functions.keys()].join(", ") || "(no functions)"}`,
      location: module.path,
      hint: "A kernel is a top-level `export function`.",
    });
  }
  return { module, name, declaration, typescript: open.ts };
}

function readModule(open: Reader, path: string): SourceModule {
  const known = open.modules.get(path);
  if (known !== undefined) return known;
  if (!existsSync(path)) {
    throw new BitloomError("MISSING_FILE", "a kernel source file is missing", { location: path });
  }
  const module = scanModule(open, path, open.project.addSourceFileAtPath(path).compilerNode);
  open.modules.set(path, module);
  return module;
}

function scanModule(open: Reader, path: string, source: ts.SourceFile): SourceModule {
  const { ts } = open;
  refuseParseErrors(source);
  const functions = new Map<string, ts.FunctionDeclaration>();
  const constants = new Map<string, ts.Expression>();
  const imports = new Map<string, Import>();
  const module: SourceModule = {
    path,
    name: basename(path)
      .replace(/\.[cm]?tsx?$/, "")
      .replaceAll(/\W/g, "_"),
    functions,
    constants,
    imports,
  };
  for (const statement of source.statements) {
    if (ts.isImportDeclaration(statement)) scanImport(open, statement, path, imports);
    else if (ts.isFunctionDeclaration(statement)) {
      if (statement.name !== undefined) functions.set(statement.name.text, statement);
    } else if (ts.isVariableStatement(statement)) {
      for (const declaration of statement.declarationList.declarations) {
        if (ts.isIdentifier(declaration.name) && declaration.initializer !== undefined) {
          constants.set(declaration.name.text, declaration.initializer);
        }
      }
    } else if (!ts.isTypeAliasDeclaration(statement) && !ts.isInterfaceDeclaration(statement)) {
      throw syntaxError(statement, "a kernel file holds imports, types, constants and functions only");
    }
  }
  return module;
}

/** The parser recovers from errors, and its guesses must not become kernels. */
function refuseParseErrors(source: ts.SourceFile): void {
  const { parseDiagnostics } = source as { parseDiagnostics?: readonly ts.DiagnosticWithLocation[] };
  const [first] = parseDiagnostics ?? [];
  if (first === undefined) return;
  const text = typeof first.messageText === "string" ? first.messageText : first.messageText.messageText;
  const { line, character } = source.getLineAndCharacterOfPosition(first.start);
  throw new BitloomError("KERNEL_SYNTAX", text, {
    location: `${source.fileName}:${line + 1}:${character + 1}`,
    hint: "This is not TypeScript yet; the compiler's own message is above.",
  });
}

function scanImport(
  open: Reader,
  statement: ts.ImportDeclaration,
  path: string,
  imports: Map<string, Import>,
): void {
  const { ts } = open;
  const clause = statement.importClause;
  if (clause === undefined || clause.isTypeOnly) return;
  const bindings = clause.namedBindings;
  if (clause.name !== undefined || bindings === undefined || !ts.isNamedImports(bindings)) {
    throw syntaxError(statement, "kernel files import by name: import { a, b } from …");
  }
  const specifier = (statement.moduleSpecifier as ts.StringLiteral).text;
  for (const element of bindings.elements) {
    if (element.isTypeOnly) continue;
    const name = (element.propertyName ?? element.name).text;
    if (specifier === "bitloom/kernel") {
      imports.set(element.name.text, { kind: "intrinsic", name });
    } else if (specifier.startsWith(".")) {
      const module = readModule(open, resolve(dirname(path), specifier));
      imports.set(element.name.text, { kind: "sibling", module, name });
    } else {
      throw syntaxError(statement, `a kernel cannot import "${specifier}"`, {
        expected: '"bitloom/kernel" or a relative path to another kernel file',
      });
    }
  }
}
