/** Compiles kernels of templates/cpu and runs them over one memory, for tests and benchmarks. */
import { add, buffer, i32, intrinsic, load, local, mul } from "../../codegen/kernel/build.ts";
import {
  loadTemplate,
  type OptionValue,
  parseTemplate,
  specialize,
  type Template,
} from "../../codegen/kernel/frontend.ts";
import type { Expr, InlineFunction, Parameter, ValueType } from "../../codegen/kernel/ir.ts";
import { assemble } from "../../codegen/targets/wasm/assemble.ts";
import { renderFunction } from "../../codegen/targets/wasm/render.ts";

type Numbers =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array;

export interface Placed<T extends Numbers> {
  /** Byte address in the memory. */
  readonly address: number;
  /** The array as it lies in the memory. */
  readonly data: T;
}

export type KernelArguments = { readonly [parameter: string]: number | Placed<Numbers> };

/** A compiled kernel; arguments go by parameter name. */
export type RunnableKernel = (kernelArguments: KernelArguments) => void;

/** Whether this engine computes the relaxed dot product as the proposal that became the standard does. */
export function hasRelaxedSimd(): boolean {
  // (module (func (result v128) (i32x4.relaxed_dot_i8x16_i7x16_add_s (v128.const 0) (v128.const 0) (v128.const 0))))
  const zero = [0xfd, 0x0c, ...new Array<number>(16).fill(0)];
  const body = [0, ...zero, ...zero, ...zero, 0xfd, 0x93, 0x02, 0x0b];
  return WebAssembly.validate(
    new Uint8Array([
      0,
      0x61,
      0x73,
      0x6d,
      1,
      0,
      0,
      0,
      1,
      5,
      1,
      0x60,
      0,
      1,
      0x7b,
      3,
      2,
      1,
      0,
      10,
      body.length + 2,
      1,
      body.length,
      ...body,
    ]),
  );
}

function templateFile(file: string): string {
  return new URL(`../../templates/cpu/${file}`, import.meta.url).pathname;
}

export class KernelHost {
  readonly memory: WebAssembly.Memory;
  readonly #compiled = new Map<string, Promise<RunnableKernel>>();
  #top = 65_536;

  constructor(megabytes = 16) {
    this.memory = new WebAssembly.Memory({ initial: megabytes * 16 });
  }

  /** Forgets everything placed so far. */
  reset(): void {
    this.#top = 65_536;
  }

  /** Copies an array into the memory at a 64-byte boundary. */
  place<T extends Numbers>(array: T): Placed<T> {
    const address = this.#top;
    this.#top = Math.ceil((address + array.byteLength) / 64) * 64;
    const missing = this.#top - this.memory.buffer.byteLength;
    if (missing > 0) throw new RangeError(`the host's memory is ${missing} bytes short`);
    const create = array.constructor as new (buffer: ArrayBuffer, offset: number, length: number) => T;
    const data = new create(this.memory.buffer, address, array.length);
    data.set(array as never);
    return { address, data };
  }

  /** Specializes `name` of templates/cpu/`file` and instantiates it over the memory, once for equal options. */
  async compile(
    file: string,
    name: string,
    options: { readonly [option: string]: OptionValue } = {},
  ): Promise<RunnableKernel> {
    const key = JSON.stringify([file, name, options]);
    let kernel = this.#compiled.get(key);
    if (kernel === undefined) {
      kernel = this.#instantiate(await loadTemplate(templateFile(file), name), name, options);
      this.#compiled.set(key, kernel);
    }
    return kernel;
  }

  /** Compiles a kernel from text that imports as a file of templates/cpu would. */
  async compileText(text: string, name: string): Promise<RunnableKernel> {
    return this.#instantiate(await parseTemplate(text, name, templateFile(`${name}-in-test.ts`)), name, {});
  }

  async #instantiate(
    template: Template,
    name: string,
    options: { readonly [option: string]: OptionValue },
  ): Promise<RunnableKernel> {
    const kernel = specialize(template, { name, options });
    const functions = [...kernel.helpers, kernel].map((fn) => renderFunction(fn, "  "));
    const wat = `(module\n  (import "env" "memory" (memory 1))\n${functions.join("\n")}\n  (export "kernel" (func $${name})))`;
    const module = new WebAssembly.Module(await assemble(name, wat));
    const { exports } = new WebAssembly.Instance(module, { env: { memory: this.memory } });
    const run = exports.kernel as (...values: number[]) => void;
    return (given) => {
      run(
        ...kernel.parameters.map((parameter) => {
          const value = given[parameter.name];
          // What a specialization never reads need not be given.
          if (value === undefined) return 0;
          return typeof value === "number" ? value : value.address;
        }),
      );
    };
  }
}

/** An inline function option whose body is one expression. */
export function inline(
  parameters: readonly (readonly [name: string, type: ValueType])[],
  result: Expr,
  captures: readonly Parameter[] = [],
): InlineFunction {
  return { parameters: parameters.map(([name, type]) => ({ name, type })), captures, body: [], result };
}

const position = [
  ["row", "i32"],
  ["column", "i32"],
] as const;

/** Prologue options that read a contiguous f32[rows, k], given as arguments `x` and `x_1` (one a function). */
export function rowPrologue(k: number, vector: boolean): { readonly [option: string]: OptionValue } {
  const x = buffer("x", "f32");
  const index = add(mul(local("row", "i32"), i32(k)), local("column", "i32"));
  return {
    vector,
    prologue: inline(position, load(x, index), [x]),
    prologue4: inline(position, intrinsic("v128.load", [index], { buffer: x }), [x]),
  };
}

/** Epilogue options that store an f32 accumulator as it is. */
export function plainEpilogue(vector: boolean): { readonly [option: string]: OptionValue } {
  return {
    vector,
    epilogue: inline([["acc", "f32"], ...position], local("acc", "f32")),
    epilogue4: inline([["acc", "v128"], ...position], local("acc", "v128")),
  };
}
