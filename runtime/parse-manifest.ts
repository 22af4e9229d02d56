import { BitloomError } from "../errors/index.ts";
import { arrays } from "./dtypes.ts";
import {
  type Argument,
  CHUNK_BYTES,
  FORMAT_VERSION,
  type Manifest,
  manifestSchema,
  type Plans,
  type Region,
  type SelfCheck,
  type Step,
  type SymbolExpr,
  TENSOR_ALIGNMENT,
  WASM_CONTROL_BYTES,
  WASM_MAX_THREADS,
  type WebgpuKernel,
  type WebgpuTarget,
} from "./manifest.ts";
import { evaluate } from "./symbols.ts";

/** Bytes a wasm32 memory can have. */
const MAX_WASM_BYTES = 2 ** 32;

type Path = readonly PropertyKey[];

const show = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
};

const format = (path: Path): string =>
  path.reduce<string>(
    (text, key) => (typeof key === "number" ? `${text}[${key}]` : `${text}.${String(key)}`),
    "manifest.json",
  );

function fail(path: Path, expected: string, received: unknown): never {
  throw new BitloomError("INVALID_MANIFEST", "The artifact's manifest is invalid", {
    location: format(path),
    expected,
    received: show(received),
  });
}

/**
 * Reads manifest.json. Everything the loader later trusts is checked here: that sizes and offsets fit into
 * one another and into a device's address space, and that whatever is named exists.
 * @throws BitloomError UNSUPPORTED_FORMAT for another format version, INVALID_MANIFEST naming the field.
 */
export function parseManifest(text: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new BitloomError("INVALID_MANIFEST", "manifest.json is not JSON", {
      received: show(String(text).slice(0, 60)),
      cause,
    });
  }
  return checkManifest(value);
}

/** As `parseManifest`, of a value already read. */
export function checkManifest(value: unknown): Manifest {
  if (typeof value !== "object" || value === null) fail([], "an object", value);
  const { format: kind, formatVersion } = value as Record<string, unknown>;
  if (kind !== "bitloom") fail(["format"], '"bitloom"', kind);
  if (formatVersion !== FORMAT_VERSION && Number.isInteger(formatVersion)) {
    throw new BitloomError("UNSUPPORTED_FORMAT", "This runtime cannot read the artifact's format", {
      expected: `format version ${FORMAT_VERSION}`,
      received: `format version ${formatVersion}`,
    });
  }
  const manifest = parseSchema(value);
  checkFiles(manifest);
  checkWeights(manifest);
  checkEntries(manifest);
  checkStates(manifest);
  checkLanguageModel(manifest);
  checkWasm(manifest);
  checkWebgpu(manifest);
  checkCuda(manifest);
  return manifest;
}

function parseSchema(value: object): Manifest {
  let result: ReturnType<typeof manifestSchema.safeParse>;
  try {
    result = manifestSchema.safeParse(value);
  } catch (cause) {
    // Symbol expressions are recursive: a hostile one exhausts the stack.
    throw new BitloomError("INVALID_MANIFEST", "The artifact's manifest is nested too deeply", { cause });
  }
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const received = issue.path.reduce<unknown>(
    (at, key) =>
      typeof at === "object" && at !== null ? (at as Record<PropertyKey, unknown>)[key] : undefined,
    value,
  );
  fail(issue.path, describe(issue), received);
}

type Issue = NonNullable<ReturnType<typeof manifestSchema.safeParse>["error"]>["issues"][number];

function describe(issue: Issue): string {
  switch (issue.code) {
    case "invalid_type":
      return issue.expected;
    case "invalid_value":
      return issue.values.map(show).join(" or ");
    case "too_small":
      return `at least ${issue.minimum}`;
    case "too_big":
      return `at most ${issue.maximum}`;
    case "invalid_format":
      return `text that matches ${issue.pattern ?? issue.format}`;
    case "invalid_key":
      return "a plain name";
    default:
      return "a value of another kind";
  }
}

