import { BitloomError } from "../../errors/index.ts";
import { specialize } from "../kernel/frontend.ts";
import type { Access, InlineFunction, KernelFunction } from "../kernel/ir.ts";
import type { Template } from "../kernel/load.ts";
import type { DraftArgument, GeneratedCall } from "./draft.ts";
import type { KernelVariants, PlannedKernel } from "./plan.ts";

/** A constant of a template's options, or a function put in its place. */
export type Option = number | boolean | string | InlineFunction;

/** One specialization of a template and what to call it with. */
export interface TemplateCall {
  /** Name of the template: `ternary-matmul`. */
  readonly template: string;
  /** A readable name; made unique among specializations with other options. */
  readonly name: string;
  readonly options: Readonly<Record<string, Option>>;
  /** Identity of the inline functions among the options; equal keys mean equal code. */
  readonly inlineKey?: string;
  /** Arguments by parameter name, without those the inline functions capture. */
  readonly arguments: Readonly<Record<string, DraftArgument>>;
  /** Arguments for what the inline functions capture, function by function in the order of the options. */
  readonly captured?: readonly DraftArgument[];
}

/** Options of each variant; every device runs `baseline`. */
export type Variants = Readonly<{ baseline: VariantOptions }> & Readonly<Record<string, VariantOptions>>;
type VariantOptions = Readonly<Record<string, Option>>;

/** A target's templates by name, with their place in the package. */
export type Templates = ReadonlyMap<
  string,
  { readonly template: Template; readonly source: string; readonly variants: Variants }
>;

/**
 * The kernels of a plan. Each distinct specialization and each distinct generated kernel is made once, however
 * many steps call it.
 */
export class KernelLibrary {
  readonly #templates: Templates;
  readonly #kernels = new Map<string, PlannedKernel>();
  readonly #names = new Map<string, number>();

  constructor(templates: Templates) {
    this.#templates = templates;
  }

  get kernels(): readonly PlannedKernel[] {
    return [...this.#kernels.values()];
  }

  /** How a kernel uses each of its arguments; undefined for one that is no buffer. */
  accesses(name: string): readonly (Access | undefined)[] {
    const { parameters } = this.kernels.find((kernel) => kernel.name === name)!;
    return parameters.map((parameter) => (parameter.kind === "buffer" ? parameter.access : undefined));
  }

  generated(call: GeneratedCall): PlannedKernel {
    const known = this.#kernels.get(call.key);
    if (known !== undefined) return known;
    const name = this.#unique(call.name);
    const kernel = planned(name, call.template, { baseline: call.build(name) });
    this.#kernels.set(call.key, kernel);
    return kernel;
  }

  template(call: TemplateCall): PlannedKernel {
    const constants = Object.entries(call.options).filter(([, value]) => typeof value !== "object");
    const key = `${call.template}:${JSON.stringify(constants)}:${call.inlineKey ?? ""}`;
    const known = this.#kernels.get(key);
    if (known !== undefined) return known;
    const { template, source, variants } = this.#templates.get(call.template)!;
    const name = this.#unique(call.name);
    const bodies = Object.entries(variants).map(([variant, extra]): [string, KernelFunction] => [
      variant,
      specialize(template, { name, options: { ...call.options, ...extra } }),
    ]);
    const kernel = planned(name, source, Object.fromEntries(bodies) as KernelVariants);
    this.#kernels.set(key, kernel);
    return kernel;
  }

  /** A template without options as a function that other kernels call. */
  helper(name: string): KernelFunction {
    const { template } = this.#templates.get(name)!;
    return specialize(template, { name: name.replaceAll("-", "_") });
  }

  #unique(name: string): string {
    const count = (this.#names.get(name) ?? 0) + 1;
    this.#names.set(name, count);
    return count === 1 ? name : this.#unique(`${name}_${count}`);
  }
}

function planned(name: string, template: string, variants: KernelVariants): PlannedKernel {
  const { parameters, workgroupSize } = variants.baseline;
  const isOverRange = workgroupSize === undefined;
  return { name, template, parameters: isOverRange ? parameters.slice(0, -2) : parameters, variants };
}

/** A template call's arguments in the order of the kernel's parameters. */
export function orderArguments(kernel: PlannedKernel, call: TemplateCall): DraftArgument[] {
  const captured = call.captured ?? [];
  const own = kernel.parameters.length - captured.length;
  const names = kernel.parameters.slice(0, own).map(({ name }) => name);
  const values = names.map((name) => {
    const argument = call.arguments[name];
    if (argument !== undefined) return argument;
    throw new BitloomError("KERNEL_TYPE", `nothing is passed for ${name} of kernel ${kernel.name}`, {
      expected: `one of ${Object.keys(call.arguments).join(", ")}`,
      received: name,
    });
  });
  return [...values, ...captured];
}
