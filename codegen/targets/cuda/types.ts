import { BitloomError } from "../../../errors/index.ts";
import type { StorageType, ValueType } from "../../kernel/ir.ts";

/** The C type of a value. */
export function valueType(type: ValueType): string {
  switch (type) {
    case "i32":
    case "u32":
    case "bool":
      return type;
    case "f32":
      return "float";
    case "u32x4":
      return "uint4";
    default:
      throw unsupported(`the type ${type}`);
  }
}

/** The C type of one element in memory. */
export function elementType(type: StorageType): string {
  switch (type) {
    case "i8":
      return "signed char";
    case "u8":
      return "unsigned char";
    case "i16":
      return "short";
    case "u16":
      return "unsigned short";
    default:
      return valueType(type);
  }
}

export function unsupported(what: string, hint?: string): BitloomError {
  return new BitloomError("UNSUPPORTED_OP", `the cuda target cannot render ${what}`, {
    hint: hint ?? "Kernels of templates/gpu and templates/cuda are for this target.",
  });
}
