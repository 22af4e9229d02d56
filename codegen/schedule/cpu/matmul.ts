import type { NodeOf, Value } from "../../../ir/graph.ts";
import { acc, type ScalarExpr } from "../../../ir/scalar.ts";
import type { SymbolExpr } from "../../../runtime/manifest.ts";
import * as b from "../../kernel/build.ts";
import type { InlineFunction } from "../../kernel/ir.ts";
import { bufferArgument, type DraftArgument, type DraftStep, i32Argument, type Place } from "../draft.ts";
import { padRowsCall } from "../movement.ts";
import type { RuleContext } from "../rules.ts";
import { ceilDiv, elementCount, product, sameExpr, sum } from "../symbols.ts";
import { contiguousStrides, rowsOf } from "../view.ts";
import { ternaryBlocks } from "../weights.ts";
import { type Inlined, inlineExpr, type RowOperand, rowOperands } from "./inline.ts";
import { epilogueWords } from "./names.ts";

/** Activation rows a GEMM takes per pass over the weights. */
const GEMM_ROWS = 4;
/** Codes of activations and weights come in blocks of this many. */
const BLOCK = 64;

/** K rounded up to whole blocks: the row stride of activation codes. */
export function paddedColumns(k: number): number {
  return Math.ceil(k / BLOCK) * BLOCK;
}
/** Output columns of one work item. */
const ITEM_COLUMNS = 4;

const I16_BYTES = 2;

/** Bytes past the last row of activation codes that kernels may read. */
const CODES_SLACK = 64;

type Guard = NonNullable<DraftStep["guard"]>;

/** Emits a GEMV for one row, a GEMM for more, or both guarded where only a call knows. */
function byRows(
  rows: SymbolExpr,
  context: RuleContext,
  emit: (tileRows: 1 | typeof GEMM_ROWS, guard?: Guard) => void,
): void {
  const most = context.upperBound(rows);
  if (most === 1) emit(1);
  else if (typeof rows === "number") emit(GEMM_ROWS);
  else {
    emit(1, { value: rows, lower: 1, upper: 1 });
    emit(GEMM_ROWS, { value: rows, lower: 2, upper: most });
  }
}

/** The epilogue of a matmul and the options, key and captured arguments it gives a template call. */
function epilogueOf(
  expr: ScalarExpr | undefined,
  extras: readonly RowOperand[],
  accumulator: "i32" | "f32",
  oneRow: boolean,
  context: RuleContext,
) {
  const inlined = inlineExpr(expr ?? acc, extras, context.math, { acc: accumulator, oneRow });
  const raw = expr === undefined && accumulator === "i32";
  const scalar = raw ? rawBits(inlined.scalar) : inlined.scalar;
  return {
    words: raw ? ["raw"] : epilogueWords(expr ?? acc, inlined.roles),
    options: vectorOptions("epilogue", { ...inlined, scalar }),
    inlineKey: raw ? "raw" : inlined.key,
    captured: capturedArguments(inlined),
  };
}

/** An i32 accumulator stored as it is: kernels store f32, so its bits pass as one. */
function rawBits(inline: InlineFunction): InlineFunction {
  return { ...inline, result: b.intrinsic("bits.i32ToF32", [inline.result]) };
}

/** `{ vector, epilogue, epilogue4 }`; a template without the vector form never calls it. */
export function vectorOptions(name: "epilogue" | "prologue", { scalar, vector }: Inlined) {
  const options = { vector: vector !== undefined, [name]: scalar };
  return vector === undefined ? options : { ...options, [`${name}4`]: vector };
}

/** Arguments for the captures of every function among the options, in order. */
export function capturedArguments({ captured, vector }: Inlined): readonly DraftArgument[] {
  return vector === undefined ? captured : [...captured, ...captured];
}

/** A matmul's rows: the product of all leading axes. */
export function leadingRows(value: Value, context: RuleContext): SymbolExpr {
  return elementCount(context.dims(value).slice(0, -1));
}

/** Strides of activation codes: rows padded to whole blocks. */
export function codesPlace(value: Value, context: RuleContext): Place {
  const dims = context.dims(value);
  const k = dims.at(-1) as number;
  const padded = paddedColumns(k);
  const rows = elementCount(dims.slice(0, -1));
  const bytes = sum(product(rows, padded), CODES_SLACK);
  const name = value.name ?? "codes";
  return {
    buffer: { name, region: "arena", offset: undefined, bytes, paddedColumns: k },
    dtype: "i8",
    dims,
    offset: 0,
    strides: contiguousStrides([...dims.slice(0, -1), padded]),
  };
}

/** Where codes lie in padded rows with zero tails; copied there when they come from anything but a quantizer. */
function paddedCodes(value: Value, context: RuleContext): Place {
  const place = context.place(value);
  const k = context.dims(value).at(-1) as number;
  const padded = paddedColumns(k);
  const rows = rowsOf(place);
  const ready =
    place.buffer.paddedColumns === k &&
    rows?.columnStride === 1 &&
    (rows.rows === 1 || sameExpr(rows.rowStride, padded)) &&
    context.upperBound(place.offset) % padded === 0;
  if (ready) return place;
  const out = codesPlace(value, context);
  const source = rows?.columnStride === 1 ? place : context.contiguous(value);
  context.generate(padRowsCall(source, out, padded));
  return out;
}