function checkFiles({ files }: Manifest): void {
  const seen = new Set<string>();
  for (const [index, { path, bytes, sha256 }] of files.entries()) {
    if (seen.has(path)) fail(["files", index, "path"], "each file once", path);
    seen.add(path);
    // An empty file has the hash of nothing.
    const chunks = Math.max(1, Math.ceil(bytes / CHUNK_BYTES));
    if (sha256.length !== chunks) {
      fail(["files", index, "sha256"], `${chunks} hashes for ${bytes} bytes`, sha256.length);
    }
  }
}

function checkWeights({ files, weights }: Manifest): void {
  let filled = 0;
  for (const [index, shard] of weights.shards.entries()) {
    const path = ["weights", "shards", index];
    const file = files.find((candidate) => candidate.path === shard.path);
    if (file === undefined) fail([...path, "path"], "a path listed in files", shard.path);
    if (shard.dataOffset + shard.bytes > file.bytes) {
      fail([...path, "bytes"], `at most ${file.bytes - shard.dataOffset}, what the file has`, shard.bytes);
    }
    if (shard.regionOffset !== filled) {
      fail([...path, "regionOffset"], `${filled}, where the shard before ends`, shard.regionOffset);
    }
    filled += shard.bytes;
  }
  if (filled !== weights.bytes) fail(["weights", "bytes"], `${filled}, the sum of the shards`, weights.bytes);
}

function checkEntries(manifest: Manifest): void {
  for (const [name, entry] of Object.entries(manifest.entries)) {
    const path = ["entries", name];
    const largest = new Map(Object.entries(entry.symbols));
    for (const [symbol, minimum] of Object.entries(entry.minimums ?? {})) {
      const most = largest.get(symbol) ?? 0;
      if (minimum > most) fail([...path, "minimums", symbol], `at most ${most}`, minimum);
    }

    const bound = new Set<string>();
    for (const side of ["inputs", "outputs"] as const) {
      const names = new Set<string>();
      for (const [index, tensor] of entry[side].entries()) {
        const at = [...path, side, index];
        if (names.has(tensor.name)) fail([...at, "name"], `each of the ${side} once`, tensor.name);
        names.add(tensor.name);
        let elements = 1;
        for (const [axis, dim] of tensor.dims.entries()) {
          if (typeof dim === "string" && !largest.has(dim))
            fail([...at, "dims", axis], "a symbol of the entry", dim);
          if (typeof dim === "string" && side === "inputs") bound.add(dim);
          if (typeof dim === "string" && side === "outputs" && !bound.has(dim)) {
            fail([...at, "dims", axis], "a symbol that an input has", dim);
          }
          elements *= typeof dim === "number" ? dim : largest.get(dim)!;
        }
        const width = arrays[tensor.dtype].BYTES_PER_ELEMENT;
        if (tensor.bytes < elements * width) {
          fail(
            [...at, "bytes"],
            `at least ${elements * width}, for ${elements} of ${tensor.dtype}`,
            tensor.bytes,
          );
        }
        if (tensor.offset % TENSOR_ALIGNMENT !== 0) {
          fail([...at, "offset"], `a multiple of ${TENSOR_ALIGNMENT}`, tensor.offset);
        }
        if (tensor.offset + tensor.bytes > manifest.regions.io) {
          fail(
            [...at, "offset"],
            `at most ${manifest.regions.io - tensor.bytes}, inside the io region`,
            tensor.offset,
          );
        }
      }
    }
  }
}

function checkStates({ states = [], regions }: Manifest): void {
  const names = new Set<string>();
  for (const [index, state] of states.entries()) {
    const at = ["states", index];
    if (names.has(state.name)) fail([...at, "name"], "each of the states once", state.name);
    names.add(state.name);
    let bytes: number = arrays[state.dtype].BYTES_PER_ELEMENT;
    for (const [axis, dim] of state.dims.entries()) {
      if (typeof dim === "string") fail([...at, "dims", axis], "a number", dim);
      bytes *= dim;
    }
    if (state.bytes !== bytes) fail([...at, "bytes"], `${bytes}, what the elements take`, state.bytes);
    if (state.offset % TENSOR_ALIGNMENT !== 0) {
      fail([...at, "offset"], `a multiple of ${TENSOR_ALIGNMENT}`, state.offset);
    }
    if (state.offset + bytes > regions.state) {
      fail([...at, "offset"], `at most ${regions.state - bytes}, inside the state region`, state.offset);
    }
  }
}

