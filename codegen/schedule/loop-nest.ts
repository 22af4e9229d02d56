import type { SymbolExpr } from "../../runtime/manifest.ts";
import * as b from "../kernel/build.ts";
import type { Expr, Parameter, Stmt } from "../kernel/ir.ts";
import type { Width } from "./scalar-code.ts";
import { ceilDiv, product } from "./symbols.ts";
import { mergeAxes } from "./view.ts";

/** Lanes of a v128 of f32 or i32. */
export const LANES = 4;

/** How an operand moves along one axis: not at all, by one element, or by a stride passed at run time. */
type Step = "0" | "1" | "s";

function stepOf(stride: SymbolExpr): Step {
  return stride === 0 ? "0" : stride === 1 ? "1" : "s";
}

/** Where the body stands: which element of each operand, and how many elements it computes. */
export interface Position {
  readonly width: Width;
  /** Element index of an operand: of its first lane when `width` is vector. */
  index(operand: number): Expr;
  /** Whether the operand repeats one element along the innermost axis. */
  repeats(operand: number): boolean;
  /** A prefix that makes the body's local names unique in the kernel. */
  readonly prefix: string;
}

/**
 * Loops over an iteration space that several strided operands share. Axes are merged first, and strides of 0
 * and 1 become part of the code, so shapes that differ only in lengths share one kernel.
 */
export interface LoopNest {
  /** Names the loop structure: equal patterns take equal code. */
  readonly pattern: string;
  /** Lengths and strides the kernel takes as i32, and their values. */
  readonly parameters: readonly Parameter[];
  readonly values: readonly SymbolExpr[];
  /** Work items: blocks of four elements of one axis, or rows of the innermost of several. */
  readonly range: SymbolExpr;
  /** The loops from `begin` to `end`; a body that returns undefined for vectors is looped over one by one. */
  emit(body: (at: Position) => readonly Stmt[] | undefined): readonly Stmt[];
}

/** Loops over `dims`; `strides` holds the element strides of each operand for each axis. */
export function loopNest(dims: readonly SymbolExpr[], strides: readonly (readonly SymbolExpr[])[]): LoopNest {
  const merged = mergeAxes(dims, strides);
  const lengths = merged.dims.length === 0 ? [1] : merged.dims;
  const steps = merged.strides.map((operand) => (merged.dims.length === 0 ? [0] : operand));
  const rank = lengths.length;
  const parameters: Parameter[] = [];
  const values: SymbolExpr[] = [];
  const pass = (name: string, value: SymbolExpr): Expr => {
    parameters.push(b.scalar(name));
    values.push(value);
    return b.local(name, "i32");
  };
  // The outermost length is never read: the range covers it.
  const lengthOf = lengths.map((length, axis) =>
    axis === 0 && rank > 1 ? b.i32(0) : pass(`n${axis}`, length),
  );
  const strideOf = steps.map((operand, i) =>
    operand.map((stride, axis) => {
      const step = stepOf(stride);
      return step === "s" ? pass(`stride${i}_${axis}`, stride) : b.i32(step === "1" ? 1 : 0);
    }),
  );
  const inner = rank - 1;
  const vectorizes = steps.every((operand) => stepOf(operand[inner]!) !== "s");
  const range = rank === 1 ? ceilDiv(lengths[0]!, LANES) : product(...lengths.slice(0, -1));

  const emit = (body: (at: Position) => readonly Stmt[] | undefined): readonly Stmt[] => {
    const position = (width: Width, column: Expr, bases: readonly Expr[]): Position => ({
      width,
      prefix: width === "vector" ? "v" : "t",
      index: (operand) => b.add(bases[operand]!, b.mul(column, strideOf[operand]![inner]!)),
      repeats: (operand) => steps[operand]![inner] === 0,
    });
    const columns = (from: Expr, to: Expr, bases: readonly Expr[]): Stmt[] => {
      const wide = vectorizes ? body(position("vector", b.local("c4", "i32"), bases)) : undefined;
      const single = body(position("scalar", b.local("c", "i32"), bases))!;
      if (wide === undefined) return [b.forRange("c", from, to, single)];
      return [
        b.let_("whole", b.binary("and", to, b.i32(-LANES))),
        b.forRange("c4", from, b.local("whole", "i32"), wide, LANES),
        b.forRange("c", b.local("whole", "i32"), to, single),
      ];
    };
    const begin = b.local("begin", "i32");
    const end = b.local("end", "i32");
    if (rank === 1) {
      const origin = steps.map(() => b.i32(0));
      const last = b.mul(end, b.i32(LANES));
      return [
        b.let_("first", b.mul(begin, b.i32(LANES))),
        b.let_("last", b.select(b.lt(last, lengthOf[0]!), last, lengthOf[0]!)),
        ...columns(b.local("first", "i32"), b.local("last", "i32"), origin),
      ];
    }
    const row: Stmt[] = [];
    const coordinates = new Array<Expr>(inner);
    let rest: Expr = b.local("item", "i32");
    for (let axis = inner - 1; axis > 0; axis--) {
      row.push(
        b.let_(`i${axis}`, b.rem(rest, lengthOf[axis]!)),
        b.let_(`q${axis}`, b.div(rest, lengthOf[axis]!)),
      );
      coordinates[axis] = b.local(`i${axis}`, "i32");
      rest = b.local(`q${axis}`, "i32");
    }
    coordinates[0] = rest;
    const bases = steps.map((_, i) => {
      const offset = coordinates.map((at, axis) => b.mul(at, strideOf[i]![axis]!)).reduce(b.add);
      if (offset.kind === "literal" || offset.kind === "ref") return offset;
      row.push(b.let_(`base${i}`, offset));
      return b.local(`base${i}`, "i32");
    });
    row.push(...columns(b.i32(0), lengthOf[inner]!, bases));
    return [b.forRange("item", begin, end, row)];
  };
  const pattern = `${rank};${steps.map((operand) => operand.map(stepOf).join("")).join(",")}`;
  return { pattern, parameters, values, range, emit };
}
