import type { SymbolExpr } from "../../runtime/manifest.ts";
import * as b from "../kernel/build.ts";
import type { Expr, Parameter, Stmt } from "../kernel/ir.ts";
import type { Lanes, TargetCode } from "./lanes.ts";
import { ceilDiv, product } from "./symbols.ts";
import { mergeAxes } from "./view.ts";

/** How an operand moves along one axis: not at all, by one element, or by a stride passed at run time. */
type Step = "0" | "1" | "s";

function stepOf(stride: SymbolExpr): Step {
  return stride === 0 ? "0" : stride === 1 ? "1" : "s";
}

/** Where the body stands: which element of each operand, and how many elements it computes. */
export interface Position {
  readonly lanes: Lanes;
  /** Element index of an operand: that of its first lane. */
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
  /**
   * Work items: single elements on a target without lanes; otherwise blocks of as many elements of one axis as
   * there are lanes, or rows of the innermost of several axes.
   */
  readonly range: SymbolExpr;
  /** The loops from `begin` to `end`; a body that returns undefined for several lanes is looped over one by one. */
  emit(body: (at: Position) => readonly Stmt[] | undefined): readonly Stmt[];
}

/** Loops over `dims`; `strides` holds the element strides of each operand for each axis. */
export function loopNest(
  dims: readonly SymbolExpr[],
  strides: readonly (readonly SymbolExpr[])[],
  { one, many }: TargetCode,
): LoopNest {
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
  // The outermost length is read for a last block alone: the range covers it.
  const lengthOf = lengths.map((length, axis) =>
    axis === 0 && (rank > 1 || many === undefined) ? b.i32(0) : pass(`n${axis}`, length),
  );
  const strideOf = steps.map((operand, i) =>
    operand.map((stride, axis) => {
      const step = stepOf(stride);
      return step === "s" ? pass(`stride${i}_${axis}`, stride) : b.i32(step === "1" ? 1 : 0);
    }),
  );
  const inner = rank - 1;
  const position = (lanes: Lanes, column: Expr, bases: readonly Expr[]): Position => ({
    lanes,
    prefix: lanes === one ? "t" : "v",
    index: (operand) => b.add(bases[operand]!, b.mul(column, strideOf[operand]![inner]!)),
    repeats: (operand) => steps[operand]![inner] === 0,
  });
  const begin = b.local("begin", "i32");
  const end = b.local("end", "i32");

  /** Where each operand's row starts, for one item of the outer axes; `row` gets the code that computes it. */
  const openRow = (item: Expr, row: Stmt[]): readonly Expr[] => {
    const coordinates = new Array<Expr>(inner);
    let rest = item;
    for (let axis = inner - 1; axis > 0; axis--) {
      row.push(
        b.let_(`i${axis}`, b.rem(rest, lengthOf[axis]!)),
        b.let_(`q${axis}`, b.div(rest, lengthOf[axis]!)),
      );
      coordinates[axis] = b.local(`i${axis}`, "i32");
      rest = b.local(`q${axis}`, "i32");
    }
    coordinates[0] = rest;
    return steps.map((_, i) => {
      const offset = coordinates.map((at, axis) => b.mul(at, strideOf[i]![axis]!)).reduce(b.add);
      if (offset.kind === "literal" || offset.kind === "ref") return offset;
      row.push(b.let_(`base${i}`, offset));
      return b.local(`base${i}`, "i32");
    });
  };
  const origin = steps.map(() => b.i32(0));

  /** One element for each item. */
  const emitElements: LoopNest["emit"] = (body) => {
    const item = b.local("item", "i32");
    if (rank === 1) return [b.forRange("item", begin, end, body(position(one, item, origin))!)];
    const element: Stmt[] = [
      b.let_("c", b.rem(item, lengthOf[inner]!)),
      b.let_("row", b.div(item, lengthOf[inner]!)),
    ];
    const bases = openRow(b.local("row", "i32"), element);
    element.push(...body(position(one, b.local("c", "i32"), bases))!);
    return [b.forRange("item", begin, end, element)];
  };

  /** Blocks of one axis or rows of several, in whole lanes as far as they go. */
  const emitRows = (body: Parameters<LoopNest["emit"]>[0], wide: Lanes): readonly Stmt[] => {
    const vectorizes = steps.every((operand) => stepOf(operand[inner]!) !== "s");
    const columns = (from: Expr, to: Expr, bases: readonly Expr[]): Stmt[] => {
      const several = vectorizes ? body(position(wide, b.local("c4", "i32"), bases)) : undefined;
      const single = body(position(one, b.local("c", "i32"), bases))!;
      if (several === undefined) return [b.forRange("c", from, to, single)];
      return [
        b.let_("whole", b.binary("and", to, b.i32(-wide.count))),
        b.forRange("c4", from, b.local("whole", "i32"), several, wide.count),
        b.forRange("c", b.local("whole", "i32"), to, single),
      ];
    };
    if (rank === 1) {
      const last = b.mul(end, b.i32(wide.count));
      return [
        b.let_("first", b.mul(begin, b.i32(wide.count))),
        b.let_("last", b.select(b.lt(last, lengthOf[0]!), last, lengthOf[0]!)),
        ...columns(b.local("first", "i32"), b.local("last", "i32"), origin),
      ];
    }
    const row: Stmt[] = [];
    const bases = openRow(b.local("item", "i32"), row);
    row.push(...columns(b.i32(0), lengthOf[inner]!, bases));
    return [b.forRange("item", begin, end, row)];
  };
  const rowsRange = (lanes: number) =>
    rank === 1 ? ceilDiv(lengths[0]!, lanes) : product(...lengths.slice(0, -1));
  const pattern = `${rank};${steps.map((operand) => operand.map(stepOf).join("")).join(",")}`;
  return {
    pattern,
    parameters,
    values,
    range: many === undefined ? product(...lengths) : rowsRange(many.count),
    emit: (body) => (many === undefined ? emitElements(body) : emitRows(body, many)),
  };
}
