import { isPure } from "../../kernel/fold.ts";
import { intrinsics } from "../../kernel/intrinsic-table.ts";
import type { Expr, ValueType } from "../../kernel/ir.ts";
import { type Call, ExpressionRenderer, type IntrinsicCall, type Select } from "../c-like/expressions.ts";
import { parenthesized, primary, type Text } from "../c-like/text.ts";
import { type Builtin, type Memory, type ModuleContext, unsupported } from "./module.ts";

const MAX_F32 = 3.4028234663852886e38;

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

export class WgslExpressions extends ExpressionRenderer {
  readonly #scope: FunctionScope;

  constructor(scope: FunctionScope) {
    super();
    this.#scope = scope;
  }

  protected unsupported(what: string): Error {
    return unsupported(what);
  }
  protected value(name: string): string {
    return this.#scope.value(name);
  }

  /** `x[i]` or, for narrow elements, a call. */
  protected load(buffer: string, index: Expr): string {
    const memory = this.#scope.memory(buffer);
    if (memory.narrow === undefined) return this.#element(memory, this.text(index));
    this.#scope.module.accessors.set(memory.narrow.load, loadFunction(memory, memory.narrow.load));
    return `${memory.narrow.load}(${this.text(index).text})`;
  }

  store(buffer: string, index: Expr, value: Expr): string {
    const memory = this.#scope.memory(buffer);
    if (memory.narrow === undefined) {
      return `${this.#element(memory, this.text(this.prepare(index)))} = ${this.render(value)}`;
    }
    this.#scope.module.accessors.set(memory.narrow.store, storeFunction(memory, memory.narrow.store));
    return `${memory.narrow.store}(${this.arguments([index, value].map((part) => this.prepare(part)))})`;
  }

  #element(memory: Memory, index: Text): string {
    if (memory.offset === undefined) return `${memory.name}[${index.text}]`;
    return `${memory.name}[${memory.offset} + ${parenthesized(index, "multiply")}]`;
  }

  protected call(expression: Call): string {
    const memories = expression.args.flatMap((argument) =>
      argument.kind === "buffer" ? [this.#scope.memory(argument.name)] : [],
    );
    const values = expression.args.flatMap((argument) => (argument.kind === "buffer" ? [] : [argument]));
    const callee = this.#scope.callee(expression.callee, memories);
    const given = callee.builtins.map((builtin) => this.#scope.builtin(builtin));
    const rest = values.length === 0 ? [] : [this.arguments(values)];
    return `${callee.name}(${[...given, ...rest].join(", ")})`;
  }

  protected intrinsic(expression: IntrinsicCall): Text {
    const { name, args, immediates } = expression;
    const { module } = this.#scope;
    const function_ = (wgsl: string) => primary(`${wgsl}(${this.arguments(args)})`);
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
        return primary(`${parenthesized(this.text(args[0]!), "primary")}.${"xyzw"[immediates[0]!]}`);
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
        return primary(`subgroupBroadcast(${this.text(args[0]!).text}, ${immediates[0]}u)`);
      case "workgroupBarrier":
        return function_(name);
      case "workgroupUniformLoad": {
        const memory = this.#scope.memory(expression.buffer!);
        return primary(`workgroupUniformLoad(&${this.#element(memory, this.text(args[0]!))})`);
      }
      default:
        throw unsupported(intrinsics.has(name) ? name : `the unknown intrinsic ${name}`);
    }
  }

  #subgroup(builtin: Builtin): string {
    this.#scope.module.usesSubgroups = true;
    return this.#scope.builtin(builtin);
  }

  protected override comparison(expression: Extract<Expr, { kind: "compare" }>): Text {
    const { operator, left } = expression;
    // WGSL's != may say that NaN equals everything.
    if (operator !== "ne" || left.type !== "f32") return super.comparison(expression);
    return { text: `!(${super.comparison({ ...expression, operator: "eq" }).text})`, level: "unary" };
  }

  protected choice({ kind, condition, ifTrue, ifFalse }: Select): Text {
    // Both sides are evaluated here, which only an effect could tell apart: loads cannot trap.
    if (kind === "conditional" && !(isPure(ifTrue) && isPure(ifFalse))) {
      throw unsupported("a conditional expression with effects", "Use an if statement.");
    }
    return primary(`select(${this.arguments([ifFalse, ifTrue, condition])})`);
  }

  protected override arguments(values: readonly Expr[]): string {
    return values
      .map((value, i) => {
        const text = this.text(value);
        // `f(a < b, c > d)` would be read as `f(a<b, c>(d))`.
        return i === values.length - 1 ? text.text : parenthesized(text, "shift");
      })
      .join(", ");
  }

  protected convert(operand: Expr, to: ValueType): Text {
    if (to !== "i32" && to !== "u32" && to !== "f32") throw unsupported(`the type ${to}`);
    if (operand.type === "f32") {
      const snippet = this.#scope.module.use(to === "i32" ? "f32_to_i32" : "f32_to_u32");
      return primary(`${snippet}(${this.text(operand).text})`);
    }
    return primary(`${to}(${this.text(operand).text})`);
  }

  protected decimal(value: number, shortest: string): string {
    // The largest floats' shortest decimals lie beyond them, which WGSL refuses.
    const text = Math.abs(Number(shortest)) > MAX_F32 ? String(value) : shortest;
    return /[.e]/.test(text) ? text : `${text}.0`;
  }

  protected specialFloat(bits: number): string {
    return this.#scope.module.specialFloat(bits);
  }

  #floatOfBits(bits: Expr): Text {
    if (bits.kind === "literal") {
      const word = Number(bits.value) >>> 0;
      if ((word & 0x7f800000) === 0x7f800000) return primary(this.specialFloat(word));
    }
    return primary(`bitcast<f32>(${this.text(bits).text})`);
  }
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
