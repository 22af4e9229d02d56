import type { ts } from "ts-morph";
import { BitloomError, type BitloomErrorOptions } from "../../errors/index.ts";

/** `file:line:column` of a node, counted from 1. */
export function locationOf(node: ts.Node): string {
  const source = node.getSourceFile();
  const { line, character } = source.getLineAndCharacterOfPosition(node.getStart(source));
  return `${source.fileName}:${line + 1}:${character + 1}`;
}

/** The source is outside the accepted subset of TypeScript. */
export function syntaxError(node: ts.Node, reason: string, options: BitloomErrorOptions = {}): BitloomError {
  return new BitloomError("KERNEL_SYNTAX", reason, { ...options, location: locationOf(node) });
}

/** The source is in the subset, but a value has the wrong type or is not the constant it must be. */
export function typeError(node: ts.Node, reason: string, options: BitloomErrorOptions = {}): BitloomError {
  return new BitloomError("KERNEL_TYPE", reason, { ...options, location: locationOf(node) });
}
