import { isPure } from "../../kernel/fold.ts";
import { intrinsics } from "../../kernel/intrinsic-table.ts";
import type { BinaryOperator, Expr, ValueType } from "../../kernel/ir.ts";
import { walk } from "../../kernel/walk.ts";
import { type Call, ExpressionRenderer, type IntrinsicCall, type Select } from "../c-like/expressions.ts";
import { compound } from "../c-like/statements.ts";
import { parenthesized, primary, type Text } from "../c-like/text.ts";
import { isInteger, lowerExpression, WARP } from "./lower.ts";
import type { Snippet } from "./snippets.ts";
import { unsupported } from "./types.ts";

/** What the function being rendered offers to its expressions. */
export interface FunctionScope {
  value(name: string): string;
  memory(buffer: string): string;
  /** The name of a helper function in the output. */
  callee(name: string): string;
  use(snippet: Snippet): Snippet;
  /** @throws where blocks are not whole warps */
  useWarps(): void;
}

const ALL_LANES = "0xffffffffu";

/** Functions of CUDA that are intrinsics of the kernel IR. */
const functions: Readonly<Record<string, string>> = {
  "bits.f32ToI32": "__float_as_int",
  "bits.f32ToU32": "__float_as_uint",
  "bits.i32ToF32": "__int_as_float",
  "bits.u32ToF32": "__uint_as_float",
  "math.sqrt": "__fsqrt_rn",
  "math.abs": "fabsf",
  "math.floor": "floorf",
  "math.nearest": "rintf",
  inverseSqrt: "__frsqrt_rn",
  u32x4: "make_uint4",
  workgroupBarrier: "__syncthreads",
};
const snippetFunctions: Readonly<Record<string, Snippet>> = {
  "math.max": "maximum",
  "math.min": "minimum",
  subgroupAdd: "warp_add",
  subgroupMax: "warp_max",
  subgroupMin: "warp_min",
  subgroupMatrixMultiply: "warp_multiply",
};
const builtins: Readonly<Record<string, string>> = {
  workgroupId: "blockIdx.x",
  workgroupIdY: "blockIdx.y",
  workgroupCount: "gridDim.x",
  localId: "threadIdx.x",
};

/** Operators that compute in u32 where one operand is u32 and the other i32. */
const mixing: ReadonlySet<BinaryOperator> = new Set(["add", "sub", "mul", "and", "or", "xor"]);

/**
 * Products of floats are `__fmul_rn`, which no compiler contracts with a sum; sums may then be operators. An
 * expression of type i32 or u32 has that type in C++ too; where either will do, conversions between them are left out.
 */
export class CudaExpressions extends ExpressionRenderer {
  readonly #scope: FunctionScope;

  constructor(scope: FunctionScope) {
    super();
    this.#scope = scope;
  }

  /** For a place that has a type of its own. */
  override render(expression: Expr): string {
    return this.#implicit(this.prepare(expression)).text;
  }

  store(buffer: string, index: Expr, value: Expr): string {
    return `${this.load(buffer, this.prepare(index))} = ${this.render(value)}`;
  }

  /** `x = value`, or shorter: `x += 4u`. */
  assignment(name: string, value: Expr): string {
    const target = this.#scope.value(name);
    const whole = withoutCast(this.prepare(value));
    if (whole.kind === "binary") {
      const left = withoutCast(whole.left);
      const symbol = compound[whole.operator];
      const isProduct = whole.type === "f32" && (whole.operator === "mul" || whole.operator === "div");
      if (left.kind === "ref" && left.name === name && symbol !== undefined && !isProduct) {
        return `${target} ${symbol} ${this.text(whole.right).text}`;
      }
    }
    return `${target} = ${this.text(whole).text}`;
  }

  protected override prepare(expression: Expr): Expr {
    return lowerExpression(expression);
  }
  protected value(name: string): string {
    return this.#scope.value(name);
  }
  protected unsupported(what: string): Error {
    return unsupported(what);
  }