/** The values of an expression with the entry's symbols at their smallest and largest. */
type Range = (expr: SymbolExpr, at: Path) => readonly [number, number];

/** A target as far as all targets are alike. */
interface Planned {
  readonly arena: number;
  readonly plans: Plans;
  readonly kernels: readonly { readonly name: string }[];
  readonly selfCheck?: SelfCheck | undefined;
}

/** What a target asks of its steps besides. */
type CheckStep = (step: Step, path: Path, range: Range) => void;

function checkPlans(manifest: Manifest, planned: Planned, target: Path, checkStep?: CheckStep): void {
  const { plans } = planned;
  for (const name of Object.keys(plans)) {
    if (!Object.hasOwn(manifest.entries, name)) {
      fail([...target, "plans", name], "the name of an entry", Object.keys(manifest.entries));
    }
  }
  for (const [name, entry] of Object.entries(manifest.entries)) {
    const path = [...target, "plans", name];
    if (!Object.hasOwn(plans, name)) fail(path, "the steps of the entry", undefined);
    for (const [index, step] of plans[name]!.entries()) {
      const unknown = step.serves?.find((served) => !entry.outputs.some((output) => output.name === served));
      if (unknown !== undefined) fail([...path, index, "serves"], "outputs of the entry", unknown);
    }
    const smallest = Object.keys(entry.symbols).map((symbol) => [symbol, entry.minimums?.[symbol] ?? 1]);
    const bounds = [Object.fromEntries(smallest), entry.symbols] as const;
    checkSteps(manifest, planned, plans[name]!, bounds, path, checkStep);
  }
  checkSelfCheck(manifest, planned, [...target, "selfCheck"], checkStep);
}

/** Checks steps with their symbols at their smallest and largest. */
function checkSteps(
  manifest: Manifest,
  { arena, kernels }: Planned,
  steps: readonly Step[],
  bounds: readonly [Readonly<Record<string, number>>, Readonly<Record<string, number>>],
  path: Path,
  checkStep?: CheckStep,
): void {
  const known = new Set(kernels.map(({ name }) => name));
  const sizes = { ...manifest.regions, arena, weights: manifest.weights.bytes };
  const [smallest, largest] = bounds.map((symbols) => new Map(Object.entries(symbols)));
  const range: Range = (expr, at) => {
    try {
      // Every operator grows with its operands where they are counts.
      return [evaluate(expr, smallest!), evaluate(expr, largest!)];
    } catch {
      return fail(at, "an expression over the entry's symbols", expr);
    }
  };
  for (const [index, step] of steps.entries()) {
    const at = [...path, index];
    if (!known.has(step.kernel)) fail([...at, "kernel"], "a kernel of the target", step.kernel);
    range(step.range, [...at, "range"]);
    if (step.rangeY !== undefined) range(step.rangeY, [...at, "rangeY"]);
    if (step.guard !== undefined) range(step.guard.value, [...at, "guard", "value"]);
    for (const [position, argument] of step.arguments.entries()) {
      const where = [...at, "arguments", position];
      if (argument.kind === "i32") range(argument.value, [...where, "value"]);
      if (argument.kind !== "buffer") continue;
      const size = sizes[argument.region];
      const [first, last] = range(argument.offset, [...where, "offset"]);
      if (!(first >= 0 && last <= size)) {
        fail([...where, "offset"], `0 to ${size}, inside the ${argument.region} region`, [first, last]);
      }
      if (argument.bytes === undefined) continue;
      const [least, most] = range(argument.bytes, [...where, "bytes"]);
      if (!(least >= 0 && last + most <= size)) {
        fail([...where, "bytes"], `at most ${size - last}, inside the ${argument.region} region`, most);
      }
    }
    checkStep?.(step, at, range);
  }
}

