import type { SymbolExpr } from "../../runtime/manifest.ts";
import * as b from "../kernel/build.ts";
import type { BufferParameter, Expr, KernelFunction, Stmt } from "../kernel/ir.ts";
import { bufferArgument, type GeneratedCall, i32Argument, type Place, storageType } from "./draft.ts";
import { loopNest, type Position } from "./loop-nest.ts";
import type { Width } from "./scalar-code.ts";
import { broadcastView } from "./view.ts";

/** What to compute at one position from the operands' elements there. */
export interface PointwiseBody {
  readonly statements: readonly Stmt[];
  readonly result: Expr;
  readonly helpers: readonly KernelFunction[];
}

/** A kernel that makes each element of `out` from one element of each operand, broadcast to out's shape. */
export interface Pointwise {
  readonly template: string;
  readonly name: string;
  /** Identity of the body, without operand types and strides. */
  readonly key: string;
  readonly operands: readonly Place[];
  readonly out: Place;
  /** `prefix` keeps local names unique. Undefined where the body has no vector form. */
  readonly body: (values: readonly Expr[], width: Width, prefix: string) => PointwiseBody | undefined;
}

export function pointwise(spec: Pointwise): GeneratedCall {
  const { operands, out } = spec;
  const wide = [...operands, out].every((place) => ["f32", "i32"].includes(storageType(place.dtype)));
  const strides: (readonly SymbolExpr[])[] = operands.map((place) => broadcastView(place, out.dims).strides);
  const nest = loopNest(out.dims, [...strides, out.strides]);
  const inputs = operands.map((place, i) => b.buffer(`x${i}`, storageType(place.dtype)));
  const target = b.buffer("out", storageType(out.dtype), "write");
  const types = [...inputs, target].map((buffer) => buffer.element).join(",");

  const build = (name: string): KernelFunction => {
    const helpers = new Map<string, KernelFunction>();
    const at = (position: Position): readonly Stmt[] | undefined => {
      if (position.width === "vector" && !wide) return undefined;
      const values = inputs.map((input, i) => loadAt(input, position, i));
      const made = spec.body(values, position.width, position.prefix);
      if (made === undefined) return undefined;
      for (const helper of made.helpers) helpers.set(helper.name, helper);
      const index = position.index(inputs.length);
      const write =
        position.width === "vector"
          ? b.effect(b.intrinsic("v128.store", [index, made.result], { buffer: target }))
          : b.store(target, index, made.result);
      return [...made.statements, write];
    };
    const body = nest.emit(at);
    const parameters = [...inputs, target, ...nest.parameters, b.scalar("begin"), b.scalar("end")];
    return b.kernel(name, parameters, body, { helpers: [...helpers.values()] });
  };
  return {
    key: `${spec.template}:${spec.key}:${types}:${nest.pattern}`,
    name: spec.name,
    template: spec.template,
    build,
    arguments: [...operands, out].map(bufferArgument).concat(nest.values.map(i32Argument)),
    range: nest.range,
  };
}

function loadAt(from: BufferParameter, position: Position, operand: number): Expr {
  const index = position.index(operand);
  if (position.width === "scalar") return b.load(from, index);
  return b.intrinsic(position.repeats(operand) ? "v128.load32Splat" : "v128.load", [index], { buffer: from });
}
