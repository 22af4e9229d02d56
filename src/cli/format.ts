/** `740 ms`, `12.3 s`, `2 min 05 s`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 10) return `${milliseconds.toFixed(1)} ms`;
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${String(Math.round(seconds % 60)).padStart(2, "0")} s`;
}

/** Columns padded to their widest cell; cells that look like numbers or quantities are right-aligned. */
export function formatTable(rows: readonly (readonly string[])[], indent = "  "): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
    });
  }
  return rows
    .map((row) => {
      const cells = row.map((cell, column) => {
        const width = widths[column] as number;
        return /^[\d.,]+( ?[A-Za-z%/]+)?$/.test(cell) ? cell.padStart(width) : cell.padEnd(width);
      });
      return (indent + cells.join("  ")).trimEnd();
    })
    .join("\n");
}

/** The most memory this process has held so far, in bytes. */
export function peakMemory(): number {
  return process.resourceUsage().maxRSS * 1024;
}
