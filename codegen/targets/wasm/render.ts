/**
 * Kernel IR as WebAssembly text. A buffer is the byte address of its first element, an unsigned i32: the
 * memory may be 4 GiB, so addresses are never compared and constant parts of an index go to the instruction's
 * offset, which is added without wrapping.
 */
import { BitloomError } from "../../../errors/index.ts";
import { intrinsics } from "../../kernel/intrinsic-table.ts";
import {
  type BinaryOperator,
  type CompareOperator,
  type Expr,
  type KernelFunction,
  type Parameter,
  type Stmt,
  type StorageType,
  storageBytes,
  type ValueType,
} from "../../kernel/ir.ts";
import { floatText } from "./numbers.ts";
import { layOut, type SExpression } from "./s-expression.ts";

/**
 * Largest constant moved into an instruction's offset. The dynamic part of an index may be negative as long
 * as the whole is not (`x[i - 4 + 8]`); addresses below this bound hold the control block, never a buffer, so
 * the dynamic part of the address cannot wrap below zero.
 */
export const MAX_OFFSET = 4096;

type WasmType = "i32" | "i64" | "f32" | "f64" | "v128";

function wasmType(type: ValueType): WasmType {
  if (type === "u32x4") throw gpuOnly(type);
  return type === "u32" || type === "bool" ? "i32" : type;
}

function gpuOnly(what: string): BitloomError {
  return new BitloomError("UNSUPPORTED_OP", `the wasm target cannot render ${what}, which GPU kernels use`, {
    hint: "Kernels of templates/cpu are for this target.",
  });
}

/** The function as a WAT `func`, without its helpers. */
export function renderFunction(fn: KernelFunction, indent = ""): string {
  return new FunctionRenderer(fn).render(indent);
}

interface LoopLabels {
  readonly end: string;
  /** Where `continue` goes. */
  readonly next: string;
}

const invertedComparison: Record<CompareOperator, CompareOperator> = {
  eq: "ne",
  ne: "eq",
  lt: "ge",
  ge: "lt",
  gt: "le",
  le: "gt",
};

const loads: Record<Exclude<StorageType, "u32x4">, string> = {
  i8: "i32.load8_s",
  u8: "i32.load8_u",
  i16: "i32.load16_s",
  u16: "i32.load16_u",
  i32: "i32.load",
  u32: "i32.load",
  i64: "i64.load",
  f32: "f32.load",
  f64: "f64.load",
};
const stores: Record<Exclude<StorageType, "u32x4">, string> = {
  i8: "i32.store8",
  u8: "i32.store8",
  i16: "i32.store16",
  u16: "i32.store16",
  i32: "i32.store",
  u32: "i32.store",
  i64: "i64.store",
  f32: "f32.store",
  f64: "f64.store",
};

class FunctionRenderer {
  readonly #fn: KernelFunction;
  readonly #elements = new Map<string, Exclude<StorageType, "u32x4">>();
  readonly #loops: LoopLabels[] = [];
  #whileCount = 0;

  constructor(fn: KernelFunction) {
    this.#fn = fn;
    if (fn.workgroupSize !== undefined) throw gpuOnly(`${fn.name} for workgroups`);
    for (const parameter of fn.parameters) {
      if (parameter.kind !== "buffer") continue;
      if (parameter.element === "u32x4") throw gpuOnly(parameter.element);
      this.#elements.set(parameter.name, parameter.element);
    }
  }

