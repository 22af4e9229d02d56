import type { BitloomError } from "../../errors/index.ts";
import type { Graph, SourceLocation, SymbolBound } from "../../ir/graph.ts";
import type { LanguageModel } from "./language-model.ts";
import { declaredParameters, type NamedLayers, type ParameterDeclaration } from "./layer.ts";
import { located, userError } from "./located.ts";
import { callerLocation } from "./location.ts";
import { describe, invalidOption, isDim, knownOptions, positiveInteger } from "./options.ts";
import type { Dim, Dims, ShapeError } from "./shape-types.ts";
import { Tensor, type TensorOf, type TensorSpec } from "./tensor.ts";
import { Trace } from "./trace.ts";

/** Inputs of a model, by name. */
export type InputSpecs = { readonly [name: string]: TensorSpec };
/** Outputs of a model, by name. */
export type Outputs = { readonly [name: string]: Tensor };

/** The tensors that forward gets for the declared inputs. */
export type InputTensors<I extends InputSpecs> = { readonly [K in keyof I]: TensorOf<I[K]> };

/** The names among the dims of the inputs. */
export type SymbolsOf<I extends InputSpecs> = Extract<
  { [K in keyof I]: I[K]["dims"][number] }[keyof I],
  string
>;

/** The longest a named dim can be when no bound is given. */
const DEFAULT_BOUND = 64;

/** What `defineModel` takes. */
export interface ModelDefinition<I extends InputSpecs, L extends NamedLayers, O extends Returned> {
  /** Names the artifact and the graph. */
  readonly name: string;
  readonly inputs: I;
  /** The longest that each named dim can be; 64 for those left out. Memory is planned for it. */
  readonly symbols?: { readonly [S in SymbolsOf<I>]?: SymbolBound };
  /** Everything with weights. The path of a layer here is the name of its weights in a checkpoint. */
  readonly layers: L;
  /** From inputs to named outputs. Runs when the model is built, once, to learn what it computes. */
  readonly forward: (inputs: InputTensors<I>, layers: L) => O & CheckOutputs<O>;
}

/** What a forward may be seen to return; what is no outputs gets an error that says so. */
type Returned = Outputs | Tensor | PromiseLike<unknown>;
type CheckOutputs<O extends Returned> = O extends Tensor
  ? ShapeError<"forward returns its outputs by name, such as { y: tensor }">
  : O extends PromiseLike<unknown>
    ? ShapeError<"forward must not be async">
    : unknown;
type OutputsOf<O extends Returned> = O extends Outputs ? O : never;

/** Bounds that a build chooses over those of the model. */
export interface TraceOptions {
  readonly symbols?: Readonly<Record<string, SymbolBound>>;
}

const brand = Symbol.for("bitloom.model");

/** The same model of other layers: what conversions are made of. */
export const withLayers: unique symbol = Symbol.for("bitloom.withLayers");

/** A described model, ready to be compiled. */
export interface Model<I extends InputSpecs = InputSpecs, O extends Outputs = Outputs> {
  readonly [brand]: true;
  readonly kind: "model";
  readonly name: string;
  readonly inputs: I;
  readonly symbols: ReadonlyMap<string, SymbolBound>;
  /** Every weight the layers declare, in the order of the tree. */
  parameters(): readonly ParameterDeclaration[];
  /**
   * Runs forward and returns the graph of what it computes.
   * @throws BitloomError SHAPE_MISMATCH, DTYPE_MISMATCH, UNKNOWN_PARAMETER, INVALID_MODEL with the line of
   * the user's model.
   */
  trace(options?: TraceOptions): Graph;
  /** The model that `change` makes of this one's layers; forward stays. */
  [withLayers](change: (layers: NamedLayers) => NamedLayers): Model<I, O>;
  /** Types only: the outputs, for a typed session. */
  readonly outputs?: O;
}

/**
 * Describes a model: inputs, layers, and the function from one to the other.
 *
 * ```ts
 * export default defineModel({
 *   name: "mlp",
 *   inputs: { x: f32("batch", 784) },
 *   layers: { up: bitLinear(784, 256), down: linear(256, 10) },
 *   forward: ({ x }, { up, down }) => ({ logits: down(relu2(up(x))) }),
 * });
 * ```
 * @throws BitloomError INVALID_MODEL or INVALID_OPTION for a definition that cannot be a model.
 */
