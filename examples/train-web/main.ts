import type { LoadOptions } from "bitloom/runtime";
import type { Evaluation, TrainedStep } from "bitloom/training";
import { byId } from "../web/dom.ts";
import type { Failure } from "../web/failure.ts";
import { failureNotice, warningNotice } from "../web/notices.ts";
import { LossCurve } from "./loss-curve.ts";
import type { LoadedTraining, Reply, Request, SampleSettings } from "./messages.ts";
import { Sample } from "./sample.ts";
import { type SampleName, sampleText } from "./sample-text.ts";

/** `idle` is before a run and after one. */
type State = "loading" | "failed" | "idle" | "starting" | "running" | "paused";

const ADDRESS = "./training/";
/** Samples of a run, where the field does not say otherwise. */
const SAMPLES = 24;
const MOST_SAMPLES_SHOWN = 100;

const status = byId("status");
const textFields = byId<HTMLFieldSetElement>("text-fields");
const runFields = byId<HTMLFieldSetElement>("run-fields");
const sampleName = byId<HTMLSelectElement>("sample-name");
const text = byId<HTMLTextAreaElement>("text");
const steps = byId<HTMLInputElement>("steps");
const seed = byId<HTMLInputElement>("seed");
const device = byId<HTMLSelectElement>("device");
const threads = byId<HTMLInputElement>("threads");
const sampling = byId<HTMLFormElement>("sampling");
const prompt = byId<HTMLInputElement>("prompt");
const every = byId<HTMLInputElement>("every");
const sampleNow = byId<HTMLButtonElement>("sample");
const start = byId<HTMLButtonElement>("start");
const stop = byId<HTMLButtonElement>("stop");
const save = byId<HTMLButtonElement>("save");
const progress = byId<HTMLProgressElement>("progress");
const notices = byId("notices");
const samples = byId("samples");

const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
const curve = new LossCurve();
byId("curve").replaceWith(curve.element);

let state: State = "loading";
let training: LoadedTraining | undefined;
/** What the last run has come to; undefined before the first. */
let run: { last: TrainedStep | undefined; heldOut: number | undefined; tokenSeconds: number } | undefined;
/** The one that is being written. */
let sample: Sample | undefined;

const request = (message: Request): void => worker.postMessage(message);

const startLabels: Readonly<Record<State, string>> = {
  loading: "Loading…",
  failed: "Load again",
  idle: "Start",
  starting: "Starting…",
  running: "Pause",
  paused: "Resume",
};

function enter(next: State): void {
  state = next;
  const isRun = state === "starting" || state === "running" || state === "paused";
  textFields.disabled = isRun;
  runFields.disabled = isRun || state === "loading";
  start.textContent = startLabels[state];
  start.disabled = state === "loading" || state === "starting";
  stop.disabled = !isRun;
  const hasModel = run !== undefined && state !== "loading" && state !== "failed" && state !== "starting";
  save.disabled = !hasModel;
  sampleNow.disabled = !hasModel;
}

// Loading

function load(): void {
  notices.replaceChildren();
  status.textContent = "Loading…";
  run = undefined;
  enter("loading");
  request({
    type: "load",
    // The worker lies in another folder than the page.
    address: new URL(ADDRESS, document.baseURI).href,
    options: {
      device: device.value as LoadOptions["device"],
      threads: threads.value === "" ? undefined : threads.valueAsNumber,
    },
  });
}

function onLoaded(loaded: LoadedTraining): void {
  training = loaded;
  const { name, parameters, targets } = loaded;
  status.textContent = `${name}, ${count(parameters)} parameters, on ${loaded.device}`;
  for (const option of device.options) {
    option.disabled = option.value !== "auto" && !targets.includes(option.value);
  }
  steps.value ||= String(loaded.steps);
  seed.value ||= String(loaded.seed);
  every.value ||= String(Math.ceil(steps.valueAsNumber / SAMPLES));
  curve.reset(steps.valueAsNumber);
  showTextFacts();
  enter("idle");
}

for (const field of [device, threads]) {
  field.addEventListener("change", () => {
    if (field.reportValidity()) load();
  });
}

// The text

function showTextFacts(): void {
  const bytes = new TextEncoder().encode(text.value).length;
  const heldOut = training ? `, the last ${(100 * training.heldOut).toFixed(0)}% held out` : "";
  byId("text-facts").textContent = `${count(bytes)} bytes${heldOut}`;
}

function showSample(): void {
  const name = sampleName.value;
  text.value = name === "own" ? "" : sampleText(name as SampleName);
  text.scrollTop = 0;
  if (name === "own") text.focus();
  showTextFacts();
}

sampleName.addEventListener("change", showSample);
text.addEventListener("input", () => {
  sampleName.value = "own";
  showTextFacts();
});
for (const type of ["dragover", "dragleave", "drop"] as const) {
  text.addEventListener(type, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    text.classList.toggle("dragging", type === "dragover");
    if (type === "drop") void readFile(event.dataTransfer.files[0]!);
  });
}

