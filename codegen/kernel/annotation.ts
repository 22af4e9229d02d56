import type { ts } from "ts-morph";
import type { StorageType, ValueType } from "./ir.ts";
import { typeError } from "./source-error.ts";

/** What a type annotation in a kernel says. */
export type Annotation =
  | { readonly kind: "value"; readonly type: ValueType }
  | { readonly kind: "buffer"; readonly element: StorageType }
  /** `Static<…>`, `Registers<…>`, function types, `number`, `string`: known when the kernel is compiled. */
  | { readonly kind: "static" }
  | { readonly kind: "void" };

const valueTypes: readonly string[] = [
  "i32",
  "u32",
  "i64",
  "f32",
  "f64",
  "v128",
  "u32x4",
] satisfies ValueType[];
const storageTypes: readonly string[] = [
  "i8",
  "u8",
  "i16",
  "u16",
  "i32",
  "u32",
  "i64",
  "f32",
  "f64",
  "u32x4",
] satisfies StorageType[];

export function readAnnotation(typescript: typeof ts, node: ts.TypeNode): Annotation {
  const { SyntaxKind } = typescript;
  if (node.kind === SyntaxKind.BooleanKeyword) return { kind: "value", type: "bool" };
  if (node.kind === SyntaxKind.VoidKeyword) return { kind: "void" };
  if (!typescript.isTypeReferenceNode(node) || !typescript.isIdentifier(node.typeName)) {
    return { kind: "static" };
  }
  const name = node.typeName.text;
  if (valueTypes.includes(name)) return { kind: "value", type: name as ValueType };
  if (storageTypes.includes(name)) {
    throw typeError(node, `${name} is a storage type; values of it are i32`, {
      expected: valueTypes.join(", "),
    });
  }
  if (name === "Buffer") {
    const element = node.typeArguments?.[0]?.getText();
    if (element === undefined || !storageTypes.includes(element)) {
      throw typeError(node, "a buffer names its element type", {
        expected: `Buffer<${storageTypes.join(" | ")}>`,
        received: node.getText(),
      });
    }
    return { kind: "buffer", element: element as StorageType };
  }
  return { kind: "static" };
}
