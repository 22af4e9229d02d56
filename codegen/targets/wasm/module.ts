/**
 * The WebAssembly module of an artifact: every kernel, and for each entry a driver that walks its steps, so
 * that a call from JavaScript runs the whole entry. Memory is imported as `env.memory`.
 *
 * Exports: `run(entry)` as thread 0, entries numbered in the order given; `work(thread)` for the other
 * threads; `setThreads(n)`, `setMayWait(flag)`, `stop()`, `fail()`: see `control.ts`.
 */
import { BitloomError } from "../../../errors/index.ts";
import type { Argument, Plans, Step, WasmTarget } from "../../../runtime/manifest.ts";
import { outputBits } from "../../../runtime/output-bits.ts";
import type { KernelFunction, Parameter } from "../../kernel/ir.ts";
import { MAX_THREADS, renderSingleThreadControl, renderThreadControl } from "./control.ts";
import { renderFunctions } from "./functions.ts";
import { floatText } from "./numbers.ts";
import { layOut, type SExpression } from "./s-expression.ts";
import { symbolCode, symbolLocal } from "./symbol-code.ts";

const PAGE_BYTES = 65_536;
const MAX_PAGES = 65_536;

export interface WasmModuleSource {
  /** In any order; helpers they carry are emitted once. */
  readonly kernels: readonly KernelFunction[];
  /** In the order in which `run` numbers the entries. */
  readonly plans: Readonly<Plans>;
  /** For each entry and step, whether the step waits for those before it; all steps of an entry that is absent do. */
  readonly waits: Readonly<Record<string, readonly boolean[]>>;
  /** The names of each entry's outputs, in order; absent if it has none. */
  readonly outputs: Readonly<Record<string, readonly string[]>>;
  readonly memory: WasmTarget["memory"];
  /** Order of the i32 values at `memory.symbols`, which the bits of the outputs asked for follow. */
  readonly symbolOrder: readonly string[];
  /** For shared memory and many threads, or for one thread. */
  readonly shared: boolean;
}

/**
 * The module's text.
 * @throws LIMIT_EXCEEDED above 4 GiB or 255 threads, INVALID_GRAPH where a step and its kernel disagree
 */
export function renderModule(source: WasmModuleSource): string {
  const { kernels, plans, memory, shared } = source;
  const pages = Math.ceil(memory.totalBytes / PAGE_BYTES);
  if (pages > MAX_PAGES) {
    throw new BitloomError("LIMIT_EXCEEDED", "the model needs more memory than WebAssembly can address", {
      expected: `at most ${MAX_PAGES * PAGE_BYTES} bytes`,
      received: `${memory.totalBytes} bytes`,
    });
  }
  if (memory.maxThreads > MAX_THREADS) {
    throw new BitloomError("LIMIT_EXCEEDED", "too many threads", {
      expected: `at most ${MAX_THREADS}`,
      received: `${memory.maxThreads}`,
      hint: "Plan for fewer threads.",
    });
  }
  const names = Object.keys(plans);
  const drivers = names.map((name) => renderEntry(name, plans[name]!, source));
  const control = shared ? renderThreadControl(memory.control) : renderSingleThreadControl(memory.control);
  return [
    "(module",
    `  (import "env" "memory" (memory ${pages} ${MAX_PAGES}${shared ? " shared" : ""}))`,
    ...renderFunctions(kernels),
    SHARE,
    ...drivers,
    renderExecute(names),
    control,
    ")\n",
  ].join("\n");
}

/** The first item of a thread's part; the parts of neighbours differ by one item at most. */
const SHARE = `
  ;; Where the part of this thread begins; it ends where the next one's begins.
  (func $share (param $items i32) (param $thread i32) (param $threads i32) (result i32)
    (local $rest i32)
    (local.set $rest (i32.rem_u (local.get $items) (local.get $threads)))
    (i32.add
      (i32.mul (i32.div_u (local.get $items) (local.get $threads)) (local.get $thread))
      (select (local.get $thread) (local.get $rest) (i32.lt_u (local.get $thread) (local.get $rest)))))`;

/** Chooses the entry; numbers outside are a caller's bug and trap. */
function renderExecute(entries: readonly string[]): string {
  const cases = entries.map((name, i) =>
    layOut(
      [
        "if",
        equal("$entry", i),
        ["then", ["call", entryName(name), get("$thread"), get("$threads")], ["return"]],
      ],
      "    ",
    ),
  );
  return [
    "",
    "  (func $execute (param $entry i32) (param $thread i32) (param $threads i32)",
    ...cases,
    "    (unreachable))",
  ].join("\n");
}

const get = (local: string): SExpression => ["local.get", local];
const equal = (local: string, value: number): SExpression => ["i32.eq", get(local), constant(value)];
const constant = (value: number): SExpression => ["i32.const", String(value | 0)];
const entryName = (name: string): string => `$entry_${name}`;