  #implicit(expression: Expr): Text {
    return this.text(withoutCast(expression));
  }

  protected load(buffer: string, index: Expr): string {
    return `${this.#scope.memory(buffer)}[${this.#implicit(index).text}]`;
  }

  protected call({ callee, args }: Call): string {
    const given = args.map((argument) =>
      argument.kind === "buffer" ? this.#scope.memory(argument.name) : this.#implicit(argument).text,
    );
    return `${this.#scope.callee(callee)}(${given.join(", ")})`;
  }

  protected intrinsic({ name, args, immediates, buffer }: IntrinsicCall): Text {
    const function_ = (called: string) => primary(`${called}(${this.arguments(args)})`);
    if (name.startsWith("subgroup")) this.#scope.useWarps();
    if (name in functions) return function_(functions[name]!);
    if (name in snippetFunctions) return function_(this.#scope.use(snippetFunctions[name]!));
    if (name in builtins) return primary(builtins[name]!);
    switch (name) {
      case "component":
        return primary(`${parenthesized(this.text(args[0]!), "primary")}.${"xyzw"[immediates[0]!]}`);
      case "dot4I8Packed": {
        const sum = args.length === 2 ? ", 0" : "";
        return primary(`${this.#scope.use("dot4")}(${this.arguments(args)}${sum})`);
      }
      case "subgroupShuffleXor":
        return primary(`__shfl_xor_sync(${ALL_LANES}, ${this.arguments(args)})`);
      case "subgroupBroadcast":
        return primary(`__shfl_sync(${ALL_LANES}, ${this.arguments(args)}, ${immediates[0]! % WARP})`);
      case "workgroupUniformLoad":
        return primary(`${this.#scope.use("uniform_load")}(&${this.load(buffer!, args[0]!)})`);
      default:
        throw unsupported(intrinsics.has(name) ? name : `the unknown intrinsic ${name}`);
    }
  }

  protected choice({ kind, condition, ifTrue, ifFalse }: Select): Text {
    if (kind === "select" && ![ifTrue, ifFalse].every((side) => isPure(side) && !meets(side))) {
      throw unsupported("a select of effects", "Both sides have to be evaluated: keep them in locals.");
    }
    const parts = [condition, ifTrue, ifFalse].map((part) => parenthesized(this.text(part), "or"));
    return { text: `${parts[0]} ? ${parts[1]} : ${parts[2]}`, level: "conditional" };
  }

  protected convert(operand: Expr, to: ValueType): Text {
    const text = this.text(operand).text;
    if (to === "f32") return primary(`float(${text})`);
    if (to !== "i32" && to !== "u32") throw unsupported(`the type ${to}`);
    if (operand.type === "f32")
      return primary(`${to === "i32" ? "__float2int_rz" : "__float2uint_rz"}(${text})`);
    return primary(`${to}(${text})`);
  }

  protected override binary(expression: Extract<Expr, { kind: "binary" }>): Text {
    const { operator, type, left, right } = expression;
    if (type === "f32" && (operator === "mul" || operator === "div")) {
      return primary(`${operator === "mul" ? "__fmul_rn" : "__fdiv_rn"}(${this.arguments([left, right])})`);
    }
    if (type === "u32" && mixing.has(operator)) {
      if (isCast(right)) return super.binary({ ...expression, right: right.operand });
      if (isCast(left)) return super.binary({ ...expression, left: left.operand });
    }
    return super.binary(expression);
  }

  protected override shiftCount(count: Expr): string {
    if (count.kind === "literal") return String(Number(count.value) & 31);
    return `(${parenthesized(this.#implicit(count), "unary")} & 31)`;
  }

  protected override integer(type: "i32" | "u32", value: number): Text {
    // -2147483648 is a minus and a number that no int holds.
    if (type === "i32" && value === -0x80000000) return primary("i32(0x80000000u)");
    return super.integer(type, value);
  }

  protected decimal(_: number, shortest: string): string {
    return /[.e]/.test(shortest) ? `${shortest}f` : `${shortest}.0f`;
  }

  protected specialFloat(bits: number): string {
    return `__uint_as_float(0x${bits.toString(16)}u)`;
  }
}

/** Whether threads exchange values in it. */
function meets(expression: Expr): boolean {
  let found = false;
  const see = (e: Expr) => {
    found ||= e.kind === "intrinsic" && intrinsics.get(e.name)!.workgroup && e.args.length > 0;
  };
  walk([{ kind: "expr", expression }], { expression: see });
  return found;
}

/** Whether it is a conversion between i32 and u32, which C++ does by itself. */
function isCast(e: Expr): e is Extract<Expr, { kind: "convert" }> {
  return e.kind === "convert" && e.type !== e.operand.type && isInteger(e.type) && isInteger(e.operand.type);
}

function withoutCast(e: Expr): Expr {
  return isCast(e) ? e.operand : e;
}
