import { z } from "zod";
import {
  type BinaryDefinition,
  type BinaryFunction,
  binaryFunctions,
  type UnaryDefinition,
  type UnaryFunction,
  unaryFunctions,
} from "../scalar.ts";
import { allocate, sizeOf } from "../tensor.ts";
import { broadcast, type Dim, dense } from "../types.ts";
import { broadcastReader } from "./broadcast.ts";
import { noAttributes, type Op, type Site, scalarExprSchema } from "./define.ts";
import { expressionGradients, functionGradients } from "./elementwise-gradient.ts";
import { applyEpilogue, requireScalar } from "./epilogue.ts";

/** The op of a one-argument scalar function, on every element of x. */
function unaryOp(fn: UnaryFunction, definition: UnaryDefinition): Op<typeof noAttributes> {
  return {
    summary: `Elementwise ${definition.formula}.`,
    operands: ["x"],
    attributes: noAttributes,
    infer([x], _attributes, site) {
      if (fn === "to_f32") site.requireDense(0, "f32", "i32");
      else site.requireDense(0, "f32");
      return [dense("f32", x!.dims)];
    },
    evaluate([x], _attributes, [type]) {
      return [{ type: type!, data: Float32Array.from(x!.data, definition.evaluate) }];
    },
    gradient: ({ operands, gradients: [g], emit }) => functionGradients(fn, operands, g!, emit),
  };
}

/** The op of a two-argument scalar function, with numpy broadcasting. */
function binaryOp(fn: BinaryFunction, definition: BinaryDefinition): Op<typeof noAttributes> {
  return {
    summary: `Elementwise ${definition.formula}, with broadcasting${definition.integer ? "; f32 or i32" : ""}.`,
    operands: ["a", "b"],
    attributes: noAttributes,
    infer([a, b], _attributes, site) {
      if (definition.integer) site.requireDense(0, "f32", "i32");
      else site.requireDense(0, "f32");
      if (b!.encoding || b!.dtype !== a!.dtype) site.dtype(`a and b of one dtype, here ${a!.dtype}`);
      return [dense(a!.dtype, broadcastAll([a!.dims, b!.dims], site))];
    },
    evaluate([a, b], _attributes, [type]) {
      const compute = type!.dtype === "i32" ? definition.integer! : definition.evaluate;
      const data = allocate(type!.dtype, sizeOf(type!.dims));
      const left = broadcastReader(a!, type!.dims);
      const right = broadcastReader(b!, type!.dims);
      for (let i = 0; i < data.length; i++) data[i] = compute(left(i), right(i));
      return [{ type: type!, data }];
    },
    gradient: ({ operands, gradients: [g], emit }) => functionGradients(fn, operands, g!, emit),
  };
}

function broadcastAll(shapes: readonly (readonly Dim[])[], site: Site): readonly Dim[] {
  return broadcast(...shapes) ?? site.shape("shapes that broadcast together");
}

type Elementwise = { readonly [F in UnaryFunction | BinaryFunction]: Op<typeof noAttributes> };

/** One op for each scalar function, under the function's name. */
export const elementwiseOps = Object.fromEntries([
  ...Object.entries(unaryFunctions).map(([fn, definition]) => [fn, unaryOp(fn as UnaryFunction, definition)]),
  ...Object.entries(binaryFunctions).map(([fn, definition]) => [
    fn,
    binaryOp(fn as BinaryFunction, definition),
  ]),
]) as Elementwise;

const attributes = z.strictObject({
  /** Over the operands `x0`, `x1`, …; its value is f32. */
  expr: scalarExprSchema,
});

/** Operands f32 (or i32 read through to_f32), broadcast together -> f32. What fusing elementwise ops leaves. */
export const elementwise: Op<typeof attributes> = {
  summary: "One scalar expression over several operands at every element, with broadcasting.",
  operands: ["x", "others..."],
  attributes,
  infer(operands, { expr }, site) {
    requireScalar(expr, undefined, operands, site);
    const dims = broadcastAll(
      operands.map((operand) => operand.dims),
      site,
    );
    return [dense("f32", dims)];
  },
  evaluate(operands, { expr }, [type]) {
    return [{ type: type!, data: applyEpilogue(expr, undefined, operands, type!) }];
  },
  gradient: ({ operands, attributes: { expr }, gradients: [g], emit }) =>
    expressionGradients(expr, operands, g!, emit),
};
