/**
 * The front end: kernels written as TypeScript functions become kernel IR.
 *
 * `loadTemplate` finds the function, `specialize` fixes its options. A template's first parameter may be
 * `options: Static<…>`; the others are buffers and scalars, `begin` and `end` last. Kernels for workgroups
 * have no such range, but a number `workgroupSize` among their options. See docs/kernels.md for the accepted
 * subset of TypeScript.
 */
import { readAnnotation } from "./annotation.ts";
import { type Binding, Scope } from "./bindings.ts";
import { HelperSet } from "./helper-set.ts";
import { intrinsics } from "./intrinsic-table.ts";
import type { InlineFunction, KernelFunction, Parameter } from "./ir.ts";
import type { Template } from "./load.ts";
import { bindParameter, docOf, Lowerer } from "./lower.ts";
import { syntaxError, typeError } from "./source-error.ts";
import { walk } from "./walk.ts";

export { loadTemplate, parseTemplate, type Template } from "./load.ts";

/** What an option can be: a constant, a function, or a record or list of such. */
export type OptionValue =
  | number
  | boolean
  | string
  | undefined
  | InlineFunction
  | readonly OptionValue[]
  | { readonly [name: string]: OptionValue };

export interface Specialization {
  /** Name of the kernel in the output. */
  readonly name: string;
  readonly options?: { readonly [name: string]: OptionValue };
}

/**
 * Makes a kernel of a template. Parameters of the result: those of the template without `options`, and just
 * before `begin, end` (or last, if it has no such pair) the captures of every inline function among the
 * options, in the order in which the options are written, each function's captures in their own order.
 * Captures whose name is taken get a suffix.
 *
 * A number `workgroupSize` among the options makes it a kernel for workgroups.
 *
 * @throws KERNEL_SYNTAX outside the accepted subset, KERNEL_TYPE where types disagree or a constant is
 * missing; both with `file:line:column`.
 */
export function specialize(template: Template, { name, options = {} }: Specialization): KernelFunction {
  const { typescript, declaration, module } = template;
  const helpers = new HelperSet();
  const lowerer = new Lowerer(typescript, helpers);
  const scope = new Scope(module);
  const parameters: Parameter[] = [];
  let staticName: string | undefined;
  declaration.parameters.forEach((node, i) => {
    const annotation =
      node.type === undefined ? { kind: "static" as const } : readAnnotation(typescript, node.type);
    if (annotation.kind === "static" && i === 0 && typescript.isIdentifier(node.name)) {
      staticName = node.name.text;
    } else {
      parameters.push(bindParameter(typescript, lowerer, scope, node, annotation, declaration));
    }
  });
  if (staticName === undefined && Object.keys(options).length > 0) {
    throw syntaxError(declaration, `${template.name} takes no options`, {
      received: Object.keys(options).join(", "),
    });
  }
  const captures: Parameter[] = [];
  const inlineHelpers: KernelFunction[] = [];
  const record = bindOption(options, (inline) => {
    inlineHelpers.push(...(inline.helpers ?? []));
    return captureParameters(inline, lowerer, captures);
  });
  if (staticName !== undefined) scope.bind(staticName, record);
  const endsInRange = parameters.at(-2)?.name === "begin" && parameters.at(-1)?.name === "end";
  parameters.splice(endsInRange ? parameters.length - 2 : parameters.length, 0, ...captures);
  const kernel = lowerer.lowerFunction(declaration, name, scope, parameters, docOf(typescript, declaration));
  const all = [...inlineHelpers, ...helpers.functions];
  const { workgroupSize } = options;
  if (workgroupSize === undefined) {
    const needs = [kernel, ...all].flatMap(workgroupNeeds)[0];
    if (needs === undefined) return { ...kernel, helpers: all };
    throw typeError(declaration, `${needs} needs to know how large a workgroup is`, {
      expected: "the option workgroupSize: number",
    });
  }
  if (typeof workgroupSize !== "number" || !Number.isInteger(workgroupSize) || workgroupSize < 1) {
    throw typeError(declaration, "workgroupSize is a positive whole number", {
      received: JSON.stringify(workgroupSize),
    });
  }
  return { ...kernel, helpers: all, workgroupSize };
}

/** What in a function means something only in a workgroup. */
function workgroupNeeds(fn: KernelFunction): string[] {
  const needs = (fn.shared ?? []).map(() => "shared memory");
  walk(fn.body, {
    expression: (e) => {
      if (e.kind === "intrinsic" && intrinsics.get(e.name)!.workgroup) needs.push(e.name);
    },
  });
  return needs;
}

/** Adds an inline function's captures to the kernel's; gives the names they have there. */
function captureParameters(
  inline: InlineFunction,
  lowerer: Lowerer,
  captures: Parameter[],
): Map<string, string> {
  const names = new Map<string, string>();
  for (const capture of inline.captures) {
    const unique = lowerer.fresh(capture.name);
    names.set(capture.name, unique);
    captures.push({ ...capture, name: unique });
  }
  return names;
}

function isInlineFunction(value: object): value is InlineFunction {
  return "captures" in value && "result" in value;
}

function bindOption(value: OptionValue, capture: (inline: InlineFunction) => Map<string, string>): Binding {
  if (typeof value !== "object") return { kind: "constant", value };
  if (isInlineFunction(value)) return { kind: "inline", inline: value, names: capture(value) };
  if (Array.isArray(value)) {
    return { kind: "list", elements: value.map((element) => bindOption(element, capture)) };
  }
  const fields = Object.entries(value).map(([name, field]) => [name, bindOption(field, capture)] as const);
  return { kind: "record", fields: new Map(fields) };
}
