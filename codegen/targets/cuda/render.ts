/**
 * Kernel IR as CUDA C++17: a namespace with what the kernel needs and one `extern "C"` entry point. Workgroups are
 * blocks and subgroups are warps; a kernel over a range of items (`begin, end` last) runs a thread for each item.
 * Nothing hangs on how it is compiled, as long as that is not with fast math.
 */

import { withoutDeadLocals } from "../../kernel/dead-locals.ts";
import type { Access, Expr, KernelFunction, StorageType, ValueType } from "../../kernel/ir.ts";
import { rangeOf, sharedBytes, usedNames } from "../c-like/items.ts";
import { Names } from "../c-like/names.ts";
import { StatementRenderer } from "../c-like/statements.ts";
import { comment, signature } from "../c-like/text.ts";
import { CudaExpressions, type FunctionScope } from "./expressions.ts";
import { WARP } from "./lower.ts";
import { type Snippet, snippets } from "./snippets.ts";
import { elementType, unsupported, valueType } from "./types.ts";
import { cudaWords } from "./words.ts";

/** Threads of a block of a kernel over a range. */
const RANGE_BLOCK = 256;

/** What an entry point takes: a pointer, a scalar of four bytes (a bool of one), or the number of items as u32. */
export type CudaParameter =
  | { readonly kind: "buffer"; readonly parameter: string; readonly element: StorageType }
  | { readonly kind: "scalar"; readonly parameter: string; readonly type: "i32" | "u32" | "f32" | "bool" }
  | { readonly kind: "range" };

export interface CudaSource {
  /** Complete by itself; texts of kernels with other names may follow one another in one translation unit. */
  readonly text: string;
  readonly entryPoint: string;
  /** Threads of a block. */
  readonly blockSize: number;
  /** Bytes of static shared memory. */
  readonly sharedBytes: number;
  /** In the order of the entry point's parameters; what a specialization does not use is left out. */
  readonly parameters: readonly CudaParameter[];
}

/**
 * Renders a kernel.
 *
 * @throws UNSUPPORTED_OP for what CUDA lacks (v128) or kernels for GPUs do not have (i64, f64)
 */
export function renderCuda(specialized: KernelFunction): CudaSource {
  const kernel = withoutUnused(specialized);
  const blockSize = kernel.workgroupSize ?? RANGE_BLOCK;
  const module = new CudaModule(kernel, blockSize);
  const entryPoint = module.names.declare(kernel.name);
  const renderer = new FunctionRenderer(module);
  const used = usedNames(kernel.body);
  const range = rangeOf(kernel);
  const parameters: CudaParameter[] = [];
  const declared: string[] = [];
  for (const parameter of kernel.parameters) {
    if (!used.has(parameter.name) || range?.parameters.includes(parameter)) continue;
    const name = renderer.declare(parameter.name);
    if (parameter.kind === "buffer") {
      const { element, access } = parameter;
      declared.push(`${pointer(element, access)} __restrict__ ${name}`);
      parameters.push({ kind: "buffer", parameter: parameter.name, element });
    } else {
      declared.push(`const ${valueType(parameter.type)} ${name}`);
      const { type } = parameter as { type: Extract<CudaParameter, { kind: "scalar" }>["type"] };
      parameters.push({ kind: "scalar", parameter: parameter.name, type });
    }
  }
  const lines: string[] = [];
  for (const { name, element, length } of kernel.shared) {
    lines.push(`  __shared__ ${elementType(element)} ${renderer.declare(name)}[${length}];`);
  }
  if (range !== undefined) {
    const items = renderer.declare("items");
    const index = renderer.declare(range.index);
    declared.push(`const u32 ${items}`);
    parameters.push({ kind: "range" });
    lines.push(
      `  const i32 ${index} = blockIdx.x * ${blockSize}u + threadIdx.x;`,
      `  if (u32(${index}) >= ${items}) {`,
      "    return;",
      "  }",
    );
    if (range.next !== undefined) lines.push(`  const i32 ${renderer.declare(range.next)} = ${index} + 1u;`);
  }
  lines.push(...renderer.statements(range?.body ?? kernel.body, "  "));

  const head = `extern "C" __global__ void __launch_bounds__(${blockSize}) ${entryPoint}`;
  const entry = [...comment(kernel.doc), ...signature(head, declared, " {"), ...lines, "}"].join("\n");
  const sections = [
    "using i32 = int;\nusing u32 = unsigned int;",
    `namespace ${entryPoint} {`,
    ...[...module.snippets].map((snippet) => snippets[snippet]),
    ...module.helpers,
    entry,
    `}  // namespace ${entryPoint}`,
  ];
  return {
    text: `${sections.join("\n\n")}\n`,
    entryPoint,
    blockSize,
    sharedBytes: sharedBytes(kernel),
    parameters,
  };
}

