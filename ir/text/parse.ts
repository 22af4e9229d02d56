import { BitloomError } from "../../errors/index.ts";
import { GraphBuilder } from "../builder.ts";
import type { Graph, SourceLocation, Value } from "../graph.ts";
import { formatLocation } from "../graph.ts";
import { type Attributes, isOpName, type OpName } from "../ops/index.ts";
import { acc, apply, arg, isBinary, isUnary, literal, MAX_SCALAR_DEPTH, type ScalarExpr } from "../scalar.ts";
import {
  type Dim,
  type DType,
  dtypes,
  type Encoding,
  formatType,
  type ScaleGranularity,
  sameType,
  type TensorType,
} from "../types.ts";
import { Lexer, type Token } from "./lex.ts";

/**
 * Reads the text form of a graph. Throws TEXT_SYNTAX with line and column, or what the op table has to say about
 * a node (SHAPE_MISMATCH, …) at the node's line. `file` names the text in errors and in the nodes' locations.
 */
export function parseGraph(text: string, file = "text"): Graph {
  if (typeof text !== "string") {
    throw new BitloomError("TEXT_SYNTAX", "A graph is read from text", {
      expected: "a string that begins with `graph`",
      received: String(text),
    });
  }
  return new GraphParser(new Lexer(text, file)).graph();
}

/** Reads a scalar expression such as `add(mul(acc, x0), 1.5)`. Throws TEXT_SYNTAX. */
export function parseScalar(text: string): ScalarExpr {
  const lexer = new Lexer(text, "expression");
  const expr = scalarExpr(lexer, 0);
  if (lexer.token.kind !== "end") lexer.fail("the end of the expression");
  return expr;
}

/** A result of a node as written before the `=`. */
interface DeclaredResult {
  readonly name: Token;
  readonly type: TensorType;
}

class GraphParser {
  readonly #lexer: Lexer;
  readonly #values = new Map<string, Value>();
  readonly #symbols = new Set<string>();
  #builder = new GraphBuilder("");

  constructor(lexer: Lexer) {
    this.#lexer = lexer;
  }

  graph(): Graph {
    const lexer = this.#lexer;
    lexer.expect("graph");
    this.#builder = new GraphBuilder(lexer.expectKind("graph name", "a name such as @model").content);
    lexer.expect("(");
    this.#list(")", () => this.#symbol());
    lexer.expect("{");
    while (!lexer.accept("return")) {
      if (lexer.accept("next")) this.#next();
      else if (lexer.token.kind === "value") this.#statement();
      else lexer.fail("a value such as %x, `next` or `return`");
    }
    if (lexer.token.text !== "}") {
      do this.#output();
      while (lexer.accept(","));
    }
    lexer.expect("}");
    if (lexer.token.kind !== "end") lexer.fail("the end of the text");
    return this.#builder.build();
  }