function checkSelfCheck(manifest: Manifest, planned: Planned, path: Path, checkStep?: CheckStep): void {
  const { selfCheck, arena } = planned;
  if (selfCheck === undefined) return;
  const file = manifest.files.find((candidate) => candidate.path === selfCheck.path);
  if (file === undefined) fail([...path, "path"], "a path listed in files", selfCheck.path);
  const sizes = { ...manifest.regions, arena, weights: manifest.weights.bytes };
  const within = (size: number, what: string, offset: number, bytes: number, at: Path): void => {
    if (offset + bytes > size) fail(at, `at most ${size - bytes}, inside ${what}`, offset);
  };
  // Checks run before the weights are there, and leave states zero.
  const passing = (region: Region, at: Path): void => {
    if (region !== "io" && region !== "arena") fail(at, "io or arena", region);
  };
  const names = new Set(Object.keys(manifest.entries));
  for (const [index, { name, symbols, steps, runs }] of selfCheck.checks.entries()) {
    const at = [...path, "checks", index];
    if (names.has(name)) fail([...at, "name"], "a name of its own", name);
    names.add(name);
    checkSteps(manifest, planned, steps, [symbols, symbols], [...at, "steps"], checkStep);
    for (const [number, step] of steps.entries()) {
      for (const [position, argument] of step.arguments.entries()) {
        const of = [...at, "steps", number, "arguments", position, "region"];
        if (argument.kind === "buffer") passing(argument.region, of);
      }
    }
    for (const [number, run] of runs.entries()) {
      const where = [...at, "runs", number];
      for (const [symbol, most] of Object.entries(symbols)) {
        const value = run.symbols[symbol];
        if (value === undefined || value > most)
          fail([...where, "symbols", symbol], `at most ${most}`, value);
      }
      checkSteps(manifest, planned, steps, [run.symbols, run.symbols], [...at, "steps"], checkStep);
      for (const [place, { offset, bytes, data, stored }] of run.writes.entries()) {
        const of = [...where, "writes", place];
        within(sizes.io, "the io region", offset, bytes, [...of, "offset"]);
        within(file.bytes, file.path, data, stored, [...of, "data"]);
        if (offset % TENSOR_ALIGNMENT !== 0)
          fail([...of, "offset"], `a multiple of ${TENSOR_ALIGNMENT}`, offset);
      }
      for (const [place, read] of run.reads.entries()) {
        const of = [...where, "reads", place];
        const { kernel, region, offset, bytes, dtype, expected, tolerances, parts } = read;
        const { stored = bytes, patches = [] } = read;
        if (!steps.some((step) => step.kernel === kernel)) fail([...of, "kernel"], "that of a step", kernel);
        passing(region, [...of, "region"]);
        within(sizes[region], `the ${region} region`, offset, bytes, [...of, "offset"]);
        within(file.bytes, file.path, expected, stored, [...of, "expected"]);
        for (const [index, { at, bytes: length, data }] of patches.entries()) {
          within(bytes, "what is read", at, length, [...of, "patches", index, "at"]);
          within(file.bytes, file.path, data, length, [...of, "patches", index, "data"]);
        }
        within(file.bytes, file.path, tolerances, 4 * parts, [...of, "tolerances"]);
        const width = arrays[dtype].BYTES_PER_ELEMENT;
        if (offset % 4 !== 0) fail([...of, "offset"], "a multiple of 4", offset);
        if (bytes % (width * parts) !== 0)
          fail([...of, "bytes"], `a multiple of ${parts} times ${width}`, bytes);
      }
    }
  }
}

