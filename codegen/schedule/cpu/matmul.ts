import { type NodeOf, producer, type Value } from "../../../ir/graph.ts";
import type { SymbolExpr } from "../../../runtime/manifest.ts";
import { CODES_BLOCK, paddedCodes } from "../activation-codes.ts";
import { bufferArgument, type DraftArgument, type DraftStep, i32Argument } from "../draft.ts";
import { epilogueOf } from "../epilogue.ts";
import { rowOperands } from "../inline.ts";
import { denseWeight, leadingRows, unitRows, weightArgument } from "../operands.ts";
import type { RuleContext } from "../rules.ts";
import { ceilDiv } from "../symbols.ts";
import { ternaryBlocks } from "../weights.ts";

/** Activation rows a GEMM takes per pass over the weights. */
const GEMM_ROWS = 4;
/** Output columns of one work item. */
const ITEM_COLUMNS = 4;

const I16_BYTES = 2;

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
  // What is quantized by its largest magnitude M has codes of RN(x * RN(127 / M)), which round to 127 at most.
  const symmetric = producer(codes)?.op === "quantize";
  const out = bufferArgument(context.allocate(result));
  const groups = group === undefined ? 0 : Math.ceil(k / group);
  const operands = rowOperands(extras, context.dims(result), context);
  byRows(rows, context, (tileRows, guard) => {
    const accumulator = group === undefined ? "i32" : "f32";
    const { epilogue } = node.attributes;
    const tail = epilogueOf(epilogue, operands, accumulator, tileRows === 1, context);
    const row = CODES_BLOCK * ternaryBlocks(k, group);
    const words = tileRows === 1 ? row + 8 * groups : Math.max(2 * row, 8 * GEMM_ROWS * groups);
    context.needScratch(words * I16_BYTES);
    context.call(
      {
        template: "ternary-matmul",
        name: ["ternary_matmul", kind(tileRows), ...(group ? ["grouped"] : []), ...tail.words].join("_"),
        options: {
          ...{ grouped: group !== undefined, tileRows, symmetric: symmetric && tileRows === GEMM_ROWS },
          ...tail.options,
        },
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

function kind(tileRows: number): string {
  return tileRows === 1 ? "gemv" : "gemm";
}
