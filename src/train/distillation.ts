/**
 * Distillation from a frozen teacher in the same graph, as BitDistill has it (arXiv:2510.13998). Terms and defaults are those
 * of the authors' program, github.com/yushuiwx/bitnet-distill (trainer.py and model_args.py of src/llamafactory), whose
 * commands for single tasks have other weights: 1 or 10 for logits, and a hundred times the default for attention.
 */
import { BitloomError } from "../../errors/index.ts";
import { makeValue } from "../../ir/builder.ts";
import { type Graph, topologicalOrder, type Value } from "../../ir/graph.ts";
import { wholeSequences } from "../../ir/passes/whole-sequences.ts";
import { rebuild } from "../../ir/rewrite.ts";
import type { LanguageModel } from "../dsl/language-model.ts";
import { checkOptions, invalidOption } from "../dsl/options.ts";
import { add, div, mul, one, sqrt } from "./expressions.ts";
import { crossEntropyLoss, divergence } from "./loss.ts";
import { distillationDefaults, distillationRows, distillationWeightRows } from "./training-options.ts";

export interface DistillationTerms {
  /** What both sides' logits are divided by. Default 5. */
  readonly temperature?: number;
  /**
   * What the divergence of the logits, times the temperature squared, and that of the attention relations are multiplied by
   * beside the cross-entropy; 0 leaves a term out. Default 1 and 31.25: the program's 1000 is divided there by its 32
   * relation heads, besides the mean over them.
   */
  readonly weights?: { readonly logits?: number; readonly attention?: number };
  /**
   * The layer whose relations are compared, counted from 0. Default: the last one. The program has no default, and its
   * commands name 22 and 24 of 28.
   */
  readonly layer?: number;
  /** The teacher's layer. Default: `layer`, or the last one where `layer` is left out. */
  readonly teacherLayer?: number;
  /**
   * Relation heads, into which the channels of Q, K and V are split on both sides (arXiv:2012.15828). Default: the heads
   * that attention has, of which both sides must have as many.
   */
  readonly heads?: number;
}

/** What the teacher's parameters are called behind. */
export const TEACHER = "teacher.";

/** The output for what held-out text is judged by, where it is not the loss. */
export const EVALUATION = "evaluation";

/** @throws BitloomError INVALID_OPTION */
export function checkDistillation(terms: DistillationTerms): void {
  checkOptions(terms, distillationRows, "distill");
  checkOptions(terms.weights ?? {}, distillationWeightRows, "distill: weights");
}

/**
 * Makes the loss of a student, a traced language model on whole sequences: cross-entropy, and the weighted divergences of
 * its logits at a temperature and of its attention relations from the teacher's. The teacher's parameters have `teacher.`
 * before their paths. Held-out text is judged by the cross-entropy alone.
 * @throws BitloomError INVALID_OPTION for another vocabulary, a layer there is not, and heads that do not fit
 */
export function distilled(teacher: LanguageModel, terms: DistillationTerms = {}): (student: Graph) => Graph {
  checkDistillation(terms);
  const { temperature = distillationDefaults.temperature, weights = {} } = terms;
  const { logits = distillationDefaults.logits, attention = distillationDefaults.attention } = weights;
  return (student) => {
    const [vocabulary] = logitsOf(student).type.dims.slice(-1);
    if (vocabulary !== teacher.vocabularySize) {
      throw new BitloomError("INVALID_OPTION", "The teacher has another vocabulary than the model", {
        expected: `${vocabulary} tokens`,
        received: `${teacher.vocabularySize} tokens of ${teacher.name}`,
        hint: "Distil from a model with the same tokenizer, such as the one that was converted.",
      });
    }
    const guide = besideStudent(teacher, student);
    const graph = crossEntropyLoss(student);
    const [crossEntropy] = graph.outputs as [Graph["outputs"][number]];
    let loss = crossEntropy.value;
    if (logits > 0) {
      const [own, taught] = [student, guide].map((of) => mul(logitsOf(of), 1 / temperature)) as [
        Value,
        Value,
      ];
      loss = add(loss, mul(divergence(own, taught), logits * temperature ** 2));
    }
    if (attention > 0) {
      const { layer, teacherLayer = layer, heads } = terms;
      const own = attentionOperands(student, "layer", layer);
      const taught = attentionOperands(guide, "teacherLayer", teacherLayer);
      loss = add(loss, mul(relationLoss(own, taught, heads), attention));
    }
    const outputs = [
      { ...crossEntropy, value: loss },
      { name: EVALUATION, value: crossEntropy.value },
    ];
    return { ...graph, parameters: [...graph.parameters, ...guide.parameters], outputs };
  };
}

