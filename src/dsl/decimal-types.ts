/**
 * Exact decimal arithmetic on number literals in the type system, for the lengths of concatenated axes and
 * the sizes of reshaped tensors. Schoolbook addition on digit strings, least significant digit first, so
 * the cost grows with the number of digits and not with the number. What is not a literal natural number
 * gives `number`.
 */

/** `Add<256, 512>` is `768`. */
export type Add<A extends number, B extends number> =
  Natural<A> extends true
    ? Natural<B> extends true
      ? ToNumber<AddDigits<Reverse<`${A}`>, Reverse<`${B}`>>>
      : number
    : number;

/** `Multiply<16, 64>` is `1024`. */
export type Multiply<A extends number, B extends number> =
  Natural<A> extends true
    ? Natural<B> extends true
      ? ToNumber<MultiplyDigits<Reverse<`${A}`>, Reverse<`${B}`>>>
      : number
    : number;

/** Whether `A <= B`; `boolean` where one of them is not a literal. */
export type AtMost<A extends number, B extends number> =
  Natural<A> extends true
    ? Natural<B> extends true
      ? { shorter: true; longer: false; same: AtMostDigits<`${A}`, `${B}`> }[LengthOrder<`${A}`, `${B}`>]
      : boolean
    : boolean;

/** The sum of a tuple of literals. */
export type Sum<All extends readonly number[], Total extends number = 0> = All extends readonly [
  infer First extends number,
  ...infer Rest extends number[],
]
  ? Sum<Rest, Add<Total, First>>
  : All extends readonly []
    ? Total
    : number;

type Natural<N extends number> = number extends N
  ? false
  : `${N}` extends `${string}${"." | "-" | "e"}${string}`
    ? false
    : true;

interface Units {
  "0": [];
  "1": [0];
  "2": [0, 0];
  "3": [0, 0, 0];
  "4": [0, 0, 0, 0];
  "5": [0, 0, 0, 0, 0];
  "6": [0, 0, 0, 0, 0, 0];
  "7": [0, 0, 0, 0, 0, 0, 0];
  "8": [0, 0, 0, 0, 0, 0, 0, 0];
  "9": [0, 0, 0, 0, 0, 0, 0, 0, 0];
}
type Digit = keyof Units;

type LengthOrder<A extends string, B extends string> = A extends `${string}${infer RestA}`
  ? B extends `${string}${infer RestB}`
    ? LengthOrder<RestA, RestB>
    : "longer"
  : B extends ""
    ? "same"
    : "shorter";

/** Of digit strings of one length, the most significant digit first. */
type AtMostDigits<A extends string, B extends string> = A extends `${infer X extends Digit}${infer RestA}`
  ? B extends `${infer Y extends Digit}${infer RestB}`
    ? X extends Y
      ? AtMostDigits<RestA, RestB>
      : Units[Y] extends [...Units[X], ...0[]]
        ? true
        : false
    : false
  : true;

type Reverse<S extends string, Out extends string = ""> = S extends `${infer Head}${infer Rest}`
  ? Reverse<Rest, `${Head}${Out}`>
  : Out;

/** Products with 0 have no digits left, or leading zeros that would not read back as a number. */
type ToNumber<Reversed extends string> =
  TrimZeros<Reverse<Reversed>> extends `${infer N extends number}` ? N : number;
type TrimZeros<S extends string> = S extends `0${infer Rest}` ? TrimZeros<Rest> : S extends "" ? "0" : S;

type DigitSum<A extends Digit, B extends Digit, C extends Digit> = [
  ...Units[A],
  ...Units[B],
  ...Units[C],
] extends infer All extends 0[]
  ? `${All["length"]}`
  : never;

type AddDigits<
  A extends string,
  B extends string,
  Carry extends Digit = "0",
> = A extends `${infer X extends Digit}${infer RestA}`
  ? B extends `${infer Y extends Digit}${infer RestB}`
    ? Place<DigitSum<X, Y, Carry>, RestA, RestB>
    : Place<DigitSum<X, "0", Carry>, RestA, "">
  : B extends `${infer Y extends Digit}${infer RestB}`
    ? Place<DigitSum<"0", Y, Carry>, "", RestB>
    : Carry extends "0"
      ? ""
      : Carry;

type Place<
  S extends string,
  RestA extends string,
  RestB extends string,
> = S extends `1${infer Low extends Digit}`
  ? `${Low}${AddDigits<RestA, RestB, "1">}`
  : `${S}${AddDigits<RestA, RestB>}`;

type MultiplyDigits<
  A extends string,
  B extends string,
  Total extends string = "",
  Shift extends string = "",
> = B extends `${infer Y extends Digit}${infer RestB}`
  ? MultiplyDigits<A, RestB, AddDigits<Total, `${Shift}${Times<A, Units[Y]>}`>, `${Shift}0`>
  : Total;

/** A added to itself, once for each element of `Count`. */
type Times<A extends string, Count extends 0[], Total extends string = ""> = Count extends [
  0,
  ...infer Rest extends 0[],
]
  ? Times<A, Rest, AddDigits<Total, A>>
  : Total;
