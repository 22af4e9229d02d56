import { foldExpression, isPure } from "../../kernel/fold.ts";
import { intrinsics } from "../../kernel/intrinsic-table.ts";
import type { BinaryOperator, CompareOperator, Expr, ValueType } from "../../kernel/ir.ts";
import { shortestF32 } from "../decimal.ts";
import { type Builtin, type Memory, type ModuleContext, unsupported } from "./module.ts";

/**
 * How tightly an expression binds. WGSL has no order between bitwise, shift and other operators (8.18): what
 * it forbids to mix gets parentheses.
 */
const level = {
  or: 1,
  and: 2,
  bitwise: 3,
  relational: 4,
  shift: 5,
  add: 6,
  multiply: 7,
  unary: 8,
  primary: 9,
};
type Level = keyof typeof level;

interface Text {
  readonly text: string;
  readonly level: Level;
  /** For chains such as `a & b & c`. */
  readonly operator?: BinaryOperator;
}

const MAX_F32 = 3.4028234663852886e38;

const symbols: Record<BinaryOperator, string> = {
  add: "+",
  sub: "-",
  mul: "*",
  div: "/",
  rem: "%",
  and: "&",
  or: "|",
  xor: "^",
  shl: "<<",
  shr: ">>",
  shr_logical: ">>",
  logical_and: "&&",
  logical_or: "||",
};
const comparisons: Record<CompareOperator, string> = {
  eq: "==",
  ne: "!=",
  lt: "<",
  le: "<=",
  gt: ">",
  ge: ">=",
};

/** What the function being rendered offers to its expressions. */
export interface FunctionScope {
  readonly module: ModuleContext;
  /** The name a local or parameter has in the output. */
  value(name: string): string;
  memory(buffer: string): Memory;
  /** Makes a builtin available and gives its name. */
  builtin(builtin: Builtin): string;
  /** The function a call means here, rendered for the memory it is given. */
  callee(name: string, memories: readonly Memory[]): Callee;
}

/** A helper function, and the builtins it takes ahead of its parameters. */
export interface Callee {
  readonly name: string;
  readonly builtins: readonly Builtin[];
}

export class ExpressionRenderer {
  readonly #scope: FunctionScope;

  constructor(scope: FunctionScope) {
    this.#scope = scope;
  }

  /**
   * What literals decide is computed here: WGSL would evaluate it with unbounded integers and refuse what
   * overflows.
   */
  render(expression: Expr): string {
    return this.#text(foldExpression(expression)).text;
  }

