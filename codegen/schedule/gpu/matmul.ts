import type { NodeOf, Value } from "../../../ir/graph.ts";
import { arg, type ScalarExpr, substitute } from "../../../ir/scalar.ts";
import type { SymbolExpr } from "../../../runtime/manifest.ts";
import { paddedCodes } from "../activation-codes.ts";
import { bufferArgument, type DraftArgument, i32Argument, type Place } from "../draft.ts";
import { computeElementwise } from "../elementwise.ts";
import { epilogueOf } from "../epilogue.ts";
import { type RowOperand, rowOperands } from "../inline.ts";
import { denseWeight, leadingRows, unitRows, weightArgument } from "../operands.ts";
import type { RuleContext, ScheduleRule } from "../rules.ts";
import { ceilDiv } from "../symbols.ts";
import { ternaryBlocks } from "../weights.ts";
import { byRows, type Piece, type ProductShape, pieceOf, pieces, TILE_EDGE, tile } from "./grid.ts";

/** Bytes of a block of 64 ternary weights. */
export const BLOCK_BYTES = 16;
export const F32_BYTES = 4;
/** Buffers of a product without those of its epilogue. */
const OWN_BUFFERS = 4;
const GEMV = { workgroupSize: 64 } as const;

/** A product of rows with the columns of a weight, as a template computes it. */
interface ProductTemplate {
  readonly template: string;
  readonly words: readonly string[];
  readonly options: Readonly<Record<string, number | boolean | string>>;
  /** Output columns and rows of a workgroup. */
  readonly columns: number;
  readonly tileRows: number;
}

interface Product {
  readonly accumulator: "i32" | "f32";
  readonly n: number;
  readonly rows: SymbolExpr;
  /** Bytes of one column's weights, by which large weights are cut. */
  readonly bytesPerColumn: number;
  readonly template: (shape: ProductShape) => ProductTemplate;
  /** Arguments but for m, n, out, firstColumn and columns. */
  readonly arguments: (piece: Piece) => Readonly<Record<string, DraftArgument>>;
}

/** Emits a product and its epilogue, for as many rows as there can be and piece by piece of its weight. */
function emitProduct(
  product: Product,
  epilogue: ScalarExpr | undefined,
  extras: readonly Value[],
  result: Value,
  context: RuleContext,
): void {
  const dims = context.dims(result);
  if (OWN_BUFFERS + extras.length > context.limits.buffers && epilogue !== undefined) {
    const sums = context.temporary("accumulators", product.accumulator, dims);
    emitInto(product, undefined, [], sums, context);
    const places = [...extras.map((extra) => context.place(extra)), sums];
    const whole = substitute(epilogue, (leaf) => (leaf.kind === "acc" ? arg(extras.length) : leaf));
    computeElementwise(whole, places, context.allocate(result), context);
    return;
  }
  const operands = rowOperands(extras, dims, context);
  emitInto(product, epilogue, operands, context.allocate(result), context);
}

function emitInto(
  product: Product,
  epilogue: ScalarExpr | undefined,
  operands: readonly RowOperand[],
  out: Place,
  context: RuleContext,
): void {
  const { n, rows, accumulator } = product;
  byRows(rows, context, (shape, guard) => {
    const tail = epilogueOf(epilogue, operands, accumulator, shape.oneRow, context);
    const { template, words, options, columns, tileRows } = product.template(shape);
    for (const piece of pieces(n, product.bytesPerColumn, context, columns)) {
      context.call(
        {
          template,
          name: [...words, ...(shape.oneRow ? ["one_row"] : []), ...tail.words].join("_"),
          options: { ...options, ...tail.options },
          inlineKey: tail.inlineKey,
          arguments: {
            ...product.arguments(piece),
            out: bufferArgument(out),
            m: i32Argument(rows),
            n: i32Argument(n),
            firstColumn: i32Argument(piece.first),
            columns: i32Argument(piece.count),
          },
          captured: tail.captured,
        },
        [ceilDiv(piece.count, columns), ceilDiv(rows, tileRows)],
        guard,
      );
    }
  });
}

/** A ternary product of many rows with n columns. */
export interface ManyRows {
  readonly n: number;
  readonly grouped: boolean;
  /** Groups are multiples of 16. */
  readonly aligned: boolean;
}

/** How a target computes ternary products. */
export interface TernaryProducts {
  readonly manyRows: (
    shape: ManyRows,
  ) => Pick<ProductTemplate, "template" | "options" | "columns" | "tileRows">;
  /** For few rows, bound by loads: blocks that an invocation loads before it needs the first. */
  readonly ahead: 1 | 2 | 4;
}

/** As every GPU can. */
export const anyTernaryProducts: TernaryProducts = {
  manyRows: ({ grouped, aligned }) => ({
    template: "ternary-gemm",
    options: { ...tile, grouped, aligned },
    columns: TILE_EDGE,
    tileRows: TILE_EDGE,
  }),
  ahead: 1,
};

export function ternaryMatmulRule(products: TernaryProducts): ScheduleRule<"ternary_matmul"> {
  return (node, context) => ternaryProduct(node, products, context);
}

