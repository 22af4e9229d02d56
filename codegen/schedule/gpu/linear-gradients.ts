import type { NodeOf, Value } from "../../../ir/graph.ts";
import type { SymbolExpr } from "../../../runtime/manifest.ts";
import { paddedCodes } from "../activation-codes.ts";
import { type BufferArgument, bufferArgument, i32Argument } from "../draft.ts";
import { denseWeight, leadingRows, unitRows, weightArgument } from "../operands.ts";
import type { RuleContext } from "../rules.ts";
import { ceilDiv } from "../symbols.ts";
import { rowsOf } from "../view.ts";
import { ternaryBlocks } from "../weights.ts";
import { type Piece, pieceOf, pieces, TILE_EDGE, tile } from "./grid.ts";
import { BLOCK_BYTES, denseBytes, F32_BYTES } from "./matmul.ts";

interface LeftOperand {
  readonly a: BufferArgument;
  readonly row: SymbolExpr;
  readonly column: SymbolExpr;
}

/** The right operand of out = a @ b, in pieces of its rows. */
interface RightOperand {
  readonly b: string;
  readonly pieces: readonly (Omit<Piece, "count"> & {
    readonly count: SymbolExpr;
    readonly arguments: Readonly<Record<"b" | "scales", BufferArgument>>;
  })[];
  readonly stride: SymbolExpr;
  /** Columns that share one scale of a row, where not all do. */
  readonly group?: number | undefined;
}

/** out[m, n] = a @ b, of which each piece of b's rows adds a part. */
function outerGemm(
  name: string,
  left: LeftOperand,
  right: RightOperand,
  [m, n]: readonly [m: SymbolExpr, n: number],
  result: Value,
  context: RuleContext,
): void {
  const grouped = right.group !== undefined;
  const out = bufferArgument(context.allocate(result));
  for (const piece of right.pieces) {
    context.call(
      {
        template: "outer-gemm",
        name: `${name}_${right.b}${grouped ? "_grouped" : ""}`,
        options: { ...tile, b: right.b, grouped, adjacentRows: left.row === 1, adjacentColumns: true },
        arguments: {
          ...piece.arguments,
          a: left.a,
          out,
          m: i32Argument(m),
          n: i32Argument(n),
          p: i32Argument(piece.count),
          first: i32Argument(piece.first),
          aRow: i32Argument(left.row),
          aColumn: i32Argument(left.column),
          bStride: i32Argument(right.stride),
          groupSize: i32Argument(right.group ?? n),
        },
      },
      [ceilDiv(n, TILE_EDGE), ceilDiv(m, TILE_EDGE)],
    );
  }
}

export function linearInputGradientRule(node: NodeOf<"linear_input_gradient">, context: RuleContext): void {
  const [g, w] = node.operands as [Value, Value];
  const k = w.type.dims[1] as number;
  const rows = unitRows(g, context);
  const left = { a: bufferArgument(rows.place), row: rows.rowStride, column: 1 };
  const size = [leadingRows(g, context), k] as const;
  outerGemm("matmul_input_gradient", left, weightOperand(w, context), size, node.results[0]!, context);
}

function weightOperand(w: Value, context: RuleContext): RightOperand {
  const { encoding } = w.type;
  const [n, k] = w.type.dims as [number, number];
  const isTernary = encoding?.kind === "ternary";
  const group = typeof encoding?.scale === "object" ? encoding.scale.group : undefined;
  const { weight, weights, scales } = isTernary
    ? {
        weight: "ternary" as const,
        weights: weightArgument(context, w, "ternary-codes"),
        scales: weightArgument(context, w, "ternary-scales"),
      }
    : denseWeight(w, context);
  const rowBytes = weight === "ternary" ? ternaryBlocks(k, group) * BLOCK_BYTES : k * denseBytes[weight];
  const scaleBytes = Math.ceil(k / (group ?? k)) * F32_BYTES;
  const hasScales = weight === "ternary" || weight === "int8";
  return {
    b: weight,
    group,
    stride: k,
    pieces: pieces(n, rowBytes, context).map((piece) => {
      const b = pieceOf(weights, piece, n, rowBytes);
      return { ...piece, arguments: { b, scales: hasScales ? pieceOf(scales, piece, n, scaleBytes) : b } };
    }),
  };
}

export function linearWeightGradientRule(node: NodeOf<"linear_weight_gradient">, context: RuleContext): void {
  const [g, x, d] = node.operands as [Value, Value, Value?];
  const result = node.results[0]!;
  const [n, k] = result.type.dims as [number, number];
  const gradients = unitRows(g, context);
  // Codes are read by words, which their rows must not begin inside of.
  const inputs = d ? paddedCodes(x, context) : unitRows(x, context).place;
  const b = bufferArgument(inputs);
  const scales = d ? bufferArgument(context.contiguous(d)) : b;
  const right = {
    b: d ? "int8" : "f32",
    stride: rowsOf(inputs)!.rowStride,
    pieces: [{ first: 0, count: leadingRows(g, context), arguments: { b, scales } }],
  };
  const left = { a: bufferArgument(gradients.place), row: 1, column: gradients.rowStride };
  outerGemm("matmul_weight_gradient", left, right, [n, k], result, context);
}
