/**
 * The shape rules in the type system: what each function does to the dims of its tensors. A dim that is
 * only known as `number` or `string` stays unknown here and is checked when the model is traced.
 */
import type { Dim } from "../../ir/types.ts";
import type { Add, AtMost, Multiply, Sum } from "./decimal-types.ts";

export type { Dim };
export type Dims = readonly Dim[];

/** A parameter of this type accepts nothing; its message is what the compiler prints. */
export interface ShapeError<Message extends string> {
  readonly shapeError: Message;
}

/** Dims as people write them: `[batch, 784]`. */
export type Show<S extends Dims> = `[${Join<S>}]`;
type Join<S extends Dims> = S extends readonly [infer First extends Dim]
  ? `${First}`
  : S extends readonly [infer First extends Dim, ...infer Rest extends Dims]
    ? `${First}, ${Join<Rest>}`
    : number extends S["length"]
      ? "..."
      : "";

/** `readonly` tuples arrive from `const` type parameters; tensors carry plain ones. */
export type Plain<S extends Dims> = [...S];

/** Whether the number of axes is not known to the type system. */
type UnknownRank<S extends Dims> = number extends S["length"] ? true : false;

/** Whether a dim is only known to be some number, or some name. */
type IsWide<D extends Dim> = number extends D ? true : string extends D ? true : false;

// Broadcasting: axes are aligned at the right, a missing axis or a 1 stretches (the rule of numpy).

/** The dims of an elementwise result, or `never` when the two do not broadcast. */
export type Broadcast<A extends Dims, B extends Dims> =
  UnknownRank<A> extends true ? Dim[] : UnknownRank<B> extends true ? Dim[] : BroadcastFromRight<A, B>;

type BroadcastFromRight<A extends Dims, B extends Dims, Out extends Dims = []> = A extends readonly [
  ...infer RestA extends Dims,
  infer X extends Dim,
]
  ? B extends readonly [...infer RestB extends Dims, infer Y extends Dim]
    ? [BroadcastDim<X, Y>] extends [never]
      ? never
      : BroadcastFromRight<RestA, RestB, [BroadcastDim<X, Y>, ...Out]>
    : [...A, ...Out]
  : [...B, ...Out];

type BroadcastDim<X extends Dim, Y extends Dim> = [X, Y] extends [Y, X]
  ? X
  : [X] extends [1]
    ? Y
    : [Y] extends [1]
      ? X
      : number extends X
        ? Y
        : number extends Y
          ? X
          : string extends X
            ? Y
            : string extends Y
              ? X
              : never;

// Axes.

/** The axes of a tensor, counted from the front (0, 1, …) or the back (-1, -2, …). */
export type Axis<S extends Dims> = -1 | (UnknownRank<S> extends true ? number : FrontAxis<S> | BackAxis<S>);
/** The same axes, as `Axes<S>[Axis<S>]`: error messages spell such a union out, and name one that has a name. */
export type Axes<S extends Dims> = { [A in Axis<S>]: A };
type Indices<S extends Dims> = Extract<keyof S, `${number}`>;
type FrontAxis<S extends Dims> = Indices<S> extends `${infer I extends number}` ? I : never;
type BackAxis<S extends Dims> = S extends readonly [Dim, ...infer Rest extends Dims]
  ? Negative<S["length"]> | BackAxis<Rest>
  : never;
type Negative<N extends number> = `-${N}` extends `${infer M extends number}` ? M : never;

/** Replaces one axis by `By` (a list of dims, empty to drop the axis). */
export type ReplaceAxis<S extends Dims, A extends number, By extends Dims> =
  UnknownRank<S> extends true
    ? Dim[]
    : number extends A
      ? Dim[]
      : `${A}` extends `-${infer Back extends number}`
        ? ReplaceFromBack<S, Back, By>
        : ReplaceFromFront<S, A, By>;

type ReplaceFromFront<
  S extends Dims,
  A extends number,
  By extends Dims,
  Seen extends Dims = [],
> = S extends readonly [infer X extends Dim, ...infer Rest extends Dims]
  ? Seen["length"] extends A
    ? [...Seen, ...By, ...Rest]
    : ReplaceFromFront<Rest, A, By, [...Seen, X]>
  : Dim[];

type ReplaceFromBack<
  S extends Dims,
  A extends number,
  By extends Dims,
  Seen extends Dims = [],
> = S extends readonly [...infer Rest extends Dims, infer X extends Dim]
  ? [X, ...Seen]["length"] extends A
    ? [...Rest, ...By, ...Seen]
    : ReplaceFromBack<Rest, A, By, [X, ...Seen]>
  : Dim[];

/** Dims after a reduction over one axis. */
export type Reduce<S extends Dims, A extends number, Keep extends boolean> = ReplaceAxis<
  S,
  A,
  Keep extends true ? [1] : []
>;

/** The length of one axis. */
export type DimAt<S extends Dims, A extends number> = `${A}` extends `-${infer Back extends number}`
  ? FromBack<S, Back>
  : S[A];
