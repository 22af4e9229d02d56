import type { Argument, Step } from "../../runtime/manifest.ts";
import { formatBytes } from "./bytes.ts";
import type { Plan, PlannedEntry } from "./plan.ts";
import { formatExpr } from "./symbols.ts";

/** The plan as `bitloom inspect` prints it: memory, kernels, and each entry's steps with the bytes they move. */
export function formatPlan(plan: Plan): string {
  const { io, arena, state, weights, scratch } = plan.regions;
  const memory = [
    `weights ${formatBytes(weights)} in ${plan.weights.length} buffers`,
    `state ${formatBytes(state)}`,
    `temporaries ${formatBytes(arena)}`,
    `inputs and outputs ${formatBytes(io)}`,
    `scratch ${formatBytes(scratch)} a thread`,
  ];
  const uses = new Map<string, number>();
  for (const { steps } of Object.values(plan.entries)) {
    for (const { kernel } of steps) uses.set(kernel, (uses.get(kernel) ?? 0) + 1);
  }
  const kernels = plan.kernels.map(({ name, template }) => [name, template, `${uses.get(name) ?? 0} steps`]);
  return [
    "memory",
    ...memory.map((line) => `  ${line}`),
    `kernels (${plan.kernels.length})`,
    ...table(kernels),
    ...Object.entries(plan.entries).flatMap(([name, entry]) => formatEntry(name, entry, plan)),
    "",
  ].join("\n");
}

function formatEntry(name: string, entry: PlannedEntry, plan: Plan): string[] {
  const { traffic, arena } = plan.summaries[name]!;
  const bounds = Object.entries(entry.symbols).map(([symbol, max]) => {
    const min = entry.minimums?.[symbol];
    return min === undefined ? `${symbol} <= ${max}` : `${min} <= ${symbol} <= ${max}`;
  });
  const sum = (of: "weights" | "read" | "written") => traffic.reduce((total, step) => total + step[of], 0);
  const rows = entry.steps.map((step, i) => {
    const { weights, read, written } = traffic[i]!;
    return [
      step.label,
      step.kernel,
      `${formatExpr(step.range)} items`,
      moved("weights", weights),
      moved("read", read),
      moved("written", written),
      step.guard === undefined ? "" : formatGuard(step.guard),
    ];
  });
  return [
    `${name}(${bounds.join(", ")}): ${entry.steps.length} steps`,
    `  moves weights ${formatBytes(sum("weights"))}, read ${formatBytes(sum("read"))}, written ${formatBytes(sum("written"))}`,
    `  ${arena.buffers} temporaries of ${formatBytes(arena.unsharedBytes)} share ${formatBytes(arena.bytes)}`,
    ...table(rows),
  ];
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