/** The teacher on the student's tokens. */
function besideStudent(teacher: LanguageModel, student: Graph): Graph {
  const traced = wholeSequences.run(teacher.trace({ symbols: Object.fromEntries(student.symbols) }));
  const inputs = new Map(student.inputs.map((value) => [value.name, value]));
  const leaves = new Map(traced.inputs.map((value) => [value, inputs.get(value.name)!]));
  for (const parameter of traced.parameters) {
    const path = `${TEACHER}${parameter.origin.kind === "parameter" ? parameter.origin.path : ""}`;
    leaves.set(parameter, makeValue(parameter.type, { kind: "parameter", path }, path));
  }
  return rebuild(traced, { leaf: (value) => leaves.get(value) ?? value });
}

function logitsOf({ outputs }: Graph): Value {
  return outputs.find(({ name }) => name === "logits")!.value;
}

/**
 * How far the relations among a student's queries, among its keys and among its values diverge from those of a teacher,
 * summed over the three: for A of each, rows of length 1, the mean over relation heads and positions of KL of softmax(A A^T).
 * (MiniLMv2, arXiv:2012.15828, has rows as they are, and divides by the root of their size.)
 * @param own f32 [batch, seq, heads, D] each, as `taught`; D may differ, and with `heads` what attention has of them
 * @param heads relation heads, if they are not those of attention
 */
export function relationLoss(own: readonly Value[], taught: readonly Value[], heads?: number): Value {
  const parts = own.map((x, i) => {
    const y = taught[i]!;
    if (heads === undefined && x.type.dims[2] !== y.type.dims[2]) {
      throw invalidOption(
        "distill: heads",
        "a number of relation heads, as attention has others here",
        heads,
      );
    }
    return divergence(relations(x, heads), relations(y, heads));
  });
  return parts.reduce((a, b) => add(a, b));
}

/** Queries, keys and values as a layer's attention reads them, f32 [batch, seq, heads, D]. */
function attentionOperands(graph: Graph, option: string, layer: number | undefined): readonly Value[] {
  const layers = topologicalOrder(graph).filter(({ op }) => op === "attention");
  const found = layers.at(layer ?? -1);
  if (found !== undefined) return found.operands;
  const expected = layers.length === 0 ? "a model with attention" : `a layer in 0..${layers.length - 1}`;
  throw invalidOption(`distill: ${option}`, expected, layer ?? graph.name);
}

/** Cosines between rows in each relation head: f32 [batch, seq, heads, D] -> f32 [batch, heads, seq, seq]. */
function relations(x: Value, split: number | undefined): Value {
  const [batch, seq, own, width] = x.type.dims as [string, string, number, number];
  const heads = split ?? own;
  const size = (own * width) / heads;
  if (!Number.isInteger(size)) {
    throw invalidOption("distill: heads", `a divisor of the ${own * width} channels of Q, K and V`, heads);
  }
  const joined = heads === own ? x : one("reshape", [x], { dims: [batch, seq, heads, size] });
  const rows = one("transpose", [joined], { permutation: [0, 2, 1, 3] });
  const squares = one("sum", [mul(rows, rows)], { axis: -1, keep_dims: true });
  const units = div(rows, sqrt(add(squares, 1e-12)));
  return one("batch_matmul", [units, units], {});
}
