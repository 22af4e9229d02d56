import type { Argument, Entry, Step } from "../../runtime/manifest.ts";
import { formatBytes } from "./bytes.ts";
import type { Plan, PlannedKernel, StepTraffic, TargetName, TargetPlan } from "./plan.ts";
import { repeats } from "./repeats.ts";
import { formatExpr } from "./symbols.ts";

/**
 * A target's plan as `bitloom inspect` prints it: memory, kernels, and the steps of each entry, or of `only` one, with
 * the bytes they move at most. Steps that repeat, as those of a model's layers do, are printed once.
 */
export function formatPlan(plan: Plan, target: TargetName, only?: string): string {
  const { io, state, weights } = plan.regions;
  const { arena, scratch, kernels: planned, plans } = plan.targets[target]!;
  const memory = [
    `weights ${formatBytes(weights)} in ${plan.weights.length} buffers`,
    `state ${formatBytes(state)}`,
    `temporaries ${formatBytes(arena.bytes)}`,
    `inputs and outputs ${formatBytes(io)}`,
    ...(scratch === 0 ? [] : [`scratch ${formatBytes(scratch)} a thread`]),
  ];
  const uses = new Map<string, number>();
  const entries = Object.entries(plans).filter(([name]) => only === undefined || name === only);
  for (const [, steps] of entries) {
    for (const { kernel } of steps) uses.set(kernel, (uses.get(kernel) ?? 0) + 1);
  }
  const kernels = planned
    .filter(({ name }) => uses.has(name))
    .map(({ name, template }) => [name, template, count(uses.get(name)!, "step")]);
  return [
    "memory",
    ...memory.map((line) => `  ${line}`),
    `kernels (${kernels.length})`,
    ...table(kernels),
    ...entries.flatMap(([name]) => formatEntry(name, plan.entries[name]!, plan.targets[target]!)),
    "",
  ].join("\n");
}

function formatEntry(name: string, entry: Entry, { plans, summaries, kernels }: TargetPlan): string[] {
  const isOverRange = ({ variants }: PlannedKernel) => variants.baseline.workgroupSize === undefined;
  const overRange = new Set(kernels.filter(isOverRange).map((kernel) => kernel.name));
  const steps = plans[name]!;
  const { traffic, arena } = summaries[name]!;
  const bounds = Object.entries(entry.symbols).map(([symbol, max]) => {
    const min = entry.minimums?.[symbol];
    return min === undefined ? `${symbol} <= ${max}` : `${min} <= ${symbol} <= ${max}`;
  });
  const rows = steps.map((step, i) => {
    const work = formatWork(step, overRange.has(step.kernel) ? "items" : "workgroups");
    return [step.label, step.kernel, work, ...bytesMoved(traffic[i]!), formatConditions(step, entry)];
  });
  const alike = rows.map(([, ...rest]) => JSON.stringify(rest));
  const widths = columnWidths(rows);
  const stretches = repeats(alike).flatMap(({ start, period, times }) => {
    const lines = rows.slice(start, start + period);
    // A heading for two lines saves none.
    if (lines.length * (times - 1) < 2) return table(rows.slice(start, start + period * times), widths);
    const moves = formatMoves(traffic.slice(start, start + period));
    const shown = lines.map(([label, ...rest]) => [anyNumber(label!), ...rest]);
    return [
      `  ${times} times ${count(period, "step")}, each time ${moves}:`,
      ...table(shown, widths, "    "),
    ];
  });
  return [
    `${name}(${bounds.join(", ")}): ${count(steps.length, "step")}`,
    `  moves ${formatMoves(traffic)}`,
    `  ${count(arena.buffers, "temporary", "temporaries")} of ${formatBytes(arena.unsharedBytes)} share ${formatBytes(arena.bytes)}`,
    ...stretches,
  ];
}

function formatMoves(traffic: readonly StepTraffic[]): string {
  const sum = (of: keyof StepTraffic) => traffic.reduce((total, step) => total + step[of], 0);
  return [
    `weights ${formatBytes(sum("weights"))}`,
    `read ${formatBytes(sum("read"))}`,
    `written ${formatBytes(sum("written"))}`,
  ].join(", ");
}

/** What steps that repeat are called: `%model.layers.7.mlp` as `%model.layers.*.mlp`. */
function anyNumber(label: string): string {
  return label.replaceAll(/(?<=\.)\d+\b/g, "*");
}

function count(items: number, one: string, many = `${one}s`): string {
  return `${items} ${items === 1 ? one : many}`;
}

/** `96 items`, or `seq x 4 workgroups`. */
function formatWork({ range, rangeY }: Step, unit: "items" | "workgroups"): string {
  return rangeY === undefined
    ? `${formatExpr(range)} ${unit}`
    : `${formatExpr(range)} x ${formatExpr(rangeY)} ${unit}`;
}

function bytesMoved({ weights, read, written }: StepTraffic): string[] {
  const moved = (what: string, bytes: number) => (bytes === 0 ? "" : `${what} ${formatBytes(bytes)}`);
  return [moved("weights", weights), moved("read", read), moved("written", written)];
}

/** What a step is run for, where that is not every call. */
function formatConditions({ guard, serves }: Step, { outputs }: Entry): string {
  const isForSome = serves !== undefined && serves.length < outputs.length;
  const conditions = [guard && formatGuard(guard), isForSome && `for ${serves.join(", ")}`];
  return conditions.filter((condition) => typeof condition === "string").join(" ");
}

function formatGuard({ value, lower, upper }: NonNullable<Step["guard"]>): string {
  const expr = formatExpr(value);
  return lower === upper ? `if ${expr} = ${lower}` : `if ${lower} <= ${expr} <= ${upper}`;
}

function columnWidths(rows: readonly (readonly string[])[]): number[] {
  return (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
}

/** Rows with aligned columns, indented. */
function table(
  rows: readonly (readonly string[])[],
  widths: readonly number[] = columnWidths(rows),
  indent = "  ",
): string[] {
  return rows.map((row) =>
    `${indent}${row.map((cell, column) => cell.padEnd(widths[column]!)).join("  ")}`.trimEnd(),
  );
}

/** A step's argument in words: `weights + 4096`, `batch * seq`. */
export function formatArgument(argument: Argument): string {
  switch (argument.kind) {
    case "buffer":
      return `${argument.region} + ${formatExpr(argument.offset)}`;
    case "i32":
      return formatExpr(argument.value);
    case "f32":
      return String(argument.value);
    case "scratch":
      return "scratch";
  }
}