function ternaryProduct(
  node: NodeOf<"ternary_matmul">,
  { manyRows, ahead }: TernaryProducts,
  context: RuleContext,
): void {
  const [codes, sums, w, ...extras] = node.operands as [Value, Value, Value, ...Value[]];
  const result = node.results[0]!;
  const [n, k] = w.type.dims as [number, number];
  const scale = w.type.encoding!.scale;
  const group = typeof scale === "object" ? scale.group : undefined;
  const grouped = group !== undefined;
  const weights = weightArgument(context, w, "ternary-codes");
  const scales = grouped ? weightArgument(context, w, "ternary-scales") : undefined;
  const bytesPerColumn = ternaryBlocks(k, group) * BLOCK_BYTES;
  const scaleBytes = Math.ceil(k / (group ?? k)) * F32_BYTES;
  const args = {
    activations: bufferArgument(paddedCodes(codes, context)),
    sums: bufferArgument(context.contiguous(sums)),
    k: i32Argument(k),
    groupSize: i32Argument(group ?? k),
  };
  const aligned = group === undefined || group % 16 === 0;
  const product: Product = {
    accumulator: grouped ? "f32" : "i32",
    n,
    rows: leadingRows(result, context),
    bytesPerColumn,
    template(shape) {
      const words = ["ternary", shape.kind, ...(grouped ? ["grouped"] : [])];
      if (shape.kind === "gemm") return { words, ...manyRows({ n, grouped, aligned }) };
      const columnGroups = n >= 4096 ? 2 : 1;
      // Four columns share a workgroup: enough invocations that each has few blocks, and most loads are under way at once.
      const workgroupSize = bytesPerColumn > 64 * BLOCK_BYTES ? 128 : 64;
      const { tileRows } = shape;
      const options = { workgroupSize, grouped, aligned, columnGroups, tileRows, ahead };
      return { template: "ternary-gemv", words, options, columns: 4 * columnGroups, tileRows };
    },
    arguments: (piece) => {
      const codes = pieceOf(weights, piece, n, bytesPerColumn);
      return { ...args, codes, scales: scales ? pieceOf(scales, piece, n, scaleBytes) : codes };
    },
  };
  emitProduct(product, node.attributes.epilogue, extras, result, context);
}

export function linearRule(node: NodeOf<"linear">, context: RuleContext): void {
  const [x, w, ...extras] = node.operands as [Value, Value, ...Value[]];
  const result = node.results[0]!;
  const [n, k] = w.type.dims as [number, number];
  const input = unitRows(x, context);
  const args = {
    x: bufferArgument(input.place),
    k: i32Argument(k),
    xStride: i32Argument(input.rowStride),
  };
  const rows = leadingRows(result, context);
  const product =
    w.type.encoding?.kind === "ternary"
      ? ternaryDense(w, n, k, rows, args, context)
      : dense(w, n, k, rows, args, context);
  emitProduct(product, node.attributes.epilogue, extras, result, context);
}

type Arguments = Readonly<Record<string, DraftArgument>>;

function ternaryDense(
  w: Value,
  n: number,
  k: number,
  rows: SymbolExpr,
  args: Arguments,
  context: RuleContext,
): Product {
  const scale = w.type.encoding!.scale;
  const group = typeof scale === "object" ? scale.group : undefined;
  const grouped = group !== undefined;
  const codes = weightArgument(context, w, "ternary-codes");
  const scales = weightArgument(context, w, "ternary-scales");
  const bytesPerColumn = ternaryBlocks(k, group) * BLOCK_BYTES;
  return {
    accumulator: "f32",
    n,
    rows,
    bytesPerColumn,
    template(shape) {
      const words = ["ternary_dense", shape.kind, ...(grouped ? ["grouped"] : [])];
      return shape.kind === "gemm"
        ? {
            template: "ternary-dense-gemm",
            words,
            options: { ...tile, grouped },
            columns: TILE_EDGE,
            tileRows: TILE_EDGE,
          }
        : {
            template: "ternary-dense-gemv",
            words,
            options: { ...GEMV, grouped, tileRows: shape.tileRows },
            columns: 4,
            tileRows: shape.tileRows,
          };
    },
    arguments: (piece) => ({
      ...args,
      codes: pieceOf(codes, piece, n, bytesPerColumn),
      scales: pieceOf(scales, piece, n, Math.ceil(k / (group ?? k)) * F32_BYTES),
      groupSize: i32Argument(group ?? k),
    }),
  };
}

function dense(
  w: Value,
  n: number,
  k: number,
  rows: SymbolExpr,
  args: Arguments,
  context: RuleContext,
): Product {
  const { weight, weights, scales } = denseWeight(w, context);
  const bytesPerColumn = k * denseBytes[weight];
  return {
    accumulator: "f32",
    n,
    rows,
    bytesPerColumn,
    template(shape) {
      const words = ["matmul", weight, shape.kind];
      if (shape.kind === "gemm") {
        const options = { ...tile, weight };
        return { template: "dense-gemm", words, options, columns: TILE_EDGE, tileRows: TILE_EDGE };
      }
      const options = {
        ...GEMV,
        weight,
        aligned: bytesPerColumn % 4 === 0,
        tileColumns: 4,
        tileRows: shape.tileRows,
      };
      return { template: "dense-gemv", words, options, columns: 4, tileRows: shape.tileRows };
    },
    arguments: (piece) => {
      const codes = pieceOf(weights, piece, n, bytesPerColumn);
      return {
        ...args,
        weights: codes,
        scales: weight === "int8" ? pieceOf(scales, piece, n, F32_BYTES) : codes,
      };
    },
  };
}

export const denseBytes = { f32: 4, f16: 2, bf16: 2, int8: 1 } as const;
