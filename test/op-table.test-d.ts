import { expectTypeOf, test } from "vitest";
import { makeNode } from "../ir/builder.ts";
import type { Node, Value } from "../ir/graph.ts";
import type { Attributes, OpDefinition, OpName } from "../ir/ops/index.ts";
import type { ScalarExpr } from "../ir/scalar.ts";

declare const x: Value;
declare const node: Node;

test("a table over ops with a missing rule does not compile", () => {
  type Table = { readonly [Name in OpName]: Name };
  // @ts-expect-error every op but one is missing
  const table: Table = { linear: "linear" };
  return table;
});

test("an op without a gradient slot does not compile", () => {
  const { gradient: _, ...rest } = {} as OpDefinition<"linear">;
  // @ts-expect-error a gap must be written down with a hint
  const definition: OpDefinition<"linear"> = rest;
  return definition;
});

test("attributes are typed by the op's schema", () => {
  expectTypeOf<Attributes<"linear">>().toEqualTypeOf<{ epilogue?: ScalarExpr | undefined }>();
  expectTypeOf<Attributes<"rms_norm">["eps"]>().toEqualTypeOf<number>();
  makeNode("slice", [x], { axis: 0, start: -1, size: 1 });
  // @ts-expect-error size is missing
  makeNode("slice", [x], { axis: 0, start: -1 });
  // @ts-expect-error not an op
  makeNode("slize", [x], {});
});

test("testing a node's op narrows its attributes", () => {
  if (node.op === "cast") expectTypeOf(node.attributes).toEqualTypeOf<Attributes<"cast">>();
});