export function defineModel<I extends InputSpecs, L extends NamedLayers, O extends Returned>(
  definition: ModelDefinition<I, L, O>,
): Model<I, OutputsOf<O>> {
  knownOptions("defineModel", definition, ["name", "inputs", "symbols", "layers", "forward"]);
  const { inputs, layers, forward } = definition;
  const name = modelName(definition.name);
  const symbols = new Map(
    symbolsOf(inputs).map((symbol) => [symbol, { max: DEFAULT_BOUND } satisfies SymbolBound]),
  );
  const bounds = withBounds(symbols, definition.symbols);
  const parameters = declaredParameters(layers);
  requireForward(forward);
  const location = callerLocation();
  return {
    [brand]: true,
    kind: "model",
    name,
    inputs,
    symbols: bounds,
    parameters: () => parameters,
    trace(options = {}) {
      const trace = new Trace(name, withBounds(bounds, options.symbols), layers);
      const tensors = Object.entries(inputs).map(([input, spec]) => [input, trace.input(input, spec)]);
      const outputs = callForward(name, () =>
        forward(Object.fromEntries(tensors) as InputTensors<I>, layers),
      );
      return finish(trace, outputs, location);
    },
    [withLayers]: (change) => defineModel({ ...definition, layers: change(layers) as L }),
  };
}

/** What can be compiled: what `defineModel` or `defineLanguageModel` returns. */
export type AnyModel = Model | LanguageModel;

/** Whether a value, such as the default export of a user's file, is a model of any kind. */
export function isModel(value: unknown): value is AnyModel {
  return typeof value === "object" && value !== null && brand in value;
}

export const modelBrand: typeof brand = brand;

/** A model's name goes into file names and the text form. */
export function modelName(name: string): string {
  if (typeof name === "string" && /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(name)) return name;
  throw invalidOption("name", "letters, digits, dots, dashes and underscores", name);
}

/** The known symbols with some of their bounds replaced. */
export function withBounds(
  symbols: ReadonlyMap<string, SymbolBound>,
  bounds: Readonly<Record<string, SymbolBound | undefined>> = {},
): ReadonlyMap<string, SymbolBound> {
  const result = new Map(symbols);
  for (const [symbol, bound] of Object.entries(bounds)) {
    if (bound === undefined) continue;
    if (!symbols.has(symbol)) {
      throw invalidOption(`symbols: ${symbol}`, `one of ${[...symbols.keys()].join(", ") || "none"}`, symbol);
    }
    result.set(symbol, { max: positiveInteger(`symbols: ${symbol}.max`, bound.max) });
  }
  return result;
}

export function requireForward(forward: unknown): void {
  if (typeof forward === "function") return;
  throw located("INVALID_MODEL", "a model needs a forward function", {
    expected: "forward: (inputs, layers) => outputs",
    received: describe(forward),
  });
}

/** Runs the user's forward; what it throws comes out as INVALID_MODEL with the line that threw. */
export function callForward<T>(model: string, forward: () => T): T {
  try {
    return forward();
  } catch (cause) {
    throw userError(`forward of ${model} threw an error`, cause);
  }
}

/** What to write where forward returned something else than its outputs; `location` is the model's definition. */
export function wrongResult(
  summary: string,
  expected: string,
  result: unknown,
  location: SourceLocation | undefined,
): BitloomError {
  const isPromise = typeof (result as PromiseLike<unknown> | undefined)?.then === "function";
  return located(
    "INVALID_MODEL",
    isPromise ? "forward must not be async" : summary,
    {
      expected,
      received: Tensor.is(result) ? `a tensor ${result}` : describe(result),
      ...(result === undefined && { hint: "A forward with braces needs a return." }),
    },
    location,
  );
}

/** Declares the outputs of a traced forward and closes the graph. */
export function finish(trace: Trace, outputs: Returned, location: SourceLocation | undefined): Graph {
  const summary = "forward must return its outputs by name";
  const expected = "an object of tensors, such as { logits }";
  const entries = Object.entries(outputs ?? {});
  if (entries.length === 0 || Tensor.is(outputs) || Array.isArray(outputs)) {
    throw wrongResult(summary, expected, outputs, location);
  }
  const wrong = entries.find(([, output]) => !Tensor.is(output));
  if (wrong !== undefined) {
    throw located(
      "INVALID_MODEL",
      summary,
      { expected, received: `${wrong[0]}: ${describe(wrong[1])}` },
      location,
    );
  }
  for (const [output, tensor] of entries) trace.output(output, tensor);
  return trace.finish();
}

function symbolsOf(inputs: InputSpecs): readonly string[] {
  const entries = Object.entries(inputs ?? {});
  if (entries.length === 0) {
    throw located("INVALID_MODEL", "a model needs at least one input", {
      expected: `inputs such as { x: f32("batch", 784) }`,
      received: describe(inputs),
    });
  }
  const symbols = entries.flatMap(([input, spec]) => checkedDims(input, spec).filter(isName));
  return [...new Set(symbols)];
}

function checkedDims(input: string, spec: TensorSpec | undefined): Dims {
  const { dtype, dims } = spec ?? {};
  const expected = "f32(...) or i32(...) of lengths and names";
  if (!Array.isArray(dims) || !dims.every(isDim)) throw invalidOption(`inputs: ${input}`, expected, dims);
  if (dtype !== "f32" && dtype !== "i32") throw invalidOption(`inputs: ${input}`, expected, dtype);
  return dims;
}

const isName = (dim: Dim): dim is string => typeof dim === "string";
