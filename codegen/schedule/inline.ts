import type { Value } from "../../ir/graph.ts";
import { formatScalar, type ScalarExpr } from "../../ir/scalar.ts";
import type { Dim } from "../../ir/types.ts";
import type { SymbolExpr } from "../../runtime/manifest.ts";
import * as b from "../kernel/build.ts";
import type { Expr, InlineFunction, KernelFunction, Parameter } from "../kernel/ir.ts";
import {
  bufferArgument,
  type Computed,
  type DraftArgument,
  i32Argument,
  type Place,
  storageType,
} from "./draft.ts";
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
  /** Names of the functions that compute operands. */
  readonly words: readonly string[];
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
  readonly operand: RowOperand;
  /** What names its captures, and with the types of its strides tells how it is read. */
  readonly name: string;
  readonly pattern: string;
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
  const helpers: KernelFunction[] = [];
  /** How each operand's elements at (row, column) are had. */
  const elements = readers.map((reader): ((lanes: Lanes) => Expr) => {
    const { name, rowStride, columnStride } = reader;
    const { place, computed } = reader.operand;
    const at = (): Expr => {
      const rowOffset = b.mul(row, strideOf(`${name}_row`, rowStride));
      return b.add(rowOffset, b.mul(column, strideOf(`${name}_column`, columnStride)));
    };
    if (computed === undefined) {
      const buffer = b.buffer(name, storageType(place.dtype));
      captures.push(buffer);
      captured.push(bufferArgument(place));
      const index = at();
      return (lanes) => lanes.load(buffer, index, columnStride === 0);
    }
    const own = computed.element.parameters.slice(0, -1).map((parameter) => ({
      ...parameter,
      name: `${name}_${parameter.name}`,
    }));
    captures.push(...own);
    captured.push(...computed.arguments);
    helpers.push(...computed.element.helpers, computed.element);
    const index = b.add(strideOf(`${name}_offset`, place.offset), at());
    const values = own.map((p) => (p.kind === "buffer" ? p : b.local(p.name, p.type)));
    return () => b.call(computed.element, [...values, index]);
  });
  const make = (lanes: Lanes): InlineFunction => {
    const code = scalarCode(expr, {
      lanes,
      prefix: "e",
      leaf: (leaf) => {
        if (leaf.kind === "acc") return b.local("acc", lanes.type(options.acc!));
        return elements[leaf.index]!(lanes);
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
      helpers: [...helpers, ...code.helpers],
    };
  };
  const vectorizes = readers.every(
    ({ operand, columnStride }) =>
      operand.computed === undefined && (columnStride === 0 || columnStride === 1),
  );
  return {
    scalar: make(target.one),
    vector: vectorizes && target.many !== undefined ? make(target.many) : undefined,
    words: readers.flatMap(({ operand }) => operand.computed?.element.name ?? []),
    key: `${formatScalar(expr)}:${options.acc ?? ""}:${readers.map(({ pattern }) => pattern).join(",")}`,
    captured,
    roles: readers.map(({ role }) => role),
  };
}

/** An operand spread over the rows and columns of the result, and the rank it had. */
export interface RowOperand {
  readonly place: Place;
  readonly rank: number;
  /** Present where its elements are computed, and do not lie at the place. */
  readonly computed?: Computed;
}

/**
 * Operands as evenly spaced rows of a result of these dims; copied where their rows are not. A kernel that reads each
 * element `once` computes those that are deferred.
 */
export function rowOperands(
  operands: readonly Value[],
  dims: readonly Dim[],
  context: RuleContext,
  once = false,
): readonly RowOperand[] {
  return operands.map((operand) => {
    const own = context.place(operand);
    const rank = own.dims.length;
    const spread = broadcastView(own, dims);
    if (rowsOf(spread) === undefined)
      return { place: context.copy(spread, `${own.buffer.name} spread`), rank };
    const computed = once ? context.computed(operand) : undefined;
    return { place: spread, rank, ...(computed && { computed }) };
  });
}

function reader(operand: RowOperand, index: number, oneRow: boolean): Reader {
  const { place, rank, computed } = operand;
  const rows = rowsOf(place)!;
  const rowStride = oneRow || rows.rows === 1 ? 0 : rows.rowStride;
  const columnStride = rows.columns === 1 ? 0 : rows.columnStride;
  const step = (stride: SymbolExpr) => (stride === 0 ? "0" : stride === 1 ? "1" : "s");
  const source = computed?.element.name ?? storageType(place.dtype);
  const strides = [...(computed ? [place.offset] : []), rowStride, columnStride];
  return {
    operand,
    name: `x${index}`,
    pattern: `${source}${strides.map(step).join("")}`,
    rowStride,
    columnStride,
    role: columnStride === 0 ? "scale" : rank === 1 ? "vector" : "full",
  };
}