function checkWasm(manifest: Manifest): void {
  const { targets, files, regions, weights, entries } = manifest;
  const { wasm } = targets;
  if (wasm === undefined) return;
  const path = ["targets", "wasm"];
  checkPlans(manifest, wasm, path);
  for (const [variant, module] of Object.entries(wasm.modules)) {
    if (!files.some((file) => file.path === module)) {
      fail([...path, "modules", variant], "a path listed in files", module);
    }
  }
  const { memory, symbolOrder } = wasm;
  if (memory.totalBytes > MAX_WASM_BYTES) {
    fail([...path, "memory", "totalBytes"], `at most ${MAX_WASM_BYTES}`, memory.totalBytes);
  }
  if (memory.maxThreads > WASM_MAX_THREADS) {
    fail([...path, "memory", "maxThreads"], `at most ${WASM_MAX_THREADS}`, memory.maxThreads);
  }
  for (const region of ["symbols", "control", "scratch", "io", "arena", "state", "weights"] as const) {
    if (memory[region] % 16 !== 0) fail([...path, "memory", region], "a multiple of 16", memory[region]);
  }
  const places = (
    [
      ["symbols", 4 * (symbolOrder.length + 1)],
      ["control", WASM_CONTROL_BYTES],
      ["scratch", memory.scratchBytes * memory.maxThreads],
      ["io", regions.io],
      ["arena", wasm.arena],
      ["state", regions.state],
      ["weights", weights.bytes],
    ] as const
  )
    .map(([name, bytes]) => ({ name, start: memory[name], end: memory[name] + bytes }))
    .filter(({ start, end }) => end > start)
    .sort((a, b) => a.start - b.start);
  let free = 0;
  for (const { name, start, end } of places) {
    if (start < free) fail([...path, "memory", name], `at least ${free}, past what lies before`, start);
    free = end;
  }
  if (memory.totalBytes < free)
    fail([...path, "memory", "totalBytes"], `at least ${free}`, memory.totalBytes);
  for (const [name, entry] of Object.entries(entries)) {
    for (const symbol of Object.keys(entry.symbols)) {
      if (!symbolOrder.includes(symbol)) {
        fail([...path, "symbolOrder"], `to include "${symbol}", a symbol of ${name}`, symbolOrder);
      }
    }
  }
}

function checkWebgpu(manifest: Manifest): void {
  const { webgpu } = manifest.targets;
  if (webgpu === undefined) return;
  const path = ["targets", "webgpu"];
  for (const [index, kernel] of webgpu.kernels.entries()) {
    const at = [...path, "kernels", index, "variants"];
    for (const [number, variant] of kernel.variants.entries()) {
      if (!manifest.files.some((file) => file.path === variant.source)) {
        fail([...at, number, "source"], "a path listed in files", variant.source);
      }
      for (const of of ["bindings", "uniforms"] as const) {
        for (const [place, field] of variant[of].entries()) {
          if ("parameter" in field && !kernel.parameters.includes(field.parameter)) {
            fail([...at, number, of, place, "parameter"], "a parameter of the kernel", field.parameter);
          }
        }
      }
    }
    const last = kernel.variants.length - 1;
    const { requires } = kernel.variants[last]!;
    if (requires.length > 0) fail([...at, last, "requires"], "nothing of the last variant", requires);
  }
  const sizes = { ...manifest.regions, arena: webgpu.arena, weights: manifest.weights.bytes };
  for (const [region, starts] of Object.entries(webgpu.buffers)) {
    const size = sizes[region as Region];
    if (starts.length === 0) fail([...path, "buffers", region], "at least one buffer", starts);
    for (const [index, start] of starts.entries()) {
      const least = index === 0 ? 0 : starts[index - 1]! + 1;
      const most = index === 0 ? 0 : size - 1;
      if (!(start >= least && start <= most) || start % TENSOR_ALIGNMENT !== 0) {
        const expected = `a multiple of ${TENSOR_ALIGNMENT} from ${least} to ${most}`;
        fail([...path, "buffers", region, index], expected, start);
      }
    }
  }
  const kernels = new Map(webgpu.kernels.map((kernel) => [kernel.name, kernel]));
  checkPlans(manifest, webgpu, path, (step, at, range) => {
    const kernel = kernels.get(step.kernel)!;
    checkBindings(step, kernel, at);
    checkBuffers(step, kernel, webgpu, at, range);
  });
}

