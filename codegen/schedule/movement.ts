import type { SymbolExpr } from "../../runtime/manifest.ts";
import * as b from "../kernel/build.ts";
import type { KernelFunction } from "../kernel/ir.ts";
import { bufferArgument, type GeneratedCall, i32Argument, type Place, storageType } from "./draft.ts";
import type { TargetCode } from "./lanes.ts";
import { pointwise } from "./pointwise.ts";
import { rowsOf } from "./view.ts";

/** out = x, element by element, for any two arrangements of one dtype; x broadcasts to out's shape. */
export function copyCall(x: Place, out: Place, target: TargetCode): GeneratedCall {
  return pointwise({
    template: "movement",
    name: `copy_${storageType(x.dtype)}`,
    key: "copy",
    operands: [x],
    out,
    target,
    body: ([value]) => ({ statements: [], result: value!, helpers: [] }),
  });
}

/** out = a length as f32, one element. */
export function lengthCall(length: SymbolExpr, out: Place): GeneratedCall {
  const build = (name: string): KernelFunction => {
    const target = b.buffer("out", "f32", "write");
    const value = b.scalar("length");
    const item = b.local("item", "i32");
    const body = [b.store(target, item, b.convert("f32", b.ref(value)))];
    return b.kernel(
      name,
      [target, value, b.scalar("begin"), b.scalar("end")],
      [b.forRange("item", b.local("begin", "i32"), b.local("end", "i32"), body)],
    );
  };
  return {
    key: "movement:length",
    name: "axis_length",
    template: "movement",
    build,
    arguments: [bufferArgument(out), i32Argument(length)],
    range: 1,
  };
}

/**
 * Copies rows of i8 codes to rows padded with zeros, as ternary matmuls read them. Both are matrices with
 * unit column stride.
 */
export function padRowsCall(x: Place, out: Place, padded: number): GeneratedCall {
  const [from, to] = [rowsOf(x)!, rowsOf(out)!];
  const build = (name: string): KernelFunction => {
    const source = b.buffer("x", "i8");
    const target = b.buffer("out", "i8", "write");
    const [columns, width, stride] = ["columns", "width", "stride"].map((n) => b.scalar(n));
    const item = b.local("item", "i32");
    const column = b.local("c", "i32");
    const at = b.add(b.mul(item, b.ref(width!)), column);
    const row = [
      b.forRange("c", b.i32(0), b.ref(columns!), [
        b.store(target, at, b.load(source, b.add(b.mul(item, b.ref(stride!)), column))),
      ]),
      b.forRange("t", b.ref(columns!), b.ref(width!), [
        b.store(target, b.add(b.mul(item, b.ref(width!)), b.local("t", "i32")), b.i32(0)),
      ]),
    ];
    const parameters = [source, target, columns!, width!, stride!, b.scalar("begin"), b.scalar("end")];
    return b.kernel(name, parameters, [
      b.forRange("item", b.local("begin", "i32"), b.local("end", "i32"), row),
    ]);
  };
  return {
    key: "movement:pad rows",
    name: "pad_rows_i8",
    template: "movement",
    build,
    arguments: [
      bufferArgument(x),
      bufferArgument(out),
      i32Argument(from.columns),
      i32Argument(padded),
      i32Argument(from.rowStride),
    ],
    range: to.rows,
  };
}
