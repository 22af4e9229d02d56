import { z } from "zod";
import { BitloomError } from "../../errors/index.ts";
import { formatLocation, type SourceLocation, type Value } from "../graph.ts";
import { isScalarExpr, type ScalarExpr } from "../scalar.ts";
import type { ConcreteType, Tensor } from "../tensor.ts";
import type { Dim, DType, ScaleGranularity, TensorType } from "../types.ts";
import { dtypes, formatType, symbolPattern } from "../types.ts";
import type { Attributes, OpName } from "./index.ts";

/**
 * Everything Bitloom knows about one op. An op's declaration is annotated `Op<typeof attributes>` rather than
 * inferred, so that a rule may mention graph types, which are made from the op table, without a cycle.
 */
export interface Op<Schema extends z.ZodObject = z.ZodObject> {
  /** What it computes, in a sentence or two. */
  readonly summary: string;
  /** Operand names in order; `name?` may be left out (trailing ones first), `name...` is any number. */
  readonly operands: readonly string[];
  /** Positions of operands that are taken for constants: no gradient flows to them. */
  readonly detached?: readonly number[];
  /** Attributes have no defaults: what is written is what is stored. */
  readonly attributes: Schema;
  /** The type rule: result types, or a complaint through `site`. */
  readonly infer: TypeRule<z.output<Schema>>;
  /** The reference evaluation. */
  readonly evaluate: Evaluation<z.output<Schema>>;
  readonly gradient: Gradient<z.output<Schema>>;
}

export type TypeRule<Schema> = (
  operands: readonly TensorType[],
  attributes: Schema,
  site: Site,
) => readonly TensorType[];

/** Results of the given concrete types from operands that already passed the type rule. */
export type Evaluation<Schema> = (
  operands: readonly Tensor[],
  attributes: Schema,
  results: readonly ConcreteType[],
) => readonly Tensor[];

/** Makes nodes for a gradient rule; `one` for an op with one result. */
export interface Emit {
  one<Name extends OpName>(op: Name, operands: readonly Value[], attributes: Attributes<Name>): Value;
  apply<Name extends OpName>(
    op: Name,
    operands: readonly Value[],
    attributes: Attributes<Name>,
  ): readonly Value[];
}

/** One node whose results' gradients are known: undefined is zero, and at least one is not. */
export interface Differentiated<Schema> {
  readonly operands: readonly Value[];
  readonly results: readonly Value[];
  readonly attributes: Schema;
  readonly gradients: readonly (Value | undefined)[];
  readonly emit: Emit;
}

/** Why there is no gradient, and what to do instead. */
export interface NoGradient {
  readonly hint: string;
}

/**
 * Reverse mode: from the gradients of a node's results to those of its operands, f32 of the operand's dims whatever
 * its dtype or encoding. Undefined for operands that have none: integers, and those that the rule takes for constants.
 */
export type GradientRule<Schema> = (
  node: Differentiated<Schema>,
) => readonly (Value | undefined)[] | NoGradient;

/** A rule, `"zero"` for an op through which no gradient flows, or why there is none. */
export type Gradient<Schema> = GradientRule<Schema> | "zero" | NoGradient;

/** Where a type rule stands: it reports what is wrong with the op's types, the op's name and the user's line. */
export class Site {
  readonly op: string;
  readonly #operands: readonly TensorType[];
  readonly #names: readonly string[];
  readonly #location: SourceLocation | undefined;

  constructor(
    op: string,
    names: readonly string[],
    operands: readonly TensorType[],
    location: SourceLocation | undefined,
  ) {
    this.op = op;
    this.#names = names;
    this.#operands = operands;
    this.#location = location;
  }

  /** Throws SHAPE_MISMATCH with every operand's type as received. */
  shape(expected: string): never {
    return this.#fail("SHAPE_MISMATCH", "operand shapes do not fit", expected, this.#received());
  }