export function ternaryMatmulRule(node: NodeOf<"ternary_matmul">, context: RuleContext): void {
  const [codes, sums, w, ...extras] = node.operands as [Value, Value, Value, ...Value[]];
  const result = node.results[0]!;
  const [n, k] = w.type.dims as [number, number];
  const scale = w.type.encoding!.scale;
  const group = typeof scale === "object" ? scale.group : undefined;
  const rows = leadingRows(result, context);
  const weights = weightArgument(context, w, "ternary-codes");
  const args = {
    codes: weights,
    activations: bufferArgument(paddedCodes(codes, context)),
    sums: bufferArgument(context.contiguous(sums)),
    scales: group === undefined ? weights : weightArgument(context, w, "ternary-scales"),
    m: i32Argument(rows),
    n: i32Argument(n),
    k: i32Argument(k),
    groupSize: i32Argument(group ?? k),
    scratch: { kind: "scratch" },
  } as const;
  const out = bufferArgument(context.allocate(result));
  const groups = group === undefined ? 0 : Math.ceil(k / group);
  const operands = rowOperands(extras, context.dims(result), context);
  byRows(rows, context, (tileRows, guard) => {
    const accumulator = group === undefined ? "i32" : "f32";
    const { epilogue } = node.attributes;
    const tail = epilogueOf(epilogue, operands, accumulator, tileRows === 1, context);
    context.needScratch(tileRows * (BLOCK * ternaryBlocks(k, group) + 8 * groups) * I16_BYTES);
    context.call(
      {
        template: "ternary-matmul",
        name: ["ternary_matmul", kind(tileRows), ...(group ? ["grouped"] : []), ...tail.words].join("_"),
        options: { grouped: group !== undefined, tileRows, ...tail.options },
        inlineKey: tail.inlineKey,
        arguments: { ...args, out },
        captured: tail.captured,
      },
      ceilDiv(n, ITEM_COLUMNS),
      guard,
    );
  });
}

export function linearRule(node: NodeOf<"linear">, context: RuleContext): void {
  const [x, w, ...extras] = node.operands as [Value, Value, ...Value[]];
  const result = node.results[0]!;
  const [n, k] = w.type.dims as [number, number];
  const rows = leadingRows(result, context);
  const input = unitRows(x, context);
  const shared = {
    x: bufferArgument(input.place),
    out: bufferArgument(context.allocate(result)),
    m: i32Argument(rows),
    n: i32Argument(n),
    k: i32Argument(k),
    xStride: i32Argument(input.rowStride),
  };
  const operands = rowOperands(extras, context.dims(result), context);
  byRows(rows, context, (tileRows, guard) => {
    const tail = epilogueOf(node.attributes.epilogue, operands, "f32", tileRows === 1, context);
    const product = linearTemplate(w, tileRows, context);
    context.call(
      {
        template: product.template,
        name: [...product.words, ...tail.words].join("_"),
        options: { ...product.options, ...tail.options },
        inlineKey: tail.inlineKey,
        arguments: { ...shared, ...product.arguments },
        captured: tail.captured,
      },
      ceilDiv(n, ITEM_COLUMNS),
      guard,
    );
  });
}

interface LinearTemplate {
  readonly template: string;
  readonly words: readonly string[];
  readonly options: Readonly<Record<string, number | boolean | string>>;
  readonly arguments: Readonly<Record<string, DraftArgument>>;
}

/** The template that multiplies f32 rows with a weight as it is stored. */
function linearTemplate(w: Value, tileRows: number, context: RuleContext): LinearTemplate {
  const { encoding } = w.type;
  const k = w.type.dims[1] as number;
  if (encoding?.kind === "ternary") {
    const group = typeof encoding.scale === "object" ? encoding.scale.group : undefined;
    const grouped = group !== undefined;
    return {
      template: "ternary-dense-matmul",
      words: ["ternary_dense_matmul", kind(tileRows), ...(grouped ? ["grouped"] : [])],
      options: { grouped, tileRows },
      arguments: {
        codes: weightArgument(context, w, "ternary-codes"),
        scales: weightArgument(context, w, "ternary-scales"),
        groupSize: i32Argument(group ?? k),
      },
    };
  }
  const { weight, weights, scales } = denseWeight(w, context);
  if (weight === "int8" && tileRows === 1) {
    // Fixed point is faster by a factor of two, but reads the weights once for every row.
    context.needScratch(2 * Math.ceil(k / 8) * 8 * I16_BYTES);
    return {
      template: "int8-matmul",
      words: ["matmul_int8_gemv"],
      options: {},
      arguments: { weights, scales, scratch: { kind: "scratch" } },
    };
  }
  return {
    template: "dense-matmul",
    words: ["matmul", weight, kind(tileRows)],
    options: { weight, tileRows },
    arguments: { weights, scales },
  };
}

/** A weight that kernels read densely or as int8 rows: its element type and its arguments. */
export function denseWeight(w: Value, context: RuleContext) {
  if (w.type.encoding?.kind === "int8") {
    const weights = weightArgument(context, w, "int8-codes");
    return { weight: "int8", weights, scales: weightArgument(context, w, "int8-scales") };
  }
  const weights = bufferArgument(context.contiguous(w));
  return { weight: w.type.dtype, weights, scales: weights };
}

export function weightArgument(
  context: RuleContext,
  w: Value,
  layout: "ternary-codes" | "ternary-scales" | "int8-codes" | "int8-scales",
): DraftArgument {
  const storage = context.weight(w, layout);
  return { kind: "buffer", storage, offset: 0, bytes: storage.bytes };
}

/** An operand as evenly spaced rows of neighbouring elements; copied where it is not. */
function unitRows(value: Value, context: RuleContext): { place: Place; rowStride: SymbolExpr } {
  const place = context.place(value);
  const rows = rowsOf(place);
  if (rows?.columnStride === 1) return { place, rowStride: rows.rowStride };
  const copy = context.contiguous(value);
  return { place: copy, rowStride: rowsOf(copy)!.rowStride };
}

function kind(tileRows: number): string {
  return tileRows === 1 ? "gemv" : "gemm";
}
