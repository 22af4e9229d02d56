import type { NodeOf, Value } from "../../../ir/graph.ts";
import type { SymbolExpr } from "../../../runtime/manifest.ts";
import { bufferArgument, type DraftArgument, i32Argument } from "../draft.ts";
import {
  attentionGradientOperands,
  crossEntropyGradientOperands,
  crossEntropyOperands,
  embeddingGradientOperands,
  rmsNormGradientOperands,
} from "../gradient-operands.ts";
import { denseWeight, leadingRows, unitRows, weightArgument } from "../operands.ts";
import type { RuleContext } from "../rules.ts";
import { ceilDiv, product } from "../symbols.ts";
import { queryBlockBytes } from "./sequence.ts";

const F32_BYTES = 4;
/** Rows and columns of one work item, rows of a panel, and the scratch memory of one thread, of templates/cpu/outer-matmul.ts. */
const ITEM_ROWS = 16;
const ITEM_COLUMNS = 256;
const PANEL_ROWS = 128;
const PANEL_BYTES = (256 * (8 + PANEL_ROWS) + 2 * PANEL_ROWS) * F32_BYTES;
/** Columns of one work item where threads share columns. */
const COLUMN_BLOCK = 16;

/** The right operand of out = a @ b. */
interface RightOperand {
  readonly b: string;
  readonly arguments: Readonly<Record<"b" | "scales", DraftArgument>>;
  readonly stride: SymbolExpr;
  readonly scaled: boolean;
  /** Columns that share one scale of a row, where not all do. */
  readonly group?: number;
}

interface LeftOperand {
  readonly a: DraftArgument;
  readonly row: SymbolExpr;
  readonly column: SymbolExpr;
}

function outerMatmul(
  name: string,
  left: LeftOperand,
  right: RightOperand,
  size: Readonly<Record<"m" | "n" | "p", SymbolExpr>>,
  result: Value,
  context: RuleContext,
): void {
  const grouped = right.group !== undefined;
  context.needScratch(PANEL_BYTES);
  context.call(
    {
      template: "outer-matmul",
      name: `${name}_${right.b}${grouped ? "_grouped" : ""}`,
      options: { b: right.b, scaled: right.scaled, grouped, byColumns: left.row === 1 },
      arguments: {
        ...right.arguments,
        a: left.a,
        out: bufferArgument(context.allocate(result)),
        scratch: { kind: "scratch" },
        m: i32Argument(size.m),
        n: i32Argument(size.n),
        p: i32Argument(size.p),
        aRow: i32Argument(left.row),
        aColumn: i32Argument(left.column),
        bStride: i32Argument(right.stride),
        groupSize: i32Argument(right.group ?? size.n),
      },
    },
    product(ceilDiv(size.m, ITEM_ROWS), ceilDiv(size.n, ITEM_COLUMNS)),
  );
}

export function linearInputGradientRule(node: NodeOf<"linear_input_gradient">, context: RuleContext): void {
  const [g, w] = node.operands as [Value, Value];
  const [n, k] = w.type.dims as [number, number];
  const rows = unitRows(g, context);
  const left = { a: bufferArgument(rows.place), row: rows.rowStride, column: 1 };
  const size = { m: leadingRows(g, context), n: k, p: n };
  outerMatmul("matmul_input_gradient", left, weightOperand(w, context), size, node.results[0]!, context);
}

function weightOperand(w: Value, context: RuleContext): RightOperand {
  const { encoding } = w.type;
  const stride = w.type.dims[1] as number;
  if (encoding?.kind === "ternary") {
    const b = weightArgument(context, w, "ternary-codes");
    const scales = weightArgument(context, w, "ternary-scales");
    const shared = { b: "ternary", arguments: { b, scales }, stride };
    return typeof encoding.scale === "object"
      ? { ...shared, scaled: false, group: encoding.scale.group }
      : { ...shared, scaled: true };
  }
  const { weight, weights, scales } = denseWeight(w, context);
  return { b: weight, arguments: { b: weights, scales }, stride, scaled: weight === "int8" };
}

export function linearWeightGradientRule(node: NodeOf<"linear_weight_gradient">, context: RuleContext): void {
  const [g, x, d] = node.operands as [Value, Value, Value?];
  const result = node.results[0]!;
  const [n, k] = result.type.dims as [number, number];
  const gradients = unitRows(g, context);
  const inputs = unitRows(x, context);
  const b = bufferArgument(inputs.place);
  const scales = d ? bufferArgument(context.contiguous(d)) : b;
  const right = {
    b: d ? "int8" : "f32",
    arguments: { b, scales },
    stride: inputs.rowStride,
    scaled: d !== undefined,
  };
  const left = { a: bufferArgument(gradients.place), row: 1, column: gradients.rowStride };
  const size = { m: n, n: k, p: leadingRows(g, context) };
  outerMatmul("matmul_weight_gradient", left, right, size, result, context);
}

export function embeddingGradientRule(node: NodeOf<"embedding_gradient">, context: RuleContext): void {
  const { arguments: shared, width } = embeddingGradientOperands(node, context);
  context.call(
    { template: "embedding-gradient", name: "embedding_gradient", options: {}, arguments: shared },
    ceilDiv(width, COLUMN_BLOCK),
  );
}

export function rmsNormGradientRule(node: NodeOf<"rms_norm_gradient">, context: RuleContext): void {
  const { arguments: shared, rows, k } = rmsNormGradientOperands(node, context);
  context.call(
    { template: "rms-norm-gradient", name: "rms_norm_gradient", options: {}, arguments: shared },
    rows,
  );
  context.call(
    {
      template: "rms-norm-weight-gradient",
      name: "rms_norm_weight_gradient",
      options: {},
      arguments: shared,
    },
    ceilDiv(k, COLUMN_BLOCK),
  );
}

export function attentionGradientRule(node: NodeOf<"attention_gradient">, context: RuleContext): void {
  const { arguments: shared, shape } = attentionGradientOperands(node, context);
  const padded = Math.ceil(context.upperBound(shape.seq) / 4) * 4;
  context.needScratch(2 * queryBlockBytes(shape.dim, padded));
  context.call(
    {
      template: "attention-gradient",
      name: "attention_gradient",
      options: {},
      arguments: { ...shared, scratch: { kind: "scratch" } },
    },
    product(shape.batch, shape.kvHeads),
  );
}

export function crossEntropyRule(node: NodeOf<"cross_entropy">, context: RuleContext): void {
  const { arguments: shared, rows } = crossEntropyOperands(node, context);
  context.call({ template: "cross-entropy", name: "cross_entropy", options: {}, arguments: shared }, rows);
}

export function crossEntropyGradientRule(node: NodeOf<"cross_entropy_gradient">, context: RuleContext): void {
  const { arguments: shared, rows } = crossEntropyGradientOperands(node, context);
  context.call(
    { template: "cross-entropy-gradient", name: "cross_entropy_gradient", options: {}, arguments: shared },
    rows,
  );
}
