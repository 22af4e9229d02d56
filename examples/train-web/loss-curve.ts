import { create } from "../web/dom.ts";

interface Point {
  readonly step: number;
  readonly loss: number;
}

const MARGIN = { left: 44, right: 14, top: 12, bottom: 26 };
/** Steps before and after one whose losses its smoothed one is the mean of: a share of all steps. */
const SMOOTHED_SHARE = 1 / 80;

/**
 * Losses by step, drawn while they come: each step's as a faint line and smoothed as a strong one, those on held-out text
 * as dots. Pointing at it reads the values.
 */
export class LossCurve {
  readonly element: HTMLElement;
  readonly #svg = svg("svg");
  readonly #readout = create("output.readout");
  #steps = 1;
  #losses: number[] = [];
  #heldOut: Point[] = [];
  #pointed: number | undefined;
  #frame = 0;

  constructor() {
    this.#svg.role = "img";
    this.#svg.ariaLabel = "Loss by step";
    this.element = create("div.curve", this.#readout);
    this.element.prepend(this.#svg);
    new ResizeObserver(() => this.#draw()).observe(this.element);
    this.element.addEventListener("pointermove", ({ offsetX }) => this.#point(offsetX));
    this.element.addEventListener("pointerleave", () => this.#point(undefined));
  }

  /** Begins an empty curve for so many steps. */
  reset(steps: number): void {
    this.#steps = steps;
    this.#losses = [];
    this.#heldOut = [];
    this.#schedule();
  }

  add(loss: number): void {
    this.#losses.push(loss);
    this.#schedule();
  }

  evaluated(evaluation: Point): void {
    this.#heldOut.push(evaluation);
    this.#schedule();
  }

  /** Steps may come faster than the screen shows them. */
  #schedule(): void {
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #point(x: number | undefined): void {
    const { left, right } = MARGIN;
    const share = x === undefined ? 0 : (x - left) / (this.element.clientWidth - left - right);
    const step = Math.round(share * this.#steps);
    this.#pointed = step >= 1 && step <= this.#losses.length ? step : undefined;
    this.#schedule();
  }

  #draw(): void {
    this.#frame = 0;
    const { clientWidth: width, clientHeight: height } = this.element;
    const { left, right, top, bottom } = MARGIN;
    const [low, high] = range([...this.#losses, ...this.#heldOut.map(({ loss }) => loss)]);
    const x = (step: number) => left + ((width - left - right) * step) / this.#steps;
    const y = (loss: number) => top + ((height - top - bottom) * (high - loss)) / (high - low);
    const at = ({ step, loss }: Point) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`;
    const line = (name: string, points: readonly Point[]) =>
      svg("polyline", { class: name, points: points.map(at).join(" ") });
    const byStep = (losses: readonly number[]) =>
      thinned(losses, 2 * width).map(({ step, loss }) => ({ step: step + 1, loss }));

    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.#svg.replaceChildren(
      ...ticks(low, high, 7).flatMap((loss) => [
        svg("line", { class: "grid", x1: left, x2: width - right, y1: y(loss), y2: y(loss) }),
        svg("text", { x: left - 8, y: y(loss) + 4, "text-anchor": "end" }, String(loss)),
      ]),
      ...ticks(0, this.#steps, 6).map((step) =>
        svg("text", { x: x(step), y: height - 8, "text-anchor": "middle" }, step.toLocaleString("en-US")),
      ),
      line("steps", byStep(this.#losses)),
      line("smoothed", byStep(smoothed(this.#losses, Math.ceil(this.#steps * SMOOTHED_SHARE)))),
      line("held-out", this.#heldOut),
      ...this.#heldOut.map(({ step, loss }) => svg("circle", { cx: x(step), cy: y(loss), r: 3.5 })),
      ...this.#pointer(x, top, height - bottom),
    );
  }

  #pointer(x: (step: number) => number, top: number, bottom: number): readonly SVGElement[] {
    const step = this.#pointed;
    this.#readout.hidden = step === undefined;
    if (step === undefined) return [];
    const evaluated = this.#heldOut.findLast((point) => point.step <= step);
    this.#readout.value = [
      `step ${step.toLocaleString("en-US")}`,
      `loss ${this.#losses[step - 1]!.toFixed(3)}`,
      ...(evaluated ? [`held out ${evaluated.loss.toFixed(3)}`] : []),
    ].join(" · ");
    return [svg("line", { class: "pointer", x1: x(step), x2: x(step), y1: top, y2: bottom })];
  }
}

/** Means of each loss and as many neighbours on both sides, `reach` where there are so many. */
function smoothed(losses: readonly number[], reach: number): readonly number[] {
  let total = 0;
  const sums = [0, ...losses.map((loss) => (total += loss))];
  return losses.map((_, i) => {
    const own = Math.min(reach, i, losses.length - 1 - i);
    return (sums[i + own + 1]! - sums[i - own]!) / (2 * own + 1);
  });
}

/** At most so many points: means of neighbours where there are more. */
function thinned(losses: readonly number[], most: number): readonly Point[] {
  const stride = Math.max(1, Math.ceil(losses.length / Math.max(1, most)));
  return Array.from({ length: Math.ceil(losses.length / stride) }, (_, i) => {
    const some = losses.slice(i * stride, (i + 1) * stride);
    const loss = some.reduce((sum, value) => sum + value, 0) / some.length;
    return { step: i * stride + (some.length - 1), loss };
  });
}

/** What the axis spans, in halves. */
function range(losses: readonly number[]): readonly [number, number] {
  if (losses.length === 0) return [0, 6];
  const [least, most] = losses.reduce(
    ([least, most], loss) => [Math.min(least, loss), Math.max(most, loss)],
    [Infinity, -Infinity] as [number, number],
  );
  const low = Math.floor(least * 2) / 2;
  return [low, Math.max(low + 0.5, Math.ceil(most * 2) / 2)];
}

/** Round numbers from low to high, about so many. */
function ticks(low: number, high: number, count: number): readonly number[] {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const unit = [1, 2, 5, 10].find((factor) => factor * power >= rough)! * power;
  const first = Math.ceil(low / unit);
  const last = Math.floor(high / unit);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * unit).toPrecision(6)));
}

function svg<Tag extends keyof SVGElementTagNameMap>(
  tag: Tag,
  attributes: Readonly<Record<string, string | number>> = {},
  text = "",
): SVGElementTagNameMap[Tag] {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.textContent = text;
  return element;
}
