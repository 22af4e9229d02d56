import { BitloomError } from "../../errors/index.ts";
import { specialize } from "../kernel/frontend.ts";
import type { Access, InlineFunction, KernelFunction } from "../kernel/ir.ts";
import type { Template } from "../kernel/load.ts";
import type { BufferArgument, DraftArgument, DraftStep, GeneratedCall } from "./draft.ts";
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

/** A buffer that a step is given. */
export interface BufferAccess {
  readonly argument: BufferArgument;
  readonly access: Access;
}

/** Where steps get their kernels. */
export interface Kernels {
  generated(call: GeneratedCall): PlannedKernel;
  template(call: TemplateCall): PlannedKernel;
  /** A template without options as a function that other kernels call. */
  helper(name: string): KernelFunction;
}

/**
 * The kernels of a plan. Each distinct specialization and each distinct generated kernel is made once, however
 * many steps call it.
 */
export class KernelLibrary implements Kernels {
  readonly #templates: Templates;
  readonly #kernels = new Map<string, PlannedKernel>();
  readonly #byName = new Map<string, PlannedKernel>();
  readonly #names = new Map<string, number>();

  constructor(templates: Templates) {
    this.#templates = templates;
  }

  get kernels(): readonly PlannedKernel[] {
    return [...this.#kernels.values()];
  }

  /** The buffers that a step is given, and how its kernel uses each. */
  accesses({ kernel, arguments: all }: Pick<DraftStep, "kernel" | "arguments">): readonly BufferAccess[] {
    const { parameters } = this.#byName.get(kernel)!;
    return all.flatMap((argument, position) => {
      const parameter = parameters[position];
      if (argument.kind !== "buffer" || parameter?.kind !== "buffer") return [];
      return [{ argument, access: parameter.access }];
    });
  }

  generated(call: GeneratedCall): PlannedKernel {
    const known = this.#kernels.get(call.key);
    if (known !== undefined) return known;
    const name = this.#unique(call.name);
    const kernel = planned(name, call.template, { baseline: call.build(name) });
    return this.#add(call.key, kernel);
  }

  template(call: TemplateCall): PlannedKernel {
    const key = templateKey(call);
    const known = this.#kernels.get(key);
    if (known !== undefined) return known;
    const { template, source, variants } = this.#templates.get(call.template)!;
    const name = this.#unique(call.name);
    const bodies = Object.entries(variants).map(([variant, extra]): [string, KernelFunction] => [
      variant,
      specialize(template, { name, options: { ...call.options, ...extra } }),
    ]);
    const kernel = planned(name, source, Object.fromEntries(bodies) as KernelVariants);
    return this.#add(key, kernel);
  }

  #add(key: string, kernel: PlannedKernel): PlannedKernel {
    this.#kernels.set(key, kernel);
    this.#byName.set(kernel.name, kernel);
    return kernel;
  }

  helper(name: string): KernelFunction {
    const { template } = this.#templates.get(name)!;
    return specialize(template, { name: name.replaceAll("-", "_") });
  }

  /** The kernels there are. Calls that ask for others throw INVALID_GRAPH. */
  closed(): Kernels {
    const known = (key: string, name: string): PlannedKernel => {
      const kernel = this.#kernels.get(key);
      if (kernel !== undefined) return kernel;
      throw new BitloomError("INVALID_GRAPH", `the plan has no such kernel as ${name}`, { received: key });
    };
    return {
      generated: (call) => known(call.key, call.name),
      template: (call) => known(templateKey(call), call.name),
      helper: (name) => this.helper(name),
    };
  }

  #unique(name: string): string {
    const count = (this.#names.get(name) ?? 0) + 1;
    this.#names.set(name, count);
    return count === 1 ? name : this.#unique(`${name}_${count}`);
  }
}

/** Equal keys mean equal code. */
function templateKey({ template, options, inlineKey = "" }: TemplateCall): string {
  const constants = Object.entries(options).filter(([, value]) => typeof value !== "object");
  return `${template}:${JSON.stringify(constants)}:${inlineKey}`;
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
