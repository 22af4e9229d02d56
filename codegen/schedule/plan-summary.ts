import type { Argument, Entry, Step } from "../../runtime/manifest.ts";
import { formatBytes } from "./bytes.ts";
import type { Plan, PlannedKernel, TargetName, TargetPlan } from "./plan.ts";
import { formatExpr } from "./symbols.ts";

/**
 * A target's plan as `bitloom inspect` prints it: memory, kernels, and the steps of each entry, or of `only` one, with
 * the bytes they move.
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
  const kernels = planned.map(({ name, template }) => [name, template, `${uses.get(name) ?? 0} steps`]);
  return [
    "memory",
    ...memory.map((line) => `  ${line}`),
    `kernels (${planned.length})`,
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
  const sum = (of: "weights" | "read" | "written") => traffic.reduce((total, step) => total + step[of], 0);
  const rows = steps.map((step, i) => {
    const { weights, read, written } = traffic[i]!;
    return [
      step.label,
      step.kernel,
      formatWork(step, overRange.has(step.kernel) ? "items" : "workgroups"),
      moved("weights", weights),
      moved("read", read),
      moved("written", written),
      step.guard === undefined ? "" : formatGuard(step.guard),
    ];
  });
  return [
    `${name}(${bounds.join(", ")}): ${steps.length} steps`,
    `  moves weights ${formatBytes(sum("weights"))}, read ${formatBytes(sum("read"))}, written ${formatBytes(sum("written"))}`,
    `  ${arena.buffers} temporaries of ${formatBytes(arena.unsharedBytes)} share ${formatBytes(arena.bytes)}`,
    ...table(rows),
  ];
}

/** `96 items`, or `seq x 4 workgroups`. */
function formatWork({ range, rangeY }: Step, unit: "items" | "workgroups"): string {
  return rangeY === undefined
    ? `${formatExpr(range)} ${unit}`
    : `${formatExpr(range)} x ${formatExpr(rangeY)} ${unit}`;
}

function moved(what: string, bytes: number): string {
  return bytes === 0 ? "" : `${what} ${formatBytes(bytes)}`;
}

function formatGuard({ value, lower, upper }: NonNullable<Step["guard"]>): string {
  const expr = formatExpr(value);
  return lower === upper ? `if ${expr} = ${lower}` : `if ${lower} <= ${expr} <= ${upper}`;
}

/** Rows with aligned columns, indented. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    `  ${row.map((cell, column) => cell.padEnd(widths[column]!)).join("  ")}`.trimEnd(),
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