  /** Items separated by commas up to a closing token, which is taken. */
  #list(close: string, item: () => void): void {
    if (this.#lexer.accept(close)) return;
    do item();
    while (this.#lexer.accept(","));
    this.#lexer.expect(close);
  }

  #symbol(): void {
    const name = this.#lexer.expectKind("word", "a symbol's name");
    this.#lexer.expect("<=");
    const max = integer(this.#lexer, "the symbol's largest value");
    this.#at(name, () => this.#builder.symbol(name.text, { max }));
    this.#symbols.add(name.text);
  }

  #statement(): void {
    const lexer = this.#lexer;
    const name = lexer.take();
    lexer.expect(":");
    if (lexer.accept("input")) {
      const type = this.#type();
      this.#define(
        name,
        this.#at(name, () => this.#builder.input(name.content, type)),
      );
    } else if (lexer.accept("parameter")) {
      const path = lexer.expectKind("string", "the parameter's path in quotes").content;
      const type = this.#type();
      this.#define(
        name,
        this.#at(name, () => this.#builder.parameter(path, type, name.content)),
      );
    } else if (lexer.accept("state")) {
      const key = lexer.expectKind("string", "the state's name in quotes").content;
      const type = this.#type();
      this.#define(
        name,
        this.#at(name, () => this.#builder.state(key, type, name.content)),
      );
    } else this.#node({ name, type: this.#type() });
  }

  #node(first: DeclaredResult): void {
    const lexer = this.#lexer;
    const declared = [first];
    while (lexer.accept(",")) {
      const name = lexer.expectKind("value", "a value such as %x");
      lexer.expect(":");
      declared.push({ name, type: this.#type() });
    }
    lexer.expect("=");
    const op = lexer.token;
    const opName = this.#opName();
    lexer.expect("(");
    const operands: Value[] = [];
    this.#list(")", () => operands.push(this.#use()));
    const attributes = lexer.token.text === "{" ? attributeRecord(lexer, 0) : {};
    const location = lexer.location(op);
    // An unnamed value is written as a number.
    const names = declared.map(({ name }) => (/^[0-9]+$/.test(name.content) ? undefined : name.content));
    const results = this.#at(op, () =>
      this.#builder.apply(opName, operands, attributes as Attributes<OpName>, { location, names }),
    );
    if (results.length !== declared.length) lexer.fail(`${results.length} results of ${opName}`, first.name);
    for (const [i, { name, type }] of declared.entries()) {
      const result = results[i]!;
      if (!sameType(type, result.type)) {
        throw new BitloomError("SHAPE_MISMATCH", `%${name.content} is not of the type written`, {
          expected: `${formatType(result.type)}, as ${opName} infers`,
          received: formatType(type),
          location: formatLocation(lexer.location(name)),
        });
      }
      this.#define(name, result);
    }
  }

  #opName(): OpName {
    const { text } = this.#lexer.token;
    if (!isOpName(text)) return this.#lexer.fail("an op of the op table");
    this.#lexer.take();
    return text;
  }

  #next(): void {
    const token = this.#lexer.token;
    const state = this.#use();
    this.#lexer.expect("=");
    const value = this.#use();
    this.#at(token, () => this.#builder.setNext(state, value));
  }

  #output(): void {
    const { kind } = this.#lexer.token;
    if (kind !== "word" && kind !== "string") this.#lexer.fail("an output's name");
    const name = this.#lexer.take();
    this.#lexer.expect("=");
    const value = this.#use();
    this.#at(name, () => this.#builder.output(name.content, value));
  }

  #use(): Value {
    const token = this.#lexer.expectKind("value", "a value such as %x");
    return this.#values.get(token.content) ?? this.#lexer.fail("a value defined above", token);
  }

  #define(name: Token, value: Value): void {
    if (this.#values.has(name.content)) this.#lexer.fail("a name not yet taken", name);
    this.#values.set(name.content, value);
  }

  #type(): TensorType {
    const lexer = this.#lexer;
    const word = lexer.expectKind("word", "a dtype");
    const dtype = dtypes.find((known) => known === word.text);
    if (!dtype) lexer.fail(`a dtype: ${dtypes.join(", ")}`, word);
    lexer.expect("[");
    const dims: Dim[] = [];
    this.#list("]", () => dims.push(this.#dim()));
    const encoding = encodingOf(lexer);
    return { dtype: dtype as DType, dims, ...(encoding && { encoding }) };
  }

  #dim(): Dim {
    if (this.#lexer.token.kind === "number") return integer(this.#lexer, "a dimension");
    const symbol = this.#lexer.expectKind("word", "a number or a symbol");
    if (!this.#symbols.has(symbol.text))
      this.#lexer.fail("a symbol declared in the graph's first line", symbol);
    return symbol.text;
  }

  /** Runs a builder step; an error that names no place gets this one. */
  #at<T>(token: Token, step: () => T): T {
    try {
      return step();
    } catch (cause) {
      if (!(cause instanceof BitloomError) || cause.location !== undefined) throw cause;
      throw relocate(cause, this.#lexer.location(token));
    }
  }
}

function relocate(cause: BitloomError, location: SourceLocation): BitloomError {
  const summary = cause.message.split("\n")[0]!.replace(` [${cause.code}]`, "");
  return new BitloomError(cause.code, summary, {
    ...(cause.expected !== undefined && { expected: cause.expected }),
    ...(cause.received !== undefined && { received: cause.received }),
    location: formatLocation(location),
    cause,
  });
}

