import type { Evaluation, TrainingProgress } from "../../runtime/training/trainer.ts";

/** The losses of one run: of its steps, from the first on, and on held-out text. */
export interface LossCurve extends TrainingProgress {
  readonly name: string;
}

const WIDTH = 720;
const HEIGHT = 360;
const MARGIN = { left: 56, right: 16, top: 60, bottom: 44 };
const COLOURS = ["#1d4ed8", "#c2410c", "#15803d", "#7e22ce", "#0e7490", "#a16207"];
/** Most points of a line: of a longer run, each is the mean of its neighbours. */
const MOST_POINTS = 400;
/** A loss below is drawn as this: the axis is logarithmic, since late and small differences are what one looks for. */
const LEAST = 1e-3;

/**
 * Losses by step as an SVG picture, one colour a run: those of the steps as a line, those on held-out text as points on a
 * line of their own.
 */
export function lossChart(title: string, curves: readonly LossCurve[]): string {
  const lines = curves.map(({ losses }) => thinned(losses));
  const shown = curves.flatMap(({ evaluations }, i) => [...lines[i]!, ...evaluations]);
  const values = shown.map(({ loss }) => loss);
  const low = 0.95 * Math.max(LEAST, Math.min(...values));
  const high = Math.max(1.5 * low, 1.02 * Math.max(...values));
  const last = Math.max(1, ...shown.map(({ step }) => step));
  const x = (step: number) => MARGIN.left + ((WIDTH - MARGIN.left - MARGIN.right) * step) / last;
  const y = (loss: number) => {
    const share = Math.log(Math.max(low, loss) / low) / Math.log(high / low);
    return HEIGHT - MARGIN.bottom - (HEIGHT - MARGIN.top - MARGIN.bottom) * share;
  };
  const at = ({ step, loss }: Evaluation) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`;
  const polyline = (points: readonly Evaluation[], style: string) =>
    `<polyline points="${points.map(at).join(" ")}" fill="none" ${style}/>`;

  const ticks = Array.from({ length: 5 }, (_, i) => low * (high / low) ** (i / 4));
  const grid = ticks.map(
    (tick) =>
      `<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${y(tick).toFixed(1)}" y2="${y(tick).toFixed(1)}" stroke="#ddd"/>` +
      `<text x="${MARGIN.left - 8}" y="${(y(tick) + 4).toFixed(1)}" text-anchor="end">${tick.toFixed(2)}</text>`,
  );
  const steps = [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const step = Math.round(part * last);
    return `<text x="${x(step)}" y="${HEIGHT - MARGIN.bottom + 20}" text-anchor="middle">${step}</text>`;
  });
  const drawn = curves.flatMap(({ name, evaluations }, i) => {
    const colour = COLOURS[i % COLOURS.length]!;
    const points = evaluations.map((evaluation) => {
      const [cx, cy] = at(evaluation).split(",");
      const { step, loss } = evaluation;
      const text = `${name}, step ${step}: ${loss.toFixed(4)}, perplexity ${Math.exp(loss).toFixed(2)}`;
      return `<circle cx="${cx}" cy="${cy}" r="3" fill="${colour}"><title>${escaped(text)}</title></circle>`;
    });
    return [
      polyline(lines[i]!, `stroke="${colour}" stroke-width="1" stroke-opacity="0.45"`),
      polyline(evaluations, `stroke="${colour}" stroke-width="1.5"`),
      ...points,
    ];
  });
  const legend = curves.map(
    ({ name }, i) => `<tspan fill="${COLOURS[i % COLOURS.length]}">● ${escaped(name)}</tspan>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">
<title>${escaped(title)}: cross-entropy in nats by step</title>
<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>
<text x="${MARGIN.left}" y="20" font-size="14">${escaped(title)}: cross-entropy in nats by step</text>
<text x="${WIDTH - MARGIN.right}" y="20" text-anchor="end" fill="#666">lines: training, points: held-out text; logarithmic</text>
<text x="${MARGIN.left}" y="42">${legend.join(" &#160; ")}</text>
${[...grid, ...steps, ...drawn].join("\n")}
</svg>
`;
}

/** Losses at their steps; of a long run, means of neighbours at the middle of these. */
function thinned(losses: readonly number[]): readonly Evaluation[] {
  const share = Math.ceil(losses.length / MOST_POINTS);
  return Array.from({ length: Math.ceil(losses.length / share) }, (_, i) => {
    const own = losses.slice(i * share, (i + 1) * share);
    const loss = own.reduce((sum, value) => sum + value, 0) / own.length;
    return { step: i * share + (own.length + 1) / 2, loss };
  });
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
