/**
 * Kernel IR as a WGSL module with one entry point. Two kinds of kernels have a meaning here: kernels for
 * workgroups, and kernels over a range of items (`begin, end` last), which run one invocation for each item.
 *
 * A WebGPU binding holds one array, so each buffer is a storage binding of its own; scalars share one uniform
 * block. What a specialization does not use is left out.
 */
import { BitloomError } from "../../../errors/index.ts";
import {
  type BufferParameter,
  type KernelFunction,
  type ScalarParameter,
  type SharedArray,
  type StorageType,
  storageBytes,
} from "../../kernel/ir.ts";
import { rangeOf, sharedBytes, usedNames } from "../c-like/items.ts";
import { Names } from "../c-like/names.ts";
import { comment, signature } from "../c-like/text.ts";
import { FunctionRenderer, HelperLibrary } from "./function.ts";
import { builtins, elementType, type Memory, ModuleContext, specialName, unsupported } from "./module.ts";
import { snippetTexts } from "./snippets.ts";
import { wgslWords } from "./words.ts";

export interface WgslOptions {
  /** Whether the device has the language feature `packed_4x8_integer_dot_product`; true if absent. */
  readonly packedDot?: boolean;
  /** Invocations in a workgroup of a kernel over a range; 64 if absent. */
  readonly rangeWorkgroupSize?: number;
  /**
   * Buffers to bind read-write though the kernel only reads them. WebGPU wants that where one GPUBuffer is
   * both read and written in a dispatch.
   */
  readonly readWrite?: ReadonlySet<string>;
  /** Buffers that may start anywhere in their binding, since bindings start at multiples of 256 bytes only. */
  readonly offset?: ReadonlySet<string>;
  readonly limits?: Partial<WgslLimits>;
}

/** What a device offers; WebGPU's guaranteed minimum if absent. */
export interface WgslLimits {
  readonly maxStorageBuffersPerShaderStage: number;
  readonly maxComputeInvocationsPerWorkgroup: number;
  /** In bytes. */
  readonly maxComputeWorkgroupStorageSize: number;
}

const guaranteed: WgslLimits = {
  maxStorageBuffersPerShaderStage: 8,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupStorageSize: 16384,
};

/** A storage binding: group 0, `binding` its place in `WgslModule.bindings`. */
export interface WgslBinding {
  /** The kernel's parameter. */
  readonly parameter: string;
  readonly element: StorageType;
  readonly access: "read" | "read-write";
}

/** Four bytes of the uniform block. */
export type WgslUniform =
  /** A scalar parameter; a bool is 0 or 1. */
  | { readonly kind: "scalar"; readonly parameter: string; readonly type: "i32" | "u32" | "f32" | "bool" }
  /** The element of its binding at which a buffer starts, an i32. */
  | { readonly kind: "offset"; readonly parameter: string }
  /** The number of items of a kernel over a range, an i32. */
  | { readonly kind: "range" };

export interface WgslModule {
  readonly text: string;
  readonly entryPoint: string;
  readonly workgroupSize: number;
  readonly bindings: readonly WgslBinding[];
  /** Bound after the buffers, field i at byte 4 * i; no block if there are none. */
  readonly uniforms: readonly WgslUniform[];
  /** Device feature that it enables. */
  readonly usesSubgroups: boolean;
  /** Language feature that it requires. */
  readonly usesPackedDot: boolean;
}

/**
 * Renders a kernel.
 *
 * @throws UNSUPPORTED_OP for what WGSL lacks (v128, i64, f64), LIMIT_EXCEEDED for more buffers, invocations or
 * shared memory than `limits` has.
 */