function integer(lexer: Lexer, what: string): number {
  const token = lexer.expectKind("number", what);
  const value = Number(token.text);
  if (!Number.isSafeInteger(value) || value < 1) lexer.fail(`${what}, a positive integer`, token);
  return value;
}

/** `ternary(row)`, `ternary(group 64)`, `int8(row)`, or nothing. */
function encodingOf(lexer: Lexer): Encoding | undefined {
  const kind = lexer.token.text;
  if (kind !== "ternary" && kind !== "int8") return undefined;
  lexer.take();
  lexer.expect("(");
  const token = lexer.expectKind("word", "tensor, row or group");
  let scale: ScaleGranularity;
  if (token.text === "group") scale = { group: integer(lexer, "a group size") };
  else if (token.text === "row" || token.text === "tensor") scale = token.text;
  else return lexer.fail("tensor, row or group", token);
  lexer.expect(")");
  if (kind === "ternary") return { kind, scale };
  return scale === "row" ? { kind, scale } : lexer.fail("int8(row)", token);
}

function attributeRecord(lexer: Lexer, depth: number): Readonly<Record<string, unknown>> {
  const entries = new Map<string, unknown>();
  lexer.expect("{");
  if (!lexer.accept("}")) {
    do {
      const key = lexer.expectKind("word", "an attribute's name");
      if (entries.has(key.text)) lexer.fail("an attribute not given above", key);
      lexer.expect("=");
      entries.set(key.text, attributeValue(lexer, depth + 1));
    } while (lexer.accept(","));
    lexer.expect("}");
  }
  return Object.fromEntries(entries);
}

const keywords: Readonly<Record<string, unknown>> = { true: true, false: false, null: null };

function attributeValue(lexer: Lexer, depth: number): unknown {
  requireDepth(lexer, depth);
  const { kind, text } = lexer.token;
  if (kind === "string") return lexer.take().content;
  if (isNumber(lexer.token)) return numberOf(lexer);
  if (text === "{") return attributeRecord(lexer, depth);
  if (text === "[") {
    const items: unknown[] = [];
    lexer.take();
    if (lexer.accept("]")) return items;
    do items.push(attributeValue(lexer, depth + 1));
    while (lexer.accept(","));
    lexer.expect("]");
    return items;
  }
  if (kind === "word" && Object.hasOwn(keywords, text)) {
    lexer.take();
    return keywords[text];
  }
  if (lexer.accept("literal")) {
    lexer.expect("(");
    const value = numberOf(lexer);
    lexer.expect(")");
    return literal(value);
  }
  return scalarExpr(lexer, depth);
}

function scalarExpr(lexer: Lexer, depth: number): ScalarExpr {
  requireDepth(lexer, depth);
  if (isNumber(lexer.token)) return literal(numberOf(lexer));
  const word = lexer.expectKind("word", "a value, or an expression over acc, x0, x1, …");
  if (word.text === "acc") return acc;
  if (/^x(0|[1-9][0-9]{0,8})$/.test(word.text)) return arg(Number(word.text.slice(1)));
  const fn = word.text;
  if (!isUnary(fn) && !isBinary(fn)) return lexer.fail("acc, x0, x1, … or a scalar function", word);
  lexer.expect("(");
  const first = scalarExpr(lexer, depth + 1);
  if (isUnary(fn)) {
    lexer.expect(")");
    return apply(fn, first);
  }
  lexer.expect(",");
  const second = scalarExpr(lexer, depth + 1);
  lexer.expect(")");
  return apply(fn, first, second);
}

function requireDepth(lexer: Lexer, depth: number): void {
  if (depth > MAX_SCALAR_DEPTH) lexer.fail(`at most ${MAX_SCALAR_DEPTH} levels of nesting`);
}

function isNumber({ kind, text }: Token): boolean {
  return kind === "number" || text === "nan" || text === "inf";
}

function numberOf(lexer: Lexer): number {
  if (!isNumber(lexer.token)) lexer.fail("a number");
  const { text } = lexer.take();
  return text === "nan" ? Number.NaN : Number(text.replace("inf", "Infinity"));
}