type FromBack<S extends Dims, A extends number, Seen extends Dims = []> = S extends readonly [
  ...infer Rest extends Dims,
  infer X extends Dim,
]
  ? [X, ...Seen]["length"] extends A
    ? X
    : FromBack<Rest, A, [X, ...Seen]>
  : Dim;

// Reshape: the literal lengths must have equal products, and the names must be the same ones.

interface Volume<Product extends number = number, Names extends Dims = Dims> {
  readonly product: Product;
  readonly names: Names;
}
type VolumeOf<S extends Dims, P extends number = 1, Names extends Dims = []> = S extends readonly [
  infer X extends Dim,
  ...infer Rest extends Dims,
]
  ? X extends number
    ? VolumeOf<Rest, Multiply<P, X>, Names>
    : VolumeOf<Rest, P, [...Names, X]>
  : Volume<P, Names>;

type HasWide<S extends Dims> =
  UnknownRank<S> extends true
    ? true
    : S extends readonly [infer X extends Dim, ...infer Rest extends Dims]
      ? IsWide<X> extends true
        ? true
        : HasWide<Rest>
      : false;

type WithoutOne<S extends Dims, N extends Dim, Seen extends Dims = []> = S extends readonly [
  infer X extends Dim,
  ...infer Rest extends Dims,
]
  ? [X] extends [N]
    ? [...Seen, ...Rest]
    : WithoutOne<Rest, N, [...Seen, X]>
  : never;
type SameNames<A extends Dims, B extends Dims> = A extends readonly [
  infer X extends Dim,
  ...infer Rest extends Dims,
]
  ? [WithoutOne<B, X>] extends [never]
    ? false
    : SameNames<Rest, WithoutOne<B, X>>
  : B extends readonly []
    ? true
    : false;

/** `unknown` when a tensor of dims `From` can be read as `To`, an error otherwise. */
export type CheckReshape<From extends Dims, To extends Dims> =
  HasWide<From> extends true
    ? unknown
    : HasWide<To> extends true
      ? unknown
      : [VolumeOf<From>, VolumeOf<To>] extends [
            Volume<infer P, infer NamesFrom>,
            Volume<infer Q, infer NamesTo>,
          ]
        ? [[P] extends [Q] ? true : false, SameNames<NamesFrom, NamesTo>] extends [true, true]
          ? unknown
          : ShapeError<`cannot reshape ${Show<From>} to ${Show<To>}: the number of elements differs`>
        : never;

// Slice.

/** `unknown` when the range lies within a literal axis, or when one of the numbers is not known. */
export type CheckSlice<S extends Dims, A extends number, Start extends number, Size extends number> =
  DimAt<S, A> extends infer Length extends number
    ? RangeFits<Length, Start, Size> extends false
      ? ShapeError<`start ${Start} and size ${Size} reach beyond the ${Length} elements of axis ${A}`>
      : unknown
    : unknown;
type RangeFits<
  Length extends number,
  Start extends number,
  Size extends number,
> = `${Start}` extends `-${infer Back extends number}`
  ? AtMost<Size, Back> extends false
    ? false
    : AtMost<Back, Length>
  : AtMost<Add<Start, Size>, Length>;

// Transpose.

/** Axis i of the result is axis permutation[i] of the tensor. */
export type Permute<S extends Dims, P extends readonly number[]> =
  UnknownRank<S> extends true ? Dim[] : { -readonly [I in keyof P]: S[P[I]] };

/** `unknown` when `P` names every axis of `S` once. */
export type CheckPermutation<S extends Dims, P extends readonly number[]> =
  UnknownRank<S> extends true
    ? unknown
    : number extends P["length"]
      ? unknown
      : [P["length"], FrontAxis<S>] extends [S["length"], P[number]]
        ? unknown
        : ShapeError<`a permutation of ${Show<S>} names each of its ${S["length"]} axes once`>;

// Concat.

/** Dims of tensors joined along one axis: its lengths add up, the other axes are those of the first. */
export type Concat<All extends readonly Dims[], A extends number> = All extends readonly [
  infer First extends Dims,
  ...Dims[],
]
  ? ReplaceAxis<First, A, [Sum<LengthsAt<All, A>>]>
  : Dim[];
type LengthsAt<All extends readonly Dims[], A extends number> = {
  [I in keyof All]: Extract<DimAt<All[I], A>, number>;
};

/** `unknown` when all tensors agree outside of the axis, an error that names the odd one otherwise. */
export type CheckConcat<All extends readonly Dims[], A extends number> = All extends readonly [
  infer First extends Dims,
  infer Second extends Dims,
  ...infer Rest extends Dims[],
]
  ? Compatible<ReplaceAxis<First, A, []>, ReplaceAxis<Second, A, []>> extends true
    ? CheckConcat<[First, ...Rest], A>
    : ShapeError<`cannot concat ${Show<First>} and ${Show<Second>} along axis ${A}`>
  : unknown;

type Compatible<A extends Dims, B extends Dims> =
  HasWide<A> extends true ? true : HasWide<B> extends true ? true : [A, B] extends [B, A] ? true : false;