async function readFile(file: File): Promise<void> {
  sampleName.value = "own";
  text.value = await file.text();
  text.scrollTop = 0;
  showTextFacts();
}

// Training

function begin(): void {
  const chosen = steps.reportValidity() && seed.reportValidity() ? settings() : undefined;
  if (chosen === undefined) return;
  notices.replaceChildren();
  enter("starting");
  request({
    type: "start",
    text: text.value,
    steps: steps.valueAsNumber,
    seed: seed.valueAsNumber,
    settings: chosen,
  });
}

function onStarted(): void {
  run = { last: undefined, heldOut: undefined, tokenSeconds: 0 };
  sample = undefined;
  samples.replaceChildren();
  curve.reset(steps.valueAsNumber);
  progress.max = steps.valueAsNumber;
  enter("running");
  showFigures();
}

function onStep(trained: TrainedStep): void {
  if (run === undefined) return;
  const { step, loss, heldOutLoss, tokensPerSecond } = trained;
  const seconds = 1 / tokensPerSecond;
  run.tokenSeconds = run.last === undefined ? seconds : run.tokenSeconds + 0.1 * (seconds - run.tokenSeconds);
  run.last = trained;
  curve.add(loss);
  if (heldOutLoss !== undefined) onEvaluation({ step, loss: heldOutLoss });
  showFigures();
}

function onEvaluation(evaluation: Evaluation): void {
  if (run === undefined) return;
  run.heldOut = evaluation.loss;
  curve.evaluated(evaluation);
  showFigures();
}

function showFigures(): void {
  const { last, heldOut, tokenSeconds } = run!;
  progress.value = last?.step ?? 0;
  show("step", last && `${count(last.step)} of ${count(progress.max)}`);
  show("loss", last?.loss.toFixed(3));
  show("held-out", heldOut?.toFixed(3));
  show("speed", last && count(Math.round(1 / tokenSeconds)));
  show("left", last && duration((progress.max - last.step) * training!.tokens * tokenSeconds));
}

function show(id: string, value: string | undefined): void {
  byId(id).textContent = value ?? "–";
}

function onFailed(failure: Failure): void {
  notices.append(failureNotice(failure));
  notices.scrollIntoView({ block: "nearest" });
  if (state === "loading") {
    status.textContent = "No training";
    enter("failed");
  } else if (state !== "failed") {
    // A sample may have failed, and the run goes on; a run that failed is told as ended.
    sample = undefined;
    if (state === "starting") enter("idle");
  }
}

start.addEventListener("click", () => {
  if (state === "failed") return load();
  if (state === "idle") return begin();
  const isRunning = state === "running";
  request({ type: isRunning ? "pause" : "resume" });
  enter(isRunning ? "paused" : "running");
});
stop.addEventListener("click", () => request({ type: "stop" }));
save.addEventListener("click", () => request({ type: "save" }));

function onSaved(name: string, file: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// Samples

/** What the fields say, where they are right. */
function settings(): SampleSettings | undefined {
  if (!sampling.reportValidity()) return undefined;
  const [temperature, maxTokens, every] = ["temperature", "length", "every"].map(
    (id) => byId<HTMLInputElement>(id).valueAsNumber,
  ) as [number, number, number];
  return { prompt: prompt.value, temperature, maxTokens, every };
}

function changeSettings(): void {
  const changed = settings();
  if (changed !== undefined) request({ type: "settings", settings: changed });
}

function onSampled({ prompt, step, loss, text, isWhole }: Extract<Reply, { type: "sampled" }>): void {
  if (sample === undefined) {
    sample = new Sample(prompt);
    samples.prepend(sample.element);
    while (samples.childElementCount > MOST_SAMPLES_SHOWN) samples.lastElementChild!.remove();
  }
  const before = step === 0 ? "before training" : `step ${count(step)}`;
  sample.show(text, loss === undefined ? [before] : [before, `loss ${loss.toFixed(2)}`], isWhole);
  if (isWhole) sample = undefined;
}

sampling.addEventListener("change", changeSettings);
sampling.addEventListener("submit", (event) => {
  event.preventDefault();
  changeSettings();
  request({ type: "sample" });
});

// What the worker says

worker.addEventListener("message", ({ data: reply }: MessageEvent<Reply>) => {
  switch (reply.type) {
    case "warning":
      notices.append(warningNotice(reply.warning));
      return;
    case "loaded":
      return onLoaded(reply.training);
    case "started":
      return onStarted();
    case "evaluated":
      return onEvaluation(reply.evaluation);
    case "step":
      return onStep(reply.trained);
    case "ended":
      return enter("idle");
    case "sampled":
      return onSampled(reply);
    case "saved":
      return onSaved(reply.name, reply.file);
    case "failed":
      return onFailed(reply.failure);
  }
});
worker.addEventListener("error", ({ message }) => {
  onFailed({ code: undefined, summary: "The page's worker stopped", received: message || "no reason" });
});

const count = (value: number): string => value.toLocaleString("en-US");

function duration(seconds: number): string {
  const whole = Math.round(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

showSample();
load();