  /** Throws DTYPE_MISMATCH with every operand's type as received. */
  dtype(expected: string): never {
    return this.#fail("DTYPE_MISMATCH", "wrong dtype or encoding", expected, this.#received());
  }

  /** Throws INVALID_ATTRIBUTE. */
  attribute(expected: string, received: string): never {
    return this.#fail("INVALID_ATTRIBUTE", "an attribute does not fit its operands", expected, received);
  }

  /** Throws LIMIT_EXCEEDED. */
  limit(expected: string, received: string): never {
    return this.#fail("LIMIT_EXCEEDED", "too large to stay exact", expected, received);
  }

  /** Throws DTYPE_MISMATCH unless operand `index` is dense with one of these dtypes. */
  requireDense(index: number, ...allowed: readonly DType[]): TensorType {
    const type = this.#operands[index]!;
    if (type.encoding || !allowed.includes(type.dtype)) {
      this.dtype(`${this.#name(index)} of dense ${allowed.join(" or ")}`);
    }
    return type;
  }

  /** Throws SHAPE_MISMATCH unless operand `index` has this many axes. */
  requireRank(index: number, rank: number): TensorType {
    const type = this.#operands[index]!;
    if (type.dims.length !== rank) this.shape(`${this.#name(index)} of rank ${rank}`);
    return type;
  }

  /** What the op's declaration calls an operand; those of a list are counted from the first of them. */
  #name(index: number): string {
    const last = this.#names.length - 1;
    const name = this.#names[Math.min(index, last)] ?? "operand";
    return name.endsWith("...") ? `${name.slice(0, -3)}[${index - last}]` : name.replace("?", "");
  }

  #received(): string {
    return (
      this.#operands.map((type, index) => `${this.#name(index)} ${formatType(type)}`).join(", ") || "none"
    );
  }

  #fail(
    code: "SHAPE_MISMATCH" | "DTYPE_MISMATCH" | "INVALID_ATTRIBUTE" | "LIMIT_EXCEEDED",
    summary: string,
    expected: string,
    received: string,
  ): never {
    throw new BitloomError(code, `${this.op}: ${summary}`, {
      expected,
      received,
      ...(this.#location && { location: formatLocation(this.#location) }),
    });
  }
}

/** Of an op that is itself a gradient. */
export const firstDerivativeOnly: NoGradient = { hint: "Only first derivatives are defined here." };

export const noAttributes = z.strictObject({});

export const dtypeSchema = z.enum(dtypes as readonly [DType, ...DType[]]);

export const axisSchema = z.int();

export const dimSchema: z.ZodType<Dim> = z.union([z.int().min(1), z.string().regex(symbolPattern)]);

/** How many scales a weight has: one, one a row, or one for each `group` columns of a row. */
export const scaleSchema: z.ZodType<ScaleGranularity> = z.union([
  z.enum(["tensor", "row"]),
  z.strictObject({ group: z.int().min(1) }),
]);

/** Any number, NaN and the infinities included. */
export const numberSchema = z.custom<number>((value) => typeof value === "number", "must be a number");

export const scalarExprSchema = z.custom<ScalarExpr>(
  (value) => isScalarExpr(value),
  "must be a scalar expression",
);

/** Turns an axis that may count from the end into 0..rank-1. */
export function resolveAxis(axis: number, rank: number, site: Site): number {
  const resolved = axis < 0 ? axis + rank : axis;
  if (resolved < 0 || resolved >= rank) site.attribute(`an axis in ${-rank}..${rank - 1}`, `axis ${axis}`);
  return resolved;
}

/** The last axis of an operand, which must be a literal number. */
export function literalLastDim(type: TensorType, name: string, site: Site): number {
  const last = type.dims.at(-1);
  if (typeof last !== "number") return site.shape(`${name} with a literal last axis`);
  return last;
}

/** All axes but the last. */
export function leading(dims: readonly Dim[]): readonly Dim[] {
  return dims.slice(0, -1);
}
