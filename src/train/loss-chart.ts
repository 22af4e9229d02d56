import type { Evaluation } from "../../runtime/training/trainer.ts";

const WIDTH = 720;
const HEIGHT = 360;
const MARGIN = { left: 56, right: 16, top: 40, bottom: 44 };

/** Losses by step as an SVG picture: those of the steps as a line, those on held-out text as points. */
export function lossChart(
  title: string,
  losses: readonly number[],
  evaluations: readonly Evaluation[],
): string {
  const all = [...losses, ...evaluations.map(({ loss }) => loss)];
  const low = Math.floor(Math.min(...bounds(all)) * 2) / 2;
  const high = Math.max(low + 0.5, Math.ceil(Math.max(...bounds(all)) * 2) / 2);
  const x = (step: number) =>
    MARGIN.left + ((WIDTH - MARGIN.left - MARGIN.right) * step) / Math.max(1, losses.length);
  const y = (loss: number) =>
    HEIGHT - MARGIN.bottom - ((HEIGHT - MARGIN.top - MARGIN.bottom) * (loss - low)) / (high - low);
  const line = losses.map((loss, i) => `${x(i + 1).toFixed(1)},${y(loss).toFixed(1)}`).join(" ");
  const ticks = Array.from({ length: 5 }, (_, i) => low + ((high - low) * i) / 4);
  const grid = ticks.map(
    (tick) =>
      `<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${y(tick)}" y2="${y(tick)}" stroke="#ddd"/>` +
      `<text x="${MARGIN.left - 8}" y="${y(tick) + 4}" text-anchor="end">${tick.toFixed(2)}</text>`,
  );
  const steps = [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const step = Math.round(part * losses.length);
    return `<text x="${x(step)}" y="${HEIGHT - MARGIN.bottom + 20}" text-anchor="middle">${step}</text>`;
  });
  const points = evaluations.map(
    ({ step, loss }) =>
      `<circle cx="${x(step).toFixed(1)}" cy="${y(loss).toFixed(1)}" r="3.5" fill="#c2410c">` +
      `<title>step ${step}: ${loss.toFixed(4)}, perplexity ${Math.exp(loss).toFixed(2)}</title></circle>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>
<text x="${MARGIN.left}" y="20" font-size="14">${title}: cross-entropy in nats by step</text>
${[...grid, ...steps].join("\n")}
<polyline points="${line}" fill="none" stroke="#1d4ed8" stroke-width="1.5"/>
${points.join("\n")}
<text x="${WIDTH - MARGIN.right}" y="20" text-anchor="end"><tspan fill="#1d4ed8">training</tspan> <tspan fill="#c2410c">held-out text</tspan></text>
</svg>
`;
}

/** The smallest and the largest; a spread of so many arguments would not fit the stack. */
function bounds(values: readonly number[]): readonly [number, number] {
  return values.reduce<readonly [number, number]>(
    ([low, high], value) => [Math.min(low, value), Math.max(high, value)],
    [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  );
}