  render(indent: string): string {
    const { name, doc, parameters, result, body } = this.#fn;
    const inner = `${indent}  `;
    const lines = doc === undefined ? [] : [`${indent};; ${doc}`];
    lines.push(`${indent}(func $${name}`);
    for (const parameter of parameters) lines.push(inner + parameterText(parameter));
    if (result !== undefined) lines.push(`${inner}(result ${wasmType(result)})`);
    for (const [local, type] of localsOf(body)) lines.push(`${inner}(local $${local} ${wasmType(type)})`);
    for (const line of this.#statements(body)) lines.push(layOut(line, inner));
    // Every path has returned, but the validator asks for a value here.
    if (result !== undefined && body.at(-1)?.kind !== "return") lines.push(`${inner}(unreachable)`);
    return `${lines.join("\n")}\n${indent})`;
  }

  #statements(statements: readonly Stmt[]): SExpression[] {
    return statements.flatMap((statement) => this.#statement(statement));
  }

  #statement(statement: Stmt): SExpression[] {
    switch (statement.kind) {
      case "let":
        return statement.value === undefined ? [] : [this.#set(statement.name, statement.value)];
      case "assign":
        return [this.#set(statement.name, statement.value)];
      case "store": {
        const element = this.#element(statement.buffer);
        const { base, offset } = this.#address(statement.buffer, statement.index);
        return [[stores[element], ...offset, base, this.#expression(statement.value)]];
      }
      case "if":
        return [this.#if(statement.condition, statement.ifTrue, statement.ifFalse)];
      case "for":
        return this.#for(statement);
      case "while":
        return [this.#while(statement.condition, statement.body)];
      case "break":
        return [["br", this.#innermost().end]];
      case "continue":
        return [["br", this.#innermost().next]];
      case "return":
        return [statement.value === undefined ? ["return"] : ["return", this.#expression(statement.value)]];
      case "expr": {
        const { expression } = statement;
        const text = this.#expression(expression);
        return [expression.type === "void" ? text : ["drop", text]];
      }
    }
  }

  #set(name: string, value: Expr): SExpression {
    return ["local.set", `$${name}`, this.#expression(value)];
  }

  #innermost(): LoopLabels {
    return this.#loops.at(-1)!;
  }

  #if(condition: Expr, ifTrue: readonly Stmt[], ifFalse: readonly Stmt[]): SExpression {
    const [only] = ifTrue;
    if (
      ifTrue.length === 1 &&
      ifFalse.length === 0 &&
      (only?.kind === "break" || only?.kind === "continue")
    ) {
      const { end, next } = this.#innermost();
      return ["br_if", only.kind === "break" ? end : next, this.#expression(condition)];
    }
    const text: SExpression[] = ["if", this.#expression(condition), ["then", ...this.#statements(ifTrue)]];
    if (ifFalse.length > 0) text.push(["else", ...this.#statements(ifFalse)]);
    return text;
  }

  #for(statement: Extract<Stmt, { kind: "for" }>): SExpression[] {
    const { variable, start, condition, next, body } = statement;
    const repeat = `$${variable}_loop`;
    const labels = { end: `$${variable}_end`, next: `$${variable}_next` };
    const inner = this.#loopBody(labels, body);
    const loop: SExpression[] = ["loop", repeat];
    if (!isTrue(condition)) loop.push(["br_if", labels.end, this.#inverted(condition)]);
    if (continues(body)) loop.push(["block", labels.next, ...inner]);
    else loop.push(...inner);
    loop.push(this.#set(variable, next), ["br", repeat]);
    return [this.#set(variable, start), ["block", labels.end, loop]];
  }

  #while(condition: Expr, body: readonly Stmt[]): SExpression {
    const name = `$while_${this.#whileCount++}`;
    const labels = { end: `${name}_end`, next: `${name}_loop` };
    const inner = this.#loopBody(labels, body);
    const test: SExpression[] = isTrue(condition) ? [] : [["br_if", labels.end, this.#inverted(condition)]];
    return ["block", labels.end, ["loop", labels.next, ...test, ...inner, ["br", labels.next]]];
  }

  #loopBody(labels: LoopLabels, body: readonly Stmt[]): SExpression[] {
    this.#loops.push(labels);
    const text = this.#statements(body);
    this.#loops.pop();
    return text;
  }

  /** The negation of a bool expression. */
  #inverted(condition: Expr): SExpression {
    if (condition.kind === "unary" && condition.operator === "not")
      return this.#expression(condition.operand);
    // A comparison of floats is false when unordered, and so is its inverse.
    if (condition.kind === "compare" && condition.left.type !== "f32" && condition.left.type !== "f64") {
      return this.#compare(invertedComparison[condition.operator], condition.left, condition.right);
    }
    return ["i32.eqz", this.#expression(condition)];
  }

  #expression(expression: Expr): SExpression {
    switch (expression.kind) {
      case "literal":
        return literalText(expression.type, expression.value);
      case "ref":
        return ["local.get", `$${expression.name}`];
      case "binary":
        return this.#binary(expression);
      case "unary":
        return this.#unary(expression);
      case "compare":
        return this.#compare(expression.operator, expression.left, expression.right);
      case "select":
        return this.#select(expression);
      case "conditional":
        return isCheap(expression.ifTrue) && isCheap(expression.ifFalse)
          ? this.#select(expression)
          : this.#choose(expression.type, expression.condition, expression.ifTrue, expression.ifFalse);
      case "convert":
        return this.#convert(expression.operand, expression.type);
      case "load": {
        const { base, offset } = this.#address(expression.buffer, expression.index);
        return [loads[this.#element(expression.buffer)], ...offset, base];
      }
      case "intrinsic":
        return this.#intrinsic(expression);
      case "call":
        return [
          "call",
          `$${expression.callee}`,
          ...expression.args.map((argument) =>
            argument.kind === "buffer" ? ["local.get", `$${argument.name}`] : this.#expression(argument),
          ),
        ];
    }
  }

  #select(parts: { condition: Expr; ifTrue: Expr; ifFalse: Expr }): SExpression {
    return [
      "select",
      this.#expression(parts.ifTrue),
      this.#expression(parts.ifFalse),
      this.#expression(parts.condition),
    ];
  }

  #choose(type: ValueType, condition: Expr, ifTrue: Expr, ifFalse: Expr): SExpression {
    return [
      "if",
      ["result", wasmType(type)],
      this.#expression(condition),
      ["then", this.#expression(ifTrue)],
      ["else", this.#expression(ifFalse)],
    ];
  }

  #binary(expression: Extract<Expr, { kind: "binary" }>): SExpression {
    const { operator, type, left, right } = expression;
    if (operator === "logical_and" || operator === "logical_or") {
      if (isCheap(right)) {
        const instruction = operator === "logical_and" ? "i32.and" : "i32.or";
        return [instruction, this.#expression(left), this.#expression(right)];
      }
      const decided: Expr = { kind: "literal", type: "bool", value: operator === "logical_or" };
      return operator === "logical_and"
        ? this.#choose("bool", left, right, decided)
        : this.#choose("bool", left, decided, right);
    }
    return [binaryInstruction(operator, type), this.#expression(left), this.#expression(right)];
  }

  #unary(expression: Extract<Expr, { kind: "unary" }>): SExpression {
    const { operator, type, operand } = expression;
    const wasm = wasmType(type);
    switch (operator) {
      case "not":
        return this.#inverted(operand);
      case "complement":
        return [`${wasm}.xor`, this.#expression(operand), [`${wasm}.const`, "-1"]];
      case "neg":
        return wasm === "f32" || wasm === "f64"
          ? [`${wasm}.neg`, this.#expression(operand)]
          : [`${wasm}.sub`, [`${wasm}.const`, "0"], this.#expression(operand)];
    }
  }

  #compare(operator: CompareOperator, left: Expr, right: Expr): SExpression {
    const type = left.type as ValueType;
    if (
      operator === "eq" &&
      wasmType(type) === "i32" &&
      right.kind === "literal" &&
      Number(right.value) === 0
    ) {
      return ["i32.eqz", this.#expression(left)];
    }
    const ordered = operator !== "eq" && operator !== "ne";
    const sign = ordered ? signSuffix(type) : "";
    return [`${wasmType(type)}.${operator}${sign}`, this.#expression(left), this.#expression(right)];
  }

  #convert(operand: Expr, to: ValueType): SExpression {
    const from = operand.type as ValueType;
    const value = this.#expression(operand);
    const instruction = conversionInstruction(from, to);
    return instruction === undefined ? value : [instruction, value];
  }

  #intrinsic(expression: Extract<Expr, { kind: "intrinsic" }>): SExpression {
    const { wat } = intrinsics.get(expression.name)!;
    if (wat === undefined) throw gpuOnly(expression.name);
    const immediates = expression.immediates.map(String);
    if (expression.buffer === undefined) {
      return [wat, ...immediates, ...expression.args.map((argument) => this.#expression(argument))];
    }
    const [index, ...values] = expression.args;
    const { base, offset } = this.#address(expression.buffer, index!);
    return [wat, ...offset, ...immediates, base, ...values.map((argument) => this.#expression(argument))];
  }

  #element(buffer: string): Exclude<StorageType, "u32x4"> {
    return this.#elements.get(buffer)!;
  }

  /** Byte address of `buffer[index]`: the part computed at run time, and the constant part. */
  #address(buffer: string, index: Expr): { base: SExpression; offset: string[] } {
    const size = storageBytes(this.#element(buffer));
    const { rest, constant } = splitConstant(index);
    const start: SExpression = ["local.get", `$${buffer}`];
    const scaled = rest === undefined ? start : ["i32.add", start, this.#scaled(rest, size)];
    const bytes = constant * size;
    if (bytes === 0) return { base: scaled, offset: [] };
    if (bytes > 0 && bytes < MAX_OFFSET) return { base: scaled, offset: [`offset=${bytes}`] };
    return { base: ["i32.add", scaled, ["i32.const", String(bytes | 0)]], offset: [] };
  }

  #scaled(index: Expr, size: number): SExpression {
    if (size === 1) return this.#expression(index);
    if (index.kind === "binary" && index.operator === "mul" && index.right.kind === "literal") {
      const factor = Math.imul(Number(index.right.value), size);
      return ["i32.mul", this.#expression(index.left), ["i32.const", String(factor)]];
    }
    return ["i32.shl", this.#expression(index), ["i32.const", String(Math.log2(size))]];
  }
}

/** `i + 3` -> rest i, constant 3. Addresses wrap at 2^32 as i32 arithmetic does, so this changes nothing. */
function splitConstant(index: Expr): { rest: Expr | undefined; constant: number } {
  if (index.kind === "literal") return { rest: undefined, constant: Number(index.value) };
  if (index.kind !== "binary" || (index.operator !== "add" && index.operator !== "sub")) {
    return { rest: index, constant: 0 };
  }
  const left = splitConstant(index.left);
  const right = splitConstant(index.right);
  const constant = index.operator === "add" ? left.constant + right.constant : left.constant - right.constant;
  if (Math.abs(constant) > 0x7fffffff || (left.constant === 0 && right.constant === 0)) {
    return { rest: index, constant: 0 };
  }
  if (right.rest === undefined) return { rest: left.rest, constant };
  if (left.rest === undefined) {
    if (index.operator === "add") return { rest: right.rest, constant };
    return { rest: index, constant: 0 };
  }
  return { rest: { ...index, left: left.rest, right: right.rest }, constant };
}

/** Computing it costs less than jumping over it, and cannot trap. */
function isCheap(expression: Expr): boolean {
  switch (expression.kind) {
    case "literal":
    case "ref":
      return true;
    case "unary":
      return isCheap(expression.operand);
    case "compare":
      return isCheap(expression.left) && isCheap(expression.right);
    case "binary":
      return (
        expression.operator !== "div" &&
        expression.operator !== "rem" &&
        isLeaf(expression.left) &&
        isLeaf(expression.right)
      );
    default:
      return false;
  }
}
function isLeaf(expression: Expr): boolean {
  return expression.kind === "literal" || expression.kind === "ref";
}

function isTrue(expression: Expr): boolean {
  return expression.kind === "literal" && expression.value === true;
}

/** Whether the body holds a `continue` of its own loop. */
function continues(body: readonly Stmt[]): boolean {
  return body.some(
    (statement) =>
      statement.kind === "continue" ||
      (statement.kind === "if" && (continues(statement.ifTrue) || continues(statement.ifFalse))),
  );
}

/** Locals in the order of their declarations. */
function localsOf(body: readonly Stmt[]): [string, ValueType][] {
  return body.flatMap((statement): [string, ValueType][] => {
    switch (statement.kind) {
      case "let":
        return [[statement.name, statement.type]];
      case "if":
        return [...localsOf(statement.ifTrue), ...localsOf(statement.ifFalse)];
      case "for":
        return [[statement.variable, statement.type], ...localsOf(statement.body)];
      case "while":
        return localsOf(statement.body);
      default:
        return [];
    }
  });
}

function parameterText(parameter: Parameter): string {
  return parameter.kind === "buffer"
    ? `(param $${parameter.name} i32) ;; ${parameter.element} buffer, ${parameter.access}`
    : `(param $${parameter.name} ${wasmType(parameter.type)})`;
}

function signSuffix(type: ValueType): string {
  if (type === "i32" || type === "i64") return "_s";
  return type === "u32" ? "_u" : "";
}

function binaryInstruction(operator: BinaryOperator, type: ValueType): string {
  const wasm = wasmType(type);
  switch (operator) {
    case "div":
    case "rem":
      return `${wasm}.${operator}${signSuffix(type)}`;
    case "shr":
      return `${wasm}.shr${signSuffix(type)}`;
    case "shr_logical":
      return `${wasm}.shr_u`;
    default:
      return `${wasm}.${operator}`;
  }
}

/** The instruction that converts, or undefined where the bits stay. */
function conversionInstruction(from: ValueType, to: ValueType): string | undefined {
  const source = wasmType(from);
  const target = wasmType(to);
  const sourceSign = from === "i32" || from === "i64" ? "s" : "u";
  if (source === target) return undefined;
  if (target === "f32" || target === "f64") {
    if (source === "f32") return "f64.promote_f32";
    if (source === "f64") return "f32.demote_f64";
    return `${target}.convert_${source}_${sourceSign}`;
  }
  if (source === "f32" || source === "f64") {
    return `${target}.trunc_sat_${source}_${to === "u32" ? "u" : "s"}`;
  }
  return source === "i64" ? "i32.wrap_i64" : `i64.extend_i32_${sourceSign}`;
}

function literalText(type: ValueType, value: number | bigint | boolean): SExpression {
  switch (type) {
    case "f32":
    case "f64":
      return [`${type}.const`, floatText(type, Number(value))];
    case "i64":
      return ["i64.const", BigInt.asIntN(64, BigInt(value)).toString()];
    default:
      return ["i32.const", String(Number(value) | 0)];
  }
}