/** What compilers would warn of is left out. */
function withoutUnused(kernel: KernelFunction) {
  const body = withoutDeadLocals(kernel.body);
  const used = usedNames(body);
  return { ...kernel, body, shared: (kernel.shared ?? []).filter(({ name }) => used.has(name)) };
}

function pointer(element: StorageType, access: Access): string {
  return `${access === "read" ? "const " : ""}${elementType(element)}*`;
}

/** What rendering a kernel and its helpers collects. */
class CudaModule {
  readonly names = new Names(cudaWords);
  readonly snippets = new Set<Snippet>();
  /** Texts of helper functions, callees first. */
  readonly helpers: string[] = [];
  readonly #kernel: KernelFunction;
  readonly #blockSize: number;
  readonly #functions = new Map<string, KernelFunction>();
  readonly #rendered = new Map<string, string>();

  constructor(kernel: KernelFunction, blockSize: number) {
    this.#kernel = kernel;
    this.#blockSize = blockSize;
    for (const name of Object.keys(snippets)) this.names.declare(name);
    const add = (fn: KernelFunction): void => {
      fn.helpers.forEach(add);
      this.#functions.set(fn.name, fn);
    };
    kernel.helpers.forEach(add);
  }

  useWarps(): void {
    if (this.#blockSize % WARP === 0) return;
    throw unsupported(
      `subgroups in ${this.#kernel.name}, whose workgroups have ${this.#blockSize} invocations`,
      `Take a multiple of ${WARP}.`,
    );
  }

  callee(name: string): string {
    const known = this.#rendered.get(name);
    if (known !== undefined) return known;
    const fn = this.#functions.get(name)!;
    const declared = this.names.declare(name);
    const renderer = new FunctionRenderer(this);
    const parameters = fn.parameters.map((parameter) => {
      const name = renderer.declare(parameter.name);
      if (parameter.kind === "scalar") return `${valueType(parameter.type)} ${name}`;
      return `${pointer(parameter.element, parameter.access)} ${name}`;
    });
    const result = fn.result === undefined ? "void" : valueType(fn.result);
    const head = signature(`static __device__ ${result} ${declared}`, parameters, " {");
    this.helpers.push(
      [...comment(fn.doc), ...head, ...renderer.statements(withoutDeadLocals(fn.body), "  "), "}"].join("\n"),
    );
    this.#rendered.set(name, declared);
    return declared;
  }
}

/** Renders the statements of one function, a helper or the kernel. */
class FunctionRenderer extends StatementRenderer implements FunctionScope {
  protected readonly expressions: CudaExpressions = new CudaExpressions(this);
  protected readonly forever = "while (true)";
  readonly #module: CudaModule;

  constructor(module: CudaModule) {
    super(module.names.inner());
    this.#module = module;
  }

  memory(buffer: string): string {
    return this.value(buffer);
  }
  callee(name: string): string {
    return this.#module.callee(name);
  }
  use(snippet: Snippet): Snippet {
    this.#module.snippets.add(snippet);
    return snippet;
  }
  useWarps(): void {
    this.#module.useWarps();
  }

  protected local(name: string, type: ValueType, mutable: boolean, value?: string): string {
    const start = value === undefined ? "" : ` = ${value}`;
    return `${mutable || value === undefined ? "" : "const "}${valueType(type)} ${name}${start}`;
  }
  protected discard(text: string): string {
    return `(void)${text}`;
  }
  protected assignment(name: string, value: Expr): string {
    return this.expressions.assignment(name, value);
  }
}
