/** Epilogues and prologues as what a template call is given of them. */
import { acc, type ScalarExpr } from "../../ir/scalar.ts";
import type { Dim } from "../../ir/types.ts";
import * as b from "../kernel/build.ts";
import type { InlineFunction } from "../kernel/ir.ts";
import type { DraftArgument } from "./draft.ts";
import { type Inlined, inlineExpr, type RowOperand } from "./inline.ts";
import { epilogueWords } from "./names.ts";
import type { RuleContext } from "./rules.ts";
import { functionNames } from "./scalar-code.ts";
import { elementCount } from "./symbols.ts";

/** Options, key and captured arguments of a template call with one inlined expression. */
export interface FusedExpr {
  /** Words for the kernel's name. */
  readonly words: readonly string[];
  readonly options: Readonly<Record<string, boolean | InlineFunction>>;
  readonly inlineKey: string;
  readonly captured: readonly DraftArgument[];
}

/** The epilogue of a matmul; `oneRow` where the row is known to be 0. */
export function epilogueOf(
  expr: ScalarExpr | undefined,
  extras: readonly RowOperand[],
  accumulator: "i32" | "f32",
  oneRow: boolean,
  context: RuleContext,
): FusedExpr {
  const inlined = inlineExpr(expr ?? acc, extras, context.code, { acc: accumulator, oneRow });
  const raw = expr === undefined && accumulator === "i32";
  const scalar = raw ? rawBits(inlined.scalar) : inlined.scalar;
  return {
    words: raw ? ["raw"] : epilogueWords(expr ?? acc, inlined.roles),
    options: inlineOptions("epilogue", { ...inlined, scalar }, context),
    inlineKey: raw ? "raw" : inlined.key,
    captured: capturedArguments(inlined),
  };
}

/** What a template computes rows of `dims` from. */
export function prologueOf(
  expr: ScalarExpr,
  operands: readonly RowOperand[],
  dims: readonly Dim[],
  context: RuleContext,
): FusedExpr {
  const oneRow = context.upperBound(elementCount(dims.slice(0, -1))) === 1;
  const inlined = inlineExpr(expr, operands, context.code, { oneRow });
  return {
    words: [...inlined.words, ...functionNames(expr)],
    options: inlineOptions("prologue", inlined, context),
    inlineKey: inlined.key,
    captured: capturedArguments(inlined),
  };
}

/** An i32 accumulator stored as it is: kernels store f32, so its bits pass as one. */
function rawBits(inline: InlineFunction): InlineFunction {
  return { ...inline, result: b.intrinsic("bits.i32ToF32", [inline.result]) };
}

/**
 * `{ epilogue }`, and for a target with lanes `{ vector, epilogue, epilogue4 }`; a template without the vector form
 * never calls it.
 */
function inlineOptions(
  name: "epilogue" | "prologue",
  { scalar, vector }: Inlined,
  { code }: RuleContext,
): FusedExpr["options"] {
  if (code.many === undefined) return { [name]: scalar };
  const options = { vector: vector !== undefined, [name]: scalar };
  return vector === undefined ? options : { ...options, [`${name}4`]: vector };
}

/** Arguments for the captures of every function among the options, in order. */
function capturedArguments({ captured, vector }: Inlined): readonly DraftArgument[] {
  return vector === undefined ? captured : [...captured, ...captured];
}
