import type { SymbolExpr } from "../../runtime/manifest.ts";
import * as b from "../kernel/build.ts";
import type { Expr, KernelFunction, Stmt } from "../kernel/ir.ts";
import { bufferArgument, type GeneratedCall, i32Argument, type Place, storageType } from "./draft.ts";
import type { Lanes, TargetCode } from "./lanes.ts";
import { loopNest, type Position } from "./loop-nest.ts";
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
  readonly target: TargetCode;
  /** `prefix` keeps local names unique. Undefined where the body computes one element at a time only. */
  readonly body: (values: readonly Expr[], lanes: Lanes, prefix: string) => PointwiseBody | undefined;
}

export function pointwise(spec: Pointwise): GeneratedCall {
  const { operands, out } = spec;
  const wide = [...operands, out].every((place) => ["f32", "i32"].includes(storageType(place.dtype)));
  const strides: (readonly SymbolExpr[])[] = operands.map((place) => broadcastView(place, out.dims).strides);
  const nest = loopNest(out.dims, [...strides, out.strides], spec.target);
  const inputs = operands.map((place, i) => b.buffer(`x${i}`, storageType(place.dtype)));
  const result = b.buffer("out", storageType(out.dtype), "write");
  const types = [...inputs, result].map((buffer) => buffer.element).join(",");

  const build = (name: string): KernelFunction => {
    const helpers = new Map<string, KernelFunction>();
    const at = (position: Position): readonly Stmt[] | undefined => {
      const { lanes } = position;
      if (lanes.count > 1 && !wide) return undefined;
      const values = inputs.map((input, i) => lanes.load(input, position.index(i), position.repeats(i)));
      const made = spec.body(values, lanes, position.prefix);
      if (made === undefined) return undefined;
      for (const helper of made.helpers) helpers.set(helper.name, helper);
      return [...made.statements, lanes.store(result, position.index(inputs.length), made.result)];
    };
    const body = nest.emit(at);
    const parameters = [...inputs, result, ...nest.parameters, b.scalar("begin"), b.scalar("end")];
    return b.kernel(name, parameters, body, { helpers: [...helpers.values()] });
  };
  return {
    key: `${spec.template}:${spec.key}:${types}:${nest.pattern}`,
    name: spec.name,
    template: spec.template,
    build,
    arguments: [...[...operands, out].map(bufferArgument), ...nest.values.map(i32Argument)],
    range: nest.range,
  };
}