function renderEntry(name: string, steps: readonly Step[], source: WasmModuleSource): string {
  const { memory, symbolOrder, outputs, waits, shared } = source;
  const lines: SExpression[] = symbolOrder.map((symbol, i) => [
    "local.set",
    symbolLocal(symbol),
    ["i32.load", constant(memory.symbols + 4 * i)],
  ]);
  lines.push(["local.set", "$asked", ["i32.load", constant(memory.symbols + 4 * symbolOrder.length)]]);
  lines.push([
    "local.set",
    "$scratch",
    ["i32.add", constant(memory.scratch), ["i32.mul", get("$thread"), constant(memory.scratchBytes)]],
  ]);
  const barrier: SExpression = ["call", "$barrier", get("$thread"), get("$threads")];
  steps.forEach((step, i) => {
    const mustWait = shared && i > 0 && (waits[name]?.[i] ?? true);
    lines.push(...renderStep(step, outputs[name] ?? [], source, mustWait ? [barrier] : []));
  });
  // Workers must be done with the job on every path.
  if (shared) lines.push(barrier);
  return [
    "",
    `  (func ${entryName(name)} (param $thread i32) (param $threads i32)`,
    "    (local $items i32) (local $begin i32) (local $end i32) (local $scratch i32) (local $asked i32)",
    ...symbolOrder.map((symbol) => `    (local ${symbolLocal(symbol)} i32)`),
    ...lines.map((line) => layOut(line, "    ")),
    "  )",
  ].join("\n");
}

function renderStep(
  step: Step,
  outputs: readonly string[],
  source: WasmModuleSource,
  barrier: readonly SExpression[],
): SExpression[] {
  const { symbolOrder } = source;
  const kernel = source.kernels.find(({ name }) => name === step.kernel);
  if (kernel === undefined) {
    throw new BitloomError("INVALID_GRAPH", `step ${step.label} runs an unknown kernel`, {
      received: step.kernel,
    });
  }
  checkArguments(step, kernel);
  const items = symbolCode(step.range, symbolOrder);
  const nextThread: SExpression = ["i32.add", get("$thread"), constant(1)];
  const call: SExpression = [
    "call",
    `$${kernel.name}`,
    ...step.arguments.map((argument) => argumentCode(argument, source)),
    get("$begin"),
    get("$end"),
  ];
  const body: SExpression[] = [
    ...barrier,
    ["local.set", "$items", items],
    ["local.set", "$begin", ["call", "$share", get("$items"), get("$thread"), get("$threads")]],
    ["local.set", "$end", ["call", "$share", get("$items"), nextThread, get("$threads")]],
    ["if", ["i32.lt_u", get("$begin"), get("$end")], ["then", call]],
  ];
  const label = `;; ${step.label.replaceAll(/\s+/g, " ")}`;
  const conditions: SExpression[] = [];
  if (step.guard !== undefined) {
    const value = symbolCode(step.guard.value, symbolOrder);
    conditions.push(
      ["i32.ge_s", value, constant(step.guard.lower)],
      ["i32.le_s", value, constant(Math.min(step.guard.upper, 0x7fffffff))],
    );
  }
  if (step.serves !== undefined) {
    const asked: SExpression = ["i32.and", get("$asked"), constant(outputBits(outputs, step.serves))];
    conditions.push(["i32.ne", asked, constant(0)]);
  }
  if (conditions.length === 0) return [label, ...body];
  return [label, ["if", conditions.reduce((a, b) => ["i32.and", a, b]), ["then", ...body]]];
}

function argumentCode(argument: Argument, { memory, symbolOrder }: WasmModuleSource): SExpression {
  switch (argument.kind) {
    case "buffer":
      return symbolCode(["add", argument.offset, memory[argument.region]], symbolOrder);
    case "i32":
      return symbolCode(argument.value, symbolOrder);
    case "f32":
      return ["f32.const", floatText("f32", argument.value)];
    case "scratch":
      return get("$scratch");
  }
}

/** A step gives a kernel's parameters in order, without the `begin, end` at their end. */
function checkArguments(step: Step, kernel: KernelFunction): void {
  const expected = kernel.parameters.map(parameterKind);
  const given = [...step.arguments.map(({ kind }) => (kind === "scratch" ? "buffer" : kind)), "i32", "i32"];
  if (expected.join() !== given.join()) {
    throw new BitloomError("INVALID_GRAPH", `step ${step.label} and kernel ${kernel.name} disagree`, {
      expected: kernel.parameters.map((parameter, i) => `${parameter.name}: ${expected[i]}`).join(", "),
      received: given.join(", "),
    });
  }
}

function parameterKind(parameter: Parameter): string {
  return parameter.kind === "buffer" ? "buffer" : parameter.type;
}