export function renderWgsl(kernel: KernelFunction, options: WgslOptions = {}): WgslModule {
  const module = new ModuleContext(options.packedDot ?? true);
  const entryPoint = module.names.declare(kernel.name);
  const used = usedNames(kernel.body);
  const block = new UniformBlock(module);
  const bindings: WgslBinding[] = [];
  const storage: string[] = [];
  const workgroup: string[] = [];
  const memories = new Map<string, Memory>();

  for (const parameter of kernel.parameters) {
    if (parameter.kind !== "buffer" || !used.has(parameter.name)) continue;
    const memory = bufferMemory(parameter, module, block, options);
    const isRead = parameter.access === "read" && !(options.readWrite?.has(parameter.name) ?? false);
    const access = isRead ? "read" : "read-write";
    storage.push(
      `@group(0) @binding(${bindings.length}) var<storage, ${access.replace("-", "_")}> ` +
        `${memory.name}: array<${elementType(memory)}>;`,
    );
    bindings.push({ parameter: parameter.name, element: parameter.element, access });
    memories.set(parameter.name, memory);
  }
  for (const { name, element, length } of kernel.shared ?? []) {
    const memory = sharedMemory(module.names.declare(name), element);
    workgroup.push(`var<workgroup> ${memory.name}: array<${elementType(memory)}, ${length}>;`);
    memories.set(name, memory);
  }

  const helpers = new HelperLibrary(module, kernel);
  const renderer = new FunctionRenderer(helpers, memories);
  const range = rangeOf(kernel);
  const lines: string[] = [];
  for (const parameter of kernel.parameters) {
    if (parameter.kind !== "scalar" || !used.has(parameter.name)) continue;
    if (range?.parameters.includes(parameter)) continue;
    const field = block.scalar(parameter);
    lines.push(`  let ${renderer.declare(parameter.name)} = ${field};`);
  }
  const workgroupSize = kernel.workgroupSize ?? options.rangeWorkgroupSize ?? 64;
  if (range !== undefined) {
    const index = renderer.declare(range.index);
    const group = renderer.builtin("workgroup_id");
    const count = renderer.builtin("num_workgroups");
    const local = renderer.builtin("local_invocation_index");
    lines.push(
      `  let ${index} = i32((${group}.x + ${group}.y * ${count}.x) * ${workgroupSize}u + ${local});`,
      `  if (${index} >= ${block.add("range", "i32", { kind: "range" })}) {`,
      "    return;",
      "  }",
    );
    if (range.next !== undefined) lines.push(`  let ${renderer.declare(range.next)} = ${index} + 1;`);
  }
  lines.push(...renderer.statements(range?.body ?? kernel.body, "  "));

  refuseBeyondLimits(kernel, bindings.length, workgroupSize, { ...guaranteed, ...options.limits });
  const inputs = [...renderer.builtins].map((builtin) => `@builtin(${builtin}) ${builtins[builtin]}`);
  const entry = [
    ...comment(kernel.doc),
    `@compute @workgroup_size(${workgroupSize})`,
    ...signature(`fn ${entryPoint}`, inputs, " {", ","),
    ...lines,
    "}",
  ].join("\n");
  const directives = [
    ...(module.usesSubgroups ? ["enable subgroups;"] : []),
    ...(module.usesPackedDot ? ["requires packed_4x8_integer_dot_product;"] : []),
  ];
  const specials = [...module.specialFloats].map(
    (bits) => `var<private> ${specialName(bits)} = 0x${bits.toString(16)}u;`,
  );
  const sections = [
    directives.join("\n"),
    block.struct,
    [...storage, ...block.declaration(storage.length), ...workgroup, ...specials].join("\n"),
    ...snippetTexts(module.snippets),
    ...module.accessors.values(),
    ...helpers.texts,
    entry,
  ];
  return {
    text: `${sections.filter((section) => section !== "").join("\n\n")}\n`,
    entryPoint,
    workgroupSize,
    bindings,
    uniforms: block.fields,
    usesSubgroups: module.usesSubgroups,
    usesPackedDot: module.usesPackedDot,
  };
}

/** The block of scalars: a struct of four-byte fields. */
class UniformBlock {
  readonly fields: WgslUniform[] = [];
  readonly #variable: string;
  readonly #type: string;
  readonly #names = new Names(wgslWords);
  readonly #lines: string[] = [];

  constructor(module: ModuleContext) {
    this.#variable = module.names.declare("scalars");
    this.#type = module.names.declare("Scalars");
  }

  /** Adds a field; gives the expression that reads it. */
  add(name: string, type: string, field: WgslUniform): string {
    const declared = this.#names.declare(name);
    this.#lines.push(`  ${declared}: ${type},`);
    this.fields.push(field);
    return `${this.#variable}.${declared}`;
  }

  scalar({ name, type }: ScalarParameter): string {
    if (type !== "i32" && type !== "u32" && type !== "f32" && type !== "bool") {
      throw unsupported(`a parameter of type ${type}`);
    }
    const read = this.add(name, type === "bool" ? "u32" : type, { kind: "scalar", parameter: name, type });
    return type === "bool" ? `${read} != 0u` : read;
  }

  get struct(): string {
    return this.fields.length === 0 ? "" : [`struct ${this.#type} {`, ...this.#lines, "}"].join("\n");
  }

  declaration(binding: number): string[] {
    if (this.fields.length === 0) return [];
    return [`@group(0) @binding(${binding}) var<uniform> ${this.#variable}: ${this.#type};`];
  }
}

function bufferMemory(
  { name, element, access }: BufferParameter,
  module: ModuleContext,
  block: UniformBlock,
  options: WgslOptions,
): Memory {
  const isNarrow = storageBytes(element) < 4;
  const hasOffset = options.offset?.has(name) ?? false;
  return {
    name: module.names.declare(name),
    element,
    atomic: isNarrow && access !== "read",
    narrow: isNarrow
      ? { load: module.names.declare(`load_${name}`), store: module.names.declare(`store_${name}`) }
      : undefined,
    offset: hasOffset ? block.add(`${name}_offset`, "i32", { kind: "offset", parameter: name }) : undefined,
  };
}

function sharedMemory(name: string, element: SharedArray["element"]): Memory {
  return { name, element, atomic: false, narrow: undefined, offset: undefined };
}

function refuseBeyondLimits(
  kernel: KernelFunction,
  buffers: number,
  invocations: number,
  limits: WgslLimits,
): void {
  const wanted: Record<keyof WgslLimits, number> = {
    maxStorageBuffersPerShaderStage: buffers,
    maxComputeInvocationsPerWorkgroup: invocations,
    maxComputeWorkgroupStorageSize: sharedBytes(kernel),
  };
  for (const [limit, value] of Object.entries(wanted) as [keyof WgslLimits, number][]) {
    if (value <= limits[limit]) continue;
    throw new BitloomError("LIMIT_EXCEEDED", `kernel ${kernel.name} exceeds the device's ${limit}`, {
      expected: `at most ${limits[limit]}`,
      received: String(value),
      hint: "Specialize it with smaller tiles or a smaller workgroup.",
    });
  }
}
