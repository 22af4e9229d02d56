import { loadTemplate, specialize } from "../kernel/frontend.ts";
import type { KernelFunction } from "../kernel/ir.ts";
import { templatePath } from "../kernel/template-path.ts";
import { type MathFunction, type MathHelpers, mathFunctions } from "./lanes.ts";
import type { Templates, Variants } from "./library.ts";

/** A template's file in a target class' folder, the function it exports, and its variants' options. */
export interface TemplateFile {
  readonly file: string;
  readonly fn: string;
  /** Options that make each variant; one variant, `baseline`, if absent. */
  readonly variants?: Variants;
}

/** Reads the templates of `folder`, by name. */
export async function loadTemplates(
  folder: string,
  files: Readonly<Record<string, TemplateFile>>,
): Promise<Templates> {
  const entries = Object.entries(files).map(async ([name, { file, fn, variants = { baseline: {} } }]) => {
    const template = await loadTemplate(templatePath(`${folder}/${file}.ts`), fn);
    return [name, { template, source: `templates/${folder}/${file}.ts`, variants }] as const;
  });
  return new Map(await Promise.all(entries));
}

/** The math functions of `folder`; `suffix` tells those on several lanes. */
export async function loadMath(folder: string, suffix = ""): Promise<MathHelpers> {
  const helpers: Partial<Record<MathFunction, KernelFunction>> = {};
  for (const fn of mathFunctions) {
    const template = await loadTemplate(templatePath(`${folder}/math.ts`), `${fn}${suffix}`);
    helpers[fn] = specialize(template, { name: `math_${fn}${suffix}` });
  }
  return helpers as MathHelpers;
}