  /** `x[i]` or, for narrow elements, a call. */
  #load(buffer: string, index: Expr): string {
    const memory = this.#scope.memory(buffer);
    if (memory.narrow === undefined) return this.#element(memory, this.#text(index));
    this.#scope.module.accessors.set(memory.narrow.load, loadFunction(memory, memory.narrow.load));
    return `${memory.narrow.load}(${this.#text(index).text})`;
  }

  store(buffer: string, index: Expr, value: Expr): string {
    const memory = this.#scope.memory(buffer);
    if (memory.narrow === undefined) {
      return `${this.#element(memory, this.#text(foldExpression(index)))} = ${this.render(value)};`;
    }
    this.#scope.module.accessors.set(memory.narrow.store, storeFunction(memory, memory.narrow.store));
    return `${memory.narrow.store}(${this.#arguments([index, value].map(foldExpression))});`;
  }

  #element(memory: Memory, index: Text): string {
    if (memory.offset === undefined) return `${memory.name}[${index.text}]`;
    return `${memory.name}[${memory.offset} + ${parenthesized(index, "multiply")}]`;
  }

  #call(expression: Extract<Expr, { kind: "call" }>): string {
    const memories = expression.args.flatMap((argument) =>
      argument.kind === "buffer" ? [this.#scope.memory(argument.name)] : [],
    );
    const values = expression.args.flatMap((argument) => (argument.kind === "buffer" ? [] : [argument]));
    const callee = this.#scope.callee(expression.callee, memories);
    const given = callee.builtins.map((builtin) => this.#scope.builtin(builtin));
    const rest = values.length === 0 ? [] : [this.#arguments(values)];
    return `${callee.name}(${[...given, ...rest].join(", ")})`;
  }

  #intrinsic(expression: Extract<Expr, { kind: "intrinsic" }>): Text {
    const { name, args, immediates } = expression;
    const { module } = this.#scope;
    const function_ = (wgsl: string) => primary(`${wgsl}(${this.#arguments(args)})`);
    switch (name) {
      case "bits.f32ToI32":
        return function_("bitcast<i32>");
      case "bits.f32ToU32":
        return function_("bitcast<u32>");
      case "bits.i32ToF32":
      case "bits.u32ToF32":
        return this.#floatOfBits(args[0]!);
      case "math.sqrt":
      case "math.abs":
      case "math.floor":
        return function_(name.slice("math.".length));
      case "math.nearest":
        return function_("round");
      case "math.max":
        return function_(module.use("maximum"));
      case "math.min":
        return function_(module.use("minimum"));
      case "inverseSqrt":
        return function_(name);
      case "u32x4":
        return function_("vec4u");
      case "component":
        return primary(`${parenthesized(this.#text(args[0]!), "primary")}.${"xyzw"[immediates[0]!]}`);
      case "dot4I8Packed":
        if (!module.packedDot) return function_(module.use("dot4_i8"));
        module.usesPackedDot = true;
        return function_(name);
      case "workgroupId":
        return primary(`i32(${this.#scope.builtin("workgroup_id")}.x)`);
      case "workgroupIdY":
        return primary(`i32(${this.#scope.builtin("workgroup_id")}.y)`);
      case "workgroupCount":
        return primary(`i32(${this.#scope.builtin("num_workgroups")}.x)`);
      case "localId":
        return primary(`i32(${this.#scope.builtin("local_invocation_index")})`);
      case "subgroupSize":
        return primary(`i32(${this.#subgroup("subgroup_size")})`);
      case "subgroupLane":
        return primary(`i32(${this.#subgroup("subgroup_invocation_id")})`);
      case "subgroupId": {
        const index = this.#scope.builtin("local_invocation_index");
        return primary(`i32(${index} / ${this.#subgroup("subgroup_size")})`);
      }
      case "subgroupAdd":
      case "subgroupMax":
      case "subgroupMin":
      case "subgroupShuffleXor":
        module.usesSubgroups = true;
        return function_(name);
      case "subgroupBroadcast":
        module.usesSubgroups = true;
        return primary(`subgroupBroadcast(${this.#text(args[0]!).text}, ${immediates[0]}u)`);
      case "workgroupBarrier":
        return function_(name);
      case "workgroupUniformLoad": {
        const memory = this.#scope.memory(expression.buffer!);
        return primary(`workgroupUniformLoad(&${this.#element(memory, this.#text(args[0]!))})`);
      }
      default:
        throw unsupported(intrinsics.has(name) ? name : `the unknown intrinsic ${name}`);
    }
  }

  #subgroup(builtin: Builtin): string {
    this.#scope.module.usesSubgroups = true;
    return this.#scope.builtin(builtin);
  }

  #text(expression: Expr): Text {
    switch (expression.kind) {
      case "literal":
        return this.#literal(expression.type, expression.value);
      case "ref":
        return primary(this.#scope.value(expression.name));
      case "binary":
        return this.#binary(expression);
      case "unary":
        return this.#unary(expression);
      case "compare": {
        const operands = [expression.left, expression.right].map((operand) =>
          parenthesized(this.#text(operand), "add"),
        );
        // WGSL's != may say that NaN equals everything.
        if (expression.operator === "ne" && expression.left.type === "f32") {
          return { text: `!(${operands.join(" == ")})`, level: "unary" };
        }
        return { text: operands.join(` ${comparisons[expression.operator]} `), level: "relational" };
      }
      case "conditional":
        // Both sides are evaluated here, which only an effect could tell apart: loads cannot trap.
        if (!isPure(expression.ifTrue) || !isPure(expression.ifFalse)) {
          throw unsupported("a conditional expression with effects", "Use an if statement.");
        }
        return this.#select(expression);
      case "select":
        return this.#select(expression);
      case "convert":
        return this.#convert(expression.operand, expression.type);
      case "load":
        return primary(this.#load(expression.buffer, expression.index));
      case "intrinsic":
        return this.#intrinsic(expression);
      case "call":
        return primary(this.#call(expression));
    }
  }

  #literal(type: ValueType, value: number | bigint | boolean): Text {
    switch (type) {
      case "bool":
        return primary(String(value));
      case "i32":
        return signed(String(Number(value) | 0));
      case "u32":
        return primary(wordText(Number(value) >>> 0));
      case "f32": {
        const number = Math.fround(Number(value));
        if (!Number.isFinite(number)) {
          const bits = Number.isNaN(number) ? 0x7fc00000 : number > 0 ? 0x7f800000 : 0xff800000;
          return primary(this.#scope.module.specialFloat(bits));
        }
        const shortest = shortestF32(number);
        // The largest floats' shortest decimals lie beyond them, which WGSL refuses.
        const text = Math.abs(Number(shortest)) > MAX_F32 ? String(number) : shortest;
        return signed(/[.e]/.test(text) ? text : `${text}.0`);
      }
      default:
        throw unsupported(`the type ${type}`);
    }
  }

  #select(parts: { readonly condition: Expr; readonly ifTrue: Expr; readonly ifFalse: Expr }): Text {
    return primary(`select(${this.#arguments([parts.ifFalse, parts.ifTrue, parts.condition])})`);
  }

  #arguments(values: readonly Expr[]): string {
    return values
      .map((value, i) => {
        const text = this.#text(value);
        // `f(a < b, c > d)` would be read as `f(a<b, c>(d))`.
        return i === values.length - 1 ? text.text : parenthesized(text, "shift");
      })
      .join(", ");
  }

  #binary(expression: Extract<Expr, { kind: "binary" }>): Text {
    const { operator, type, left, right } = expression;
    switch (operator) {
      case "shl":
      case "shr":
        return this.#shift(operator, this.#text(left), right);
      case "shr_logical":
        if (type !== "i32") return this.#shift(operator, this.#text(left), right);
        return primary(`i32(${this.#shift(operator, this.#asU32(left), right).text})`);
      case "and":
      case "or":
      case "xor":
        return this.#chain(operator, "bitwise", "unary", left, right);
      case "logical_and":
        return this.#chain(operator, "and", "relational", left, right);
      case "logical_or":
        return this.#chain(operator, "or", "relational", left, right);
      case "add":
      case "sub":
        return this.#chain(operator, "add", "multiply", left, right);
      case "mul":
      case "div":
      case "rem":
        return this.#chain(operator, "multiply", "unary", left, right);
    }
  }

  /** Left-associative operators; bitwise and logical ones chain with themselves only. */
  #chain(operator: BinaryOperator, own: Level, inner: Level, left: Expr, right: Expr): Text {
    const first = this.#text(left);
    const joins = first.level === own && (own === "add" || own === "multiply" || first.operator === operator);
    const head = joins ? first.text : parenthesized(first, inner);
    const tail = parenthesized(this.#text(right), inner);
    return { text: `${head} ${symbols[operator]} ${tail}`, level: own, operator };
  }

  #shift(operator: BinaryOperator, left: Text, count: Expr): Text {
    const bits =
      count.kind === "literal" ? `${Number(count.value) & 31}u` : parenthesized(this.#asU32(count), "unary");
    return { text: `${parenthesized(left, "unary")} ${symbols[operator]} ${bits}`, level: "shift" };
  }

  /** The same bits as u32. */
  #asU32(value: Expr): Text {
    if (value.kind === "literal") return this.#literal("u32", value.value);
    return value.type === "u32" ? this.#text(value) : this.#convert(value, "u32");
  }

  #unary({ operator, type, operand }: Extract<Expr, { kind: "unary" }>): Text {
    // There is no minus on u32.
    if (operator === "neg" && type === "u32") {
      return { text: `0u - ${parenthesized(this.#text(operand), "multiply")}`, level: "add" };
    }
    const symbol = operator === "neg" ? "-" : operator === "not" ? "!" : "~";
    const text = parenthesized(this.#text(operand), "unary");
    return { text: text.startsWith("-") ? `${symbol}(${text})` : `${symbol}${text}`, level: "unary" };
  }

  #convert(operand: Expr, to: ValueType): Text {
    const from = operand.type;
    if (from === to) return this.#text(operand);
    if (to !== "i32" && to !== "u32" && to !== "f32") throw unsupported(`the type ${to}`);
    if (from === "f32") {
      const snippet = this.#scope.module.use(to === "i32" ? "f32_to_i32" : "f32_to_u32");
      return primary(`${snippet}(${this.#text(operand).text})`);
    }
    return primary(`${to}(${this.#text(operand).text})`);
  }

  #floatOfBits(bits: Expr): Text {
    if (bits.kind === "literal") {
      const word = Number(bits.value) >>> 0;
      if ((word & 0x7f800000) === 0x7f800000) return primary(this.#scope.module.specialFloat(word));
    }
    return primary(`bitcast<f32>(${this.#text(bits).text})`);
  }
}

