/**
 * The kernel IR: what a kernel is once its TypeScript has been read and specialised, and what the schedule
 * builds directly for generated kernels. Structured statements over typed scalars, 128-bit vectors and
 * buffers; nothing here belongs to one target. What targets spell differently are intrinsics, which are rows
 * of one table (`intrinsic-table.ts`).
 */

/** Types a local or an expression can have. `bool` is the result of comparisons and takes no arithmetic. */
export type ValueType = "i32" | "u32" | "i64" | "f32" | "f64" | "bool" | "v128" | "u32x4";
/** Types arithmetic works on. */
export type NumericType = "i32" | "u32" | "i64" | "f32" | "f64";
/** How an element lies in memory; narrower ones widen to i32 on load and keep their low bits on store. */
export type StorageType = "i8" | "u8" | "i16" | "u16" | "i32" | "u32" | "i64" | "f32" | "f64" | "u32x4";

export type Access = "read" | "write" | "read-write";

export interface BufferParameter {
  readonly kind: "buffer";
  readonly name: string;
  readonly element: StorageType;
  readonly access: Access;
}
export interface ScalarParameter {
  readonly kind: "scalar";
  readonly name: string;
  readonly type: ValueType;
}
export type Parameter = BufferParameter | ScalarParameter;

/** Memory that the invocations of a GPU workgroup share; statements name it as they name buffers. */
export interface SharedArray {
  readonly name: string;
  readonly element: "f32" | "i32" | "u32" | "u32x4";
  /** In elements. */
  readonly length: number;
}

/**
 * A kernel, or a helper function that kernels call. Local names are unique in the whole function, so a
 * renderer can declare them wherever its language wants them.
 */
export interface KernelFunction {
  readonly name: string;
  /** First sentence of the source's doc comment. */
  readonly doc?: string;
  readonly parameters: readonly Parameter[];
  readonly result?: ValueType;
  readonly body: readonly Stmt[];
  /** Functions that `call` expressions of the body name, callees first. Equal names mean equal functions. */
  readonly helpers: readonly KernelFunction[];
  /** Invocations in a workgroup; only GPU kernels have it, which run once per invocation. */
  readonly workgroupSize?: number;
  readonly shared?: readonly SharedArray[];
}

/**
 * A compile-time function such as an epilogue: its parameters are bound at each call in the template, its
 * captures become parameters of the specialised kernel.
 */
export interface InlineFunction {
  readonly parameters: readonly { readonly name: string; readonly type: ValueType }[];
  readonly captures: readonly Parameter[];
  readonly body: readonly Stmt[];
  readonly result: Expr;
  /** Functions its body calls, callees first. */
  readonly helpers?: readonly KernelFunction[];
}

export type Stmt =
  | {
      readonly kind: "let";
      readonly name: string;
      readonly type: ValueType;
      /** Absent only where every path assigns the local before it is read. */
      readonly value?: Expr;
      /** Whether an `assign` to it follows. */
      readonly mutable: boolean;
    }
  | { readonly kind: "assign"; readonly name: string; readonly value: Expr }
  | { readonly kind: "store"; readonly buffer: string; readonly index: Expr; readonly value: Expr }
  | {
      readonly kind: "if";
      readonly condition: Expr;
      readonly ifTrue: readonly Stmt[];
      readonly ifFalse: readonly Stmt[];
    }
  | {
      /** `for (variable = start; condition; variable = next) body`; `continue` goes on with `next`. */
      readonly kind: "for";
      readonly variable: string;
      readonly type: "i32" | "u32";
      readonly start: Expr;
      readonly condition: Expr;
      readonly next: Expr;
      readonly body: readonly Stmt[];
    }
  | { readonly kind: "while"; readonly condition: Expr; readonly body: readonly Stmt[] }
  /** Leaves, or goes on with, the innermost loop. */
  | { readonly kind: "break" }
  | { readonly kind: "continue" }
  | { readonly kind: "return"; readonly value?: Expr }
  /** Evaluated for its effect. */
  | { readonly kind: "expr"; readonly expression: Expr };

/** Integers wrap; division and right shift are signed on i32 and i64, unsigned on u32. */
export type BinaryOperator =
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "rem"
  | "and"
  | "or"
  | "xor"
  | "shl"
  | "shr"
  /** Shifts zeros in from the left whatever the type. */
  | "shr_logical"
  /** On bool; the right operand is evaluated only if the left does not decide. */
  | "logical_and"
  | "logical_or";
export type CompareOperator = "eq" | "ne" | "lt" | "le" | "gt" | "ge";
/** `not` on bool, `complement` on integers. */
export type UnaryOperator = "neg" | "not" | "complement";

export type Expr =
  | { readonly kind: "literal"; readonly type: ValueType; readonly value: number | bigint | boolean }
  | { readonly kind: "ref"; readonly type: ValueType; readonly name: string }
  | {
      readonly kind: "binary";
      readonly type: ValueType;
      readonly operator: BinaryOperator;
      readonly left: Expr;
      readonly right: Expr;
    }
  | {
      readonly kind: "unary";
      readonly type: ValueType;
      readonly operator: UnaryOperator;
      readonly operand: Expr;
    }
  | {
      readonly kind: "compare";
      readonly type: "bool";
      readonly operator: CompareOperator;
      readonly left: Expr;
      readonly right: Expr;
    }
  | {
      /** Both sides are evaluated. */
      readonly kind: "select";
      readonly type: ValueType;
      readonly condition: Expr;
      readonly ifTrue: Expr;
      readonly ifFalse: Expr;
    }
  | {
      /** Only the chosen side is evaluated. */
      readonly kind: "conditional";
      readonly type: ValueType;
      readonly condition: Expr;
      readonly ifTrue: Expr;
      readonly ifFalse: Expr;
    }
  /** Integer to float rounds to nearest even; float to integer truncates and saturates, NaN gives 0. */
  | { readonly kind: "convert"; readonly type: ValueType; readonly operand: Expr }
  | { readonly kind: "load"; readonly type: ValueType; readonly buffer: string; readonly index: Expr }
  | {
      readonly kind: "intrinsic";
      readonly type: ValueType | "void";
      readonly name: string;
      /** The buffer a memory intrinsic works on; its element index is the first argument. */
      readonly buffer?: string;
      readonly args: readonly Expr[];
      /** Constant lane numbers and shuffle bytes. */
      readonly immediates: readonly number[];
    }
  | {
      readonly kind: "call";
      readonly type: ValueType | "void";
      readonly callee: string;
      readonly args: readonly CallArgument[];
    };

/** Helpers take buffers as well as values. */
export type CallArgument = Expr | { readonly kind: "buffer"; readonly name: string };

/** The type a load of an element has. */
export function loadedType(element: StorageType): NumericType | "u32x4" {
  switch (element) {
    case "i8":
    case "u8":
    case "i16":
    case "u16":
      return "i32";
    default:
      return element;
  }
}

/** Bytes one element takes in memory. */
export function storageBytes(element: StorageType): number {
  switch (element) {
    case "i8":
    case "u8":
      return 1;
    case "i16":
    case "u16":
      return 2;
    case "i32":
    case "u32":
    case "f32":
      return 4;
    case "i64":
    case "f64":
      return 8;
    case "u32x4":
      return 16;
  }
}