/** That each binding lies in one buffer, and that none is written that is bound a second time. */
function checkBuffers(
  step: Step,
  { parameters, variants }: WebgpuKernel,
  { buffers }: WebgpuTarget,
  path: Path,
  range: Range,
): void {
  for (const { bindings } of variants) {
    const bound = new Map<string, boolean>();
    for (const { parameter, access } of bindings) {
      const position = parameters.indexOf(parameter);
      const argument = step.arguments[position]!;
      if (argument.kind !== "buffer") continue;
      const at = [...path, "arguments", position];
      const [first, last] = range(argument.offset, [...at, "offset"]);
      const end = last + range(argument.bytes!, [...at, "bytes"])[1];
      const holding = (byte: number) => buffers[argument.region].findLastIndex((start) => start <= byte);
      const buffer = holding(first);
      if (holding(Math.max(first, end - 1)) !== buffer) {
        fail([...at, "bytes"], `within buffer ${buffer} of the ${argument.region} region`, [first, end]);
      }
      const name = `${argument.region} ${buffer}`;
      const isWritten = access === "read-write";
      if (bound.has(name) && (isWritten || bound.get(name))) {
        fail(at, "a buffer of its own, or one that the step only reads", argument);
      }
      bound.set(name, isWritten);
    }
  }
}

/** That a step has for every binding and uniform of its kernel an argument that can be bound. */
function checkBindings(step: Step, kernel: WebgpuKernel, path: Path): void {
  const argumentOf = argumentsByName(step, kernel, path);
  for (const { bindings, uniforms } of kernel.variants) {
    for (const uniform of uniforms) {
      if (uniform.kind === "scalar") checkScalar(argumentOf(uniform.parameter), uniform.type);
      else if (uniform.kind === "offset") bufferOf(argumentOf(uniform.parameter));
    }
    for (const { parameter, element } of bindings) {
      const given = argumentOf(parameter);
      const { bytes } = bufferOf(given);
      if (bytes === undefined) fail([...given.at, "bytes"], "how much the kernel reaches", undefined);
      const hasOffset = uniforms.some((field) => field.kind === "offset" && field.parameter === parameter);
      checkAligned(given, hasOffset ? element : TENSOR_ALIGNMENT);
    }
  }
}

function checkCuda(manifest: Manifest): void {
  const { cuda } = manifest.targets;
  if (cuda === undefined) return;
  const path = ["targets", "cuda"];
  const isListed = (source: string) => manifest.files.some((file) => file.path === source);
  for (const [index, image] of cuda.images.entries()) {
    if (!isListed(image.path)) fail([...path, "images", index, "path"], "a path listed in files", image.path);
  }
  const kernels = new Map(cuda.kernels.map((kernel) => [kernel.name, kernel]));
  for (const [index, { source, parameters, launch }] of cuda.kernels.entries()) {
    const at = [...path, "kernels", index];
    if (!isListed(source)) fail([...at, "source"], "a path listed in files", source);
    for (const [place, field] of launch.entries()) {
      if ("parameter" in field && !parameters.includes(field.parameter)) {
        fail([...at, "launch", place, "parameter"], "a parameter of the kernel", field.parameter);
      }
    }
  }
  checkPlans(manifest, cuda, path, (step, at) => {
    const kernel = kernels.get(step.kernel)!;
    const argumentOf = argumentsByName(step, kernel, at);
    for (const field of kernel.launch) {
      if (field.kind === "scalar") checkScalar(argumentOf(field.parameter), field.type);
      else if (field.kind === "buffer") checkAligned(argumentOf(field.parameter), field.element);
    }
  });
}

/** An argument of a step, and where it stands in the manifest. */
interface Given {
  readonly argument: Argument;
  readonly at: Path;
}

/** Finds a step's arguments by what its kernel calls them. */
function argumentsByName(
  step: Step,
  { parameters }: { readonly parameters: readonly string[] },
  path: Path,
): (parameter: string) => Given {
  if (step.arguments.length !== parameters.length) {
    fail([...path, "arguments"], `one for each of ${parameters.join(", ")}`, step.arguments.length);
  }
  return (parameter) => {
    const index = parameters.indexOf(parameter);
    return { argument: step.arguments[index]!, at: [...path, "arguments", index] };
  };
}

