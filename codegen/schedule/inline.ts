import type { Value } from "../../ir/graph.ts";
import { formatScalar, type ScalarExpr } from "../../ir/scalar.ts";
import type { Dim } from "../../ir/types.ts";
import type { SymbolExpr } from "../../runtime/manifest.ts";
import * as b from "../kernel/build.ts";
import type { BufferParameter, Expr, InlineFunction, Parameter } from "../kernel/ir.ts";
import { bufferArgument, type DraftArgument, i32Argument, type Place, storageType } from "./draft.ts";
import type { Lanes, TargetCode } from "./lanes.ts";
import type { RuleContext } from "./rules.ts";
import { scalarCode } from "./scalar-code.ts";
import { broadcastView, rowsOf } from "./view.ts";

/** A scalar expression as functions of (row, column) that a template calls, and what they capture. */
export interface Inlined {
  /** One element; with an accumulator, its first parameter. */
  readonly scalar: InlineFunction;
  /** Several columns from `column` on; undefined where an operand's columns are not neighbours, or the target has no lanes. */
  readonly vector: InlineFunction | undefined;
  /** Equal keys mean equal code. */
  readonly key: string;
  /** Arguments for the captures of one function, in order. */
  readonly captured: readonly DraftArgument[];
  readonly roles: readonly OperandRole[];
}

/** An operand by its shape: one value a row or in all, one a column, or one an element. */
export type OperandRole = "scale" | "vector" | "full";

interface Reader {
  readonly role: OperandRole;
  readonly place: Place;
  readonly buffer: BufferParameter;
  /** Elements between rows; captured unless it is 0 or 1. */
  readonly rowStride: SymbolExpr;
  readonly columnStride: SymbolExpr;
}

/**
 * Turns an expression over operands into template functions of (row, column), row counting all leading axes
 * of the result. With `oneRow` the row is known to be 0, and is not read.
 */
export function inlineExpr(
  expr: ScalarExpr,
  operands: readonly RowOperand[],
  target: TargetCode,
  options: { readonly acc?: "i32" | "f32"; readonly oneRow: boolean },
): Inlined {
  const readers = operands.map((operand, i) => reader(operand, i, options.oneRow));
  const captures: Parameter[] = [];
  const captured: DraftArgument[] = [];
  const strideOf = (name: string, stride: SymbolExpr): Expr => {
    if (stride === 0 || stride === 1) return b.i32(stride);
    captures.push(b.scalar(name));
    captured.push(i32Argument(stride));
    return b.local(name, "i32");
  };
  const row = b.local("row", "i32");
  const column = b.local("column", "i32");
  const indices = readers.map(({ buffer, place, rowStride, columnStride }) => {
    captures.push(buffer);
    captured.push(bufferArgument(place));
    const rowOffset = b.mul(row, strideOf(`${buffer.name}_row`, rowStride));
    return b.add(rowOffset, b.mul(column, strideOf(`${buffer.name}_column`, columnStride)));
  });
  const make = (lanes: Lanes): InlineFunction => {
    const code = scalarCode(expr, {
      lanes,
      prefix: "e",
      leaf: (leaf) => {
        if (leaf.kind === "acc") return b.local("acc", lanes.type(options.acc!));
        const { buffer, columnStride } = readers[leaf.index]!;
        return lanes.load(buffer, indices[leaf.index]!, columnStride === 0);
      },
      integer: (leaf) =>
        leaf.kind === "acc" ? options.acc === "i32" : operands[leaf.index]!.place.dtype === "i32",
    });
    return {
      parameters: [
        ...(options.acc === undefined ? [] : [{ name: "acc", type: lanes.type(options.acc) }]),
        { name: "row", type: "i32" },
        { name: "column", type: "i32" },
      ],
      captures,
      body: code.body,
      result: code.result,
      helpers: code.helpers,
    };
  };
  const step = (stride: SymbolExpr) => (stride === 0 ? "0" : stride === 1 ? "1" : "s");
  const patterns = readers.map((r) => `${r.buffer.element}${step(r.rowStride)}${step(r.columnStride)}`);
  const vectorizes = readers.every((r) => r.columnStride === 0 || r.columnStride === 1);
  return {
    scalar: make(target.one),
    vector: vectorizes && target.many !== undefined ? make(target.many) : undefined,
    key: `${formatScalar(expr)}:${options.acc ?? ""}:${patterns.join(",")}`,
    captured,
    roles: readers.map(({ role }) => role),
  };
}

/** An operand spread over the rows and columns of the result, and the rank it had. */
export interface RowOperand {
  readonly place: Place;
  readonly rank: number;
}

/** Operands as evenly spaced rows of a result of these dims; copied where their rows are not. */
export function rowOperands(
  operands: readonly Value[],
  dims: readonly Dim[],
  context: RuleContext,
): readonly RowOperand[] {
  return operands.map((operand) => {
    const own = context.place(operand);
    const spread = broadcastView(own, dims);
    const place = rowsOf(spread) === undefined ? context.copy(spread, `${own.buffer.name} spread`) : spread;
    return { place, rank: own.dims.length };
  });
}

function reader({ place, rank }: RowOperand, index: number, oneRow: boolean): Reader {
  const rows = rowsOf(place)!;
  const rowStride = oneRow || rows.rows === 1 ? 0 : rows.rowStride;
  const columnStride = rows.columns === 1 ? 0 : rows.columnStride;
  return {
    place,
    buffer: b.buffer(`x${index}`, storageType(place.dtype)),
    rowStride,
    columnStride,
    role: columnStride === 0 ? "scale" : rank === 1 ? "vector" : "full",
  };
}
