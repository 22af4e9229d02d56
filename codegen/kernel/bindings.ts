/** What names mean while a kernel is being lowered. */
import type { ts } from "ts-morph";
import type { Expr, InlineFunction, StorageType } from "./ir.ts";
import type { SourceModule } from "./load.ts";

/** A compile-time value without a kernel type; it takes the type of what it meets. */
export type Constant = number | boolean | string | undefined;

export type KernelFunctionNode = ts.FunctionDeclaration | ts.ArrowFunction | ts.FunctionExpression;

export type Binding =
  | { readonly kind: "constant"; readonly value: Constant }
  | { readonly kind: "record"; readonly fields: ReadonlyMap<string, Binding> }
  /** A run-time value; `assignable` if it is a `let`. */
  | { readonly kind: "value"; readonly expression: Expr; readonly assignable: boolean }
  /** A buffer, or with `shared` an array of the workgroup. */
  | {
      readonly kind: "buffer";
      readonly name: string;
      readonly element: StorageType;
      readonly shared?: boolean;
    }
  /** `registers(n, x)` and constant tables. */
  | { readonly kind: "list"; readonly elements: readonly Binding[] }
  /** A function of a kernel file, or a local arrow function with the scope it closes over. */
  | {
      readonly kind: "function";
      readonly node: KernelFunctionNode;
      readonly name: string;
      readonly module: SourceModule;
      readonly scope: Scope | undefined;
    }
  /** A compile-time function given to `specialize`; `names` maps its captures to kernel parameters. */
  | {
      readonly kind: "inline";
      readonly inline: InlineFunction;
      readonly names: ReadonlyMap<string, string>;
    }
  /** Something imported from bitloom/kernel: an intrinsic, or a namespace of them. */
  | { readonly kind: "intrinsic"; readonly name: string };

export type ValueBinding = Extract<Binding, { kind: "value" }>;
export type FunctionBinding = Extract<Binding, { kind: "function" }>;

export function valueBinding(expression: Expr): ValueBinding {
  return { kind: "value", expression, assignable: false };
}
export function constantBinding(value: Constant): Binding {
  return { kind: "constant", value };
}

/** What a binding is, for messages. */
export function describe(binding: Binding): string {
  switch (binding.kind) {
    case "constant":
      return `the constant ${JSON.stringify(binding.value)}`;
    case "value":
      return binding.expression.type;
    case "record":
      return "a record of options";
    case "buffer":
      return `${binding.shared === true ? "Shared" : "Buffer"}<${binding.element}>`;
    case "list":
      return "a list of registers";
    default:
      return "a function";
  }
}

export class Scope {
  readonly module: SourceModule;
  readonly #parent: Scope | undefined;
  readonly #bindings = new Map<string, Binding>();

  constructor(module: SourceModule, parent?: Scope) {
    this.module = module;
    this.#parent = parent;
  }

  child(): Scope {
    return new Scope(this.module, this);
  }
  find(name: string): Binding | undefined {
    return this.#bindings.get(name) ?? this.#parent?.find(name);
  }
  bind(name: string, binding: Binding): void {
    this.#bindings.set(name, binding);
  }
}