function checkScalar({ argument, at }: Given, type: "i32" | "u32" | "f32" | "bool"): void {
  const expected = type === "f32" ? "f32" : "i32";
  if (argument.kind !== expected) fail([...at, "kind"], expected, argument.kind);
}

function bufferOf({ argument, at }: Given): Extract<Argument, { kind: "buffer" }> {
  return argument.kind === "buffer" ? argument : fail([...at, "kind"], "buffer", argument.kind);
}

function checkAligned(given: Given, unit: number): void {
  const { offset } = bufferOf(given);
  if (divisor(offset) % unit !== 0) {
    fail([...given.at, "offset"], `a multiple of ${unit}, whatever the symbols are`, offset);
  }
}

/** A number that divides the expression whatever its symbols are; 0 if the expression is 0. */
function divisor(expr: SymbolExpr): number {
  if (typeof expr === "number") return Math.abs(expr);
  if (typeof expr === "string") return 1;
  const [operator, left, right] = expr;
  if (operator === "ceildiv") return 1;
  const [a, b] = [divisor(left), divisor(right)];
  return operator === "mul" ? a * b : greatestCommonDivisor(a, b);
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** Inputs of a language model's entries; each takes tokens i32[batch, seq] at positions and slots i32[batch]. */
const LANGUAGE_INPUTS = ["tokens", "positions", "slots"] as const;

function checkLanguageModel({ languageModel, entries, regions }: Manifest): void {
  if (languageModel === undefined) return;
  const { vocabularySize, contextLength, chunkLength, slots, candidates, bosToken, stopTokens } =
    languageModel;
  if (chunkLength > contextLength) {
    fail(["languageModel", "chunkLength"], `at most the context of ${contextLength}`, chunkLength);
  }
  if (candidates > vocabularySize) {
    fail(["languageModel", "candidates"], `at most the vocabulary of ${vocabularySize}`, candidates);
  }
  // A cache holds at least one f32 for each position of each slot; how many, the manifest does not say.
  if (regions.state > 0 && 4 * contextLength * slots > regions.state) {
    const positions = Math.floor(regions.state / 4 / slots);
    fail(["languageModel", "contextLength"], `at most ${positions}, for which there is state`, contextLength);
  }
  for (const token of bosToken === null ? stopTokens : [bosToken, ...stopTokens]) {
    if (!(token >= 0 && token < vocabularySize)) {
      fail(["languageModel"], `token ids below ${vocabularySize}`, token);
    }
  }
  const run = Object.hasOwn(entries, "run") ? entries.run : undefined;
  const rows = run?.symbols.slots;
  if (rows !== undefined && slots > rows) {
    fail(["languageModel", "slots"], `at most ${rows}, as the entry run has`, slots);
  }
  for (const name of ["prefill", "decode"]) {
    const entry = Object.hasOwn(entries, name) ? entries[name] : undefined;
    if (entry === undefined) fail(["entries"], `the entries prefill and decode`, Object.keys(entries));
    const length = name === "prefill" ? chunkLength : 1;
    for (const input of LANGUAGE_INPUTS) {
      const tensor = entry.inputs.find((candidate) => candidate.name === input);
      const needed = input === "tokens" ? length : 1;
      if (tensor?.dtype !== "i32" || tensor.bytes < 4 * needed) {
        fail(["entries", name, "inputs"], `an input "${input}" of i32 for ${needed} of them`, tensor);
      }
    }
    for (const [output, dtype, size] of [
      ["logits", "f32", vocabularySize],
      ["bestLogit", "f32", 1],
      ["bestToken", "i32", 1],
      ["topLogits", "f32", candidates],
      ["topTokens", "i32", candidates],
    ] as const) {
      const tensor = entry.outputs.find((candidate) => candidate.name === output);
      if (tensor?.dtype !== dtype || tensor.dims.at(-1) !== size) {
        fail(["entries", name, "outputs"], `an output "${output}" of ${dtype}[..., ${size}]`, tensor);
      }
    }
  }
}