const primary = (text: string): Text => ({ text, level: "primary" });
const signed = (text: string): Text => ({ text, level: text.startsWith("-") ? "unary" : "primary" });

/** Large words are mostly masks and patterns, which people read in hexadecimal. */
function wordText(word: number): string {
  return word <= 0xffff ? `${word}u` : `0x${word.toString(16).padStart(8, "0")}u`;
}

/** The text, in parentheses if it binds less tightly than the place asks. */
function parenthesized({ text, level: own }: Text, least: Level): string {
  return level[own] >= level[least] ? text : `(${text})`;
}

/** Bits of one narrow element, and how its index splits into a word and a position in it. */
function narrowShape(memory: Memory): {
  readonly bits: number;
  readonly perWordShift: number;
  readonly mask: number;
} {
  const bits = memory.element === "i8" || memory.element === "u8" ? 8 : 16;
  return { bits, perWordShift: bits === 8 ? 2 : 1, mask: bits === 8 ? 3 : 1 };
}

function loadFunction(memory: Memory, name: string): string {
  const { bits, perWordShift, mask } = narrowShape(memory);
  const place = memory.offset === undefined ? "u32(index)" : `u32(${memory.offset} + index)`;
  const word = `${memory.name}[at >> ${perWordShift}u]`;
  const value = memory.atomic ? `atomicLoad(&${word})` : word;
  const signed = memory.element.startsWith("i");
  const source = signed ? `bitcast<i32>(${value})` : value;
  const extracted = `extractBits(${source}, ${bits}u * (at & ${mask}u), ${bits}u)`;
  return `fn ${name}(index: i32) -> i32 {
  let at = ${place};
  return ${signed ? extracted : `i32(${extracted})`};
}`;
}

/** Other invocations may store the word's other elements at the same time. */
function storeFunction(memory: Memory, name: string): string {
  const { bits, perWordShift, mask } = narrowShape(memory);
  const place = memory.offset === undefined ? "u32(index)" : `u32(${memory.offset} + index)`;
  const ones = bits === 8 ? "0xffu" : "0xffffu";
  return `// Clears the element's bits and sets them anew; its neighbours in the word keep theirs.
fn ${name}(index: i32, value: i32) {
  let at = ${place};
  let shift = ${bits}u * (at & ${mask}u);
  let word = &${memory.name}[at >> ${perWordShift}u];
  atomicAnd(word, ~(${ones} << shift));
  atomicOr(word, (u32(value) & ${ones}) << shift);
}`;
}
