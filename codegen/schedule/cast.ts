import type { DType } from "../../ir/types.ts";
import * as b from "../kernel/build.ts";
import type { Expr, Stmt } from "../kernel/ir.ts";
import type { GeneratedCall, Place } from "./draft.ts";
import type { Lanes, TargetCode } from "./lanes.ts";
import { pointwise } from "./pointwise.ts";

/**
 * out = x in another dtype: to floats by rounding to nearest even, to integers by truncation with saturation,
 * to bool by x != 0.
 */
export function castCall(x: Place, out: Place, target: TargetCode): GeneratedCall {
  return pointwise({
    template: "movement",
    name: `cast_${x.dtype}_${out.dtype}`,
    key: `cast ${x.dtype} ${out.dtype}`,
    operands: [x],
    out,
    target,
    body: ([value], lanes, prefix) => {
      if (lanes.count > 1) {
        const result = castLanes(value!, x.dtype, out.dtype, lanes);
        return result && { statements: [], result, helpers: [] };
      }
      const code = new Code(prefix);
      const result = encode(decode(value!, x.dtype, code), out.dtype, code);
      return { statements: code.statements, result, helpers: [] };
    },
  });
}

/** Straight-line code under construction. */
class Code {
  readonly statements: Stmt[] = [];
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  keep(value: Expr): Expr {
    const name = `${this.#prefix}${this.statements.length}`;
    const statement = b.let_(name, value);
    this.statements.push(statement);
    return b.local(name, statement.kind === "let" ? statement.type : "i32");
  }
}

function castLanes(value: Expr, from: DType, to: DType, lanes: Lanes): Expr | undefined {
  if (from === "i32" && to === "f32") return lanes.toF32(value);
  if (from === "f32" && to === "i32") return lanes.toI32(value);
  return undefined;
}

/** A loaded element as an f32, i32 or u32. */
function decode(value: Expr, from: DType, code: Code): Expr {
  if (from === "bf16") return b.intrinsic("bits.i32ToF32", [b.binary("shl", value, b.i32(16))]);
  return from === "f16" ? decodeF16(code.keep(value), code) : value;
}

/** An f32, i32 or u32 as what is stored for an element. */
function encode(value: Expr, to: DType, code: Code): Expr {
  switch (to) {
    case "f32":
      return b.convert("f32", value);
    case "f16":
      return encodeF16(b.convert("f32", value), code);
    case "bf16":
      return encodeBf16(b.convert("f32", value), code);
    case "i32":
      return toI32(value, code);
    case "u32":
      return toU32(value, code);
    case "i8":
      return clamp(toI32(value, code), -128, 127, code);
    case "u8":
      return clamp(toI32(value, code), 0, 255, code);
    case "bool":
      return b.select(b.ne(value, zeroOf(value)), b.i32(1), b.i32(0));
  }
}

function zeroOf(value: Expr): Expr {
  return b.literal(value.type === "f32" ? "f32" : value.type === "u32" ? "u32" : "i32", 0);
}

function toI32(value: Expr, code: Code): Expr {
  if (value.type !== "u32") return b.convert("i32", value);
  const whole = code.keep(value);
  const largest = b.literal("u32", 2 ** 31 - 1);
  return b.convert("i32", b.select(b.gt(whole, largest), largest, whole));
}

function toU32(value: Expr, code: Code): Expr {
  if (value.type !== "i32") return b.convert("u32", value);
  const whole = code.keep(value);
  return b.convert("u32", b.select(b.lt(whole, b.i32(0)), b.i32(0), whole));
}

function clamp(value: Expr, low: number, high: number, code: Code): Expr {
  const whole = code.keep(value);
  const raised = code.keep(b.select(b.lt(whole, b.i32(low)), b.i32(low), whole));
  return b.select(b.gt(raised, b.i32(high)), b.i32(high), raised);
}

const and = (x: Expr, mask: number) => b.binary("and", x, b.i32(mask));
const or = (x: Expr, y: Expr) => b.binary("or", x, y);
const shl = (x: Expr, count: number) => b.binary("shl", x, b.i32(count));
const shr = (x: Expr, count: number) => b.binary("shr_logical", x, b.i32(count));
const bitsOf = (x: Expr) => b.intrinsic("bits.f32ToI32", [x]);

/** The f32 of a binary16's bits; exact. */
function decodeF16(half: Expr, code: Code): Expr {
  const sign = shl(and(half, 0x8000), 16);
  const magnitude = code.keep(and(half, 0x7fff));
  const normal = b.add(shl(magnitude, 13), b.i32(112 << 23));
  const special = or(shl(magnitude, 13), b.i32(0x7f800000));
  const subnormal = bitsOf(b.mul(b.convert("f32", magnitude), b.f32(2 ** -24)));
  const finite = b.select(b.lt(magnitude, b.i32(0x0400)), subnormal, normal);
  const wide = b.select(b.lt(magnitude, b.i32(0x7c00)), finite, special);
  return b.intrinsic("bits.i32ToF32", [or(sign, wide)]);
}

/** The bits of the nearest binary16, ties to even; beyond 65519 infinity. */
function encodeF16(value: Expr, code: Code): Expr {
  const bits = code.keep(bitsOf(value));
  const sign = and(shr(bits, 16), 0x8000);
  const magnitude = code.keep(and(bits, 0x7fffffff));
  const scaled = b.mul(b.intrinsic("bits.i32ToF32", [magnitude]), b.f32(2 ** 24));
  const subnormal = b.convert("i32", b.intrinsic("math.nearest", [scaled]));
  const rebiased = code.keep(b.sub(magnitude, b.i32(112 << 23)));
  const odd = and(shr(rebiased, 13), 1);
  const normal = shr(b.add(b.add(rebiased, b.i32(0xfff)), odd), 13);
  const finite = b.select(b.lt(magnitude, b.i32(0x38800000)), subnormal, normal);
  const bounded = b.select(b.ge(magnitude, b.i32(0x477ff000)), b.i32(0x7c00), finite);
  return or(sign, b.select(b.gt(magnitude, b.i32(0x7f800000)), b.i32(0x7e00), bounded));
}

/** The bits of the nearest bfloat16, ties to even. */
function encodeBf16(value: Expr, code: Code): Expr {
  const bits = code.keep(bitsOf(value));
  const odd = and(shr(bits, 16), 1);
  const rounded = and(shr(b.add(b.add(bits, b.i32(0x7fff)), odd), 16), 0xffff);
  const nan = or(shr(bits, 16), b.i32(0x40));
  return b.select(b.gt(and(bits, 0x7fffffff), b.i32(0x7f800000)), nan, rounded);
}
