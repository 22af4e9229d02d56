const units = ["B", "kB", "MB", "GB", "TB"];

/** `640 B`, `3.84 kB`, `1.18 GB`: decimal units, at most three significant digits. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : Number(value.toPrecision(3))} ${units[unit]}`;
}
