import { BitloomError } from "../../../errors/index.ts";
import type { StorageType, ValueType } from "../../kernel/ir.ts";
import { Names } from "../c-like/names.ts";
import { type Snippet, snippets } from "./snippets.ts";
import { wgslWords } from "./words.ts";

/** Memory that statements name: a storage buffer or an array of the workgroup. */
export interface Memory {
  /** Its variable in the module. */
  readonly name: string;
  readonly element: StorageType;
  /** Elements narrower than a word that the kernel stores: its words are atomic. */
  readonly atomic: boolean;
  /** Names of the functions that load and store elements narrower than a word. */
  readonly narrow: { readonly load: string; readonly store: string } | undefined;
  /** The uniform that says at which element of its binding the buffer starts. */
  readonly offset: string | undefined;
}

/** What an entry point gets from the device; functions that need one get it as a parameter. */
export const builtins = {
  workgroup_id: "workgroup_id: vec3u",
  num_workgroups: "num_workgroups: vec3u",
  local_invocation_index: "local_index: u32",
  subgroup_size: "subgroup_size: u32",
  subgroup_invocation_id: "subgroup_lane: u32",
} as const;
export type Builtin = keyof typeof builtins;

/** The parameter name a builtin has everywhere. */
export function builtinName(builtin: Builtin): string {
  return builtins[builtin].slice(0, builtins[builtin].indexOf(":"));
}

/** What rendering a module collects. */
export class ModuleContext {
  readonly names = new Names(wgslWords);
  readonly packedDot: boolean;
  readonly snippets = new Set<Snippet>();
  /** Loads and stores of narrow elements that are used, by function name. */
  readonly accessors = new Map<string, string>();
  /** Bit patterns of infinities and NaNs, which no WGSL constant may be. */
  readonly specialFloats = new Set<number>();
  usesSubgroups = false;
  usesPackedDot = false;

  constructor(packedDot: boolean) {
    this.packedDot = packedDot;
    for (const name of Object.keys(snippets)) this.names.declare(name);
    for (const builtin of Object.keys(builtins)) this.names.declare(builtinName(builtin as Builtin));
  }

  use(snippet: Snippet): Snippet {
    this.snippets.add(snippet);
    return snippet;
  }

  /** An expression with these bits that the shader compiler cannot take for a constant. */
  specialFloat(bits: number): string {
    this.specialFloats.add(bits);
    return `bitcast<f32>(${specialName(bits)})`;
  }
}

export function specialName(bits: number): string {
  return `bits_${bits.toString(16).padStart(8, "0")}`;
}

/** The WGSL type of a value. */
export function wgslType(type: ValueType): string {
  switch (type) {
    case "i32":
    case "u32":
    case "f32":
    case "bool":
      return type;
    case "u32x4":
      return "vec4u";
    default:
      throw unsupported(`the type ${type}`);
  }
}

/** The type of one element in a storage buffer or workgroup array. */
export function elementType(memory: Pick<Memory, "element" | "atomic">): string {
  switch (memory.element) {
    case "i8":
    case "u8":
    case "i16":
    case "u16":
      return memory.atomic ? "atomic<u32>" : "u32";
    case "i64":
    case "f64":
      throw unsupported(`memory of ${memory.element}`);
    default:
      return wgslType(memory.element);
  }
}

export function unsupported(what: string, hint?: string): BitloomError {
  return new BitloomError("UNSUPPORTED_OP", `the wgsl target cannot render ${what}`, {
    hint: hint ?? "WGSL computes on i32, u32, f32 and bool; kernels of templates/gpu are for this target.",
  });
}
