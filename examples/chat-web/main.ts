import type { LoadOptions, Message, ProgressEvent } from "bitloom/runtime";
import { byId } from "../web/dom.ts";
import type { Failure } from "../web/failure.ts";
import { failureNotice, warningNotice } from "../web/notices.ts";
import { fromDrop, fromFileList, pickFolder } from "./choose-artifact.ts";
import type { Artifact, LoadedModel, Reply, Request } from "./messages.ts";
import { Turn } from "./turn.ts";

type State = "empty" | "loading" | "ready" | "generating";

const DEFAULT_ADDRESS = "./model/";

const status = byId("status");
const modelPanel = byId<HTMLDetailsElement>("model-panel");
const modelForm = byId<HTMLFormElement>("model-form");
const modelFields = byId<HTMLFieldSetElement>("model-fields");
const folder = byId<HTMLInputElement>("folder");
const address = byId<HTMLInputElement>("address");
const device = byId<HTMLSelectElement>("device");
const reload = byId<HTMLButtonElement>("reload");
const loading = byId("loading");
const progress = byId<HTMLProgressElement>("progress");
const progressText = byId("progress-text");
const cancel = byId<HTMLButtonElement>("cancel");
const facts = byId("facts");
const notices = byId("notices");
const samplingPanel = byId<HTMLDetailsElement>("sampling-panel");
const useTemplate = byId<HTMLInputElement>("use-template");
const conversation = byId("conversation");
const introduction = byId("introduction");
const turnList = byId("turns");
const chat = byId<HTMLFormElement>("chat");
const prompt = byId<HTMLTextAreaElement>("prompt");
const send = byId<HTMLButtonElement>("send");
const regenerate = byId<HTMLButtonElement>("regenerate");
const clear = byId<HTMLButtonElement>("clear");

const narrow = matchMedia("(max-width: 52rem)");
const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });

let state: State = "empty";
/** What was loaded last, or was tried to. */
let artifact: Artifact | undefined;
let turns: Turn[] = [];
/** Whether the conversation's end stays in view as it grows: until the reader scrolls away from it. */
let follows = true;

const request = (message: Request): void => worker.postMessage(message);

function enter(next: State): void {
  state = next;
  const isBusy = state === "loading" || state === "generating";
  modelFields.disabled = isBusy;
  loading.hidden = state !== "loading";
  reload.hidden = artifact === undefined;
  send.disabled = state === "empty" || state === "loading";
  send.textContent = state === "generating" ? "Stop" : "Send";
  regenerate.disabled = state !== "ready" || turns.length === 0;
  clear.disabled = isBusy || turns.length === 0;
  introduction.hidden = turns.length > 0;
}

// Loading

function load(from: Artifact): void {
  if (state === "loading" || state === "generating" || !modelForm.reportValidity()) return;
  artifact = from;
  notices.replaceChildren();
  progress.removeAttribute("value");
  progressText.textContent = "";
  facts.textContent = "";
  status.textContent = "Loading…";
  modelPanel.open = true;
  enter("loading");
  cancel.focus();
  request({
    type: "load",
    artifact,
    options: { device: device.value as LoadOptions["device"], threads: numberIn("threads") },
  });
}

function showProgress({ status, file, loaded, total }: ProgressEvent): void {
  if (status === "done" || status === "ready") {
    // A GPU takes its time to compile what was read.
    progress.removeAttribute("value");
    progressText.textContent = "Preparing…";
  } else {
    progress.max = total;
    progress.value = loaded;
    progressText.textContent = `${file}, ${megabytes(loaded)} of ${megabytes(total)} MB`;
  }
}

function onLoaded(model: LoadedModel): void {
  status.textContent = `${model.name} on ${model.device}`;
  facts.textContent = `Loaded in ${model.loadMs.toFixed(0)} ms; room for ${model.contextLength} tokens.`;
  useTemplate.disabled = !model.canChat;
  byId("template-hint").textContent = model.canChat ? "" : "This model has none: it continues your text.";
  if (narrow.matches) modelPanel.open = notices.childElementCount > 0;
  enter("ready");
  prompt.focus();
}

function onFailed(failure: Failure): void {
  if (state === "generating") {
    const turn = turns.at(-1)!;
    turn.fail(failure);
    // There to be changed, unless something else is already.
    if (turn.answer === "") prompt.value ||= turn.prompt;
    enter("ready");
    return;
  }
  const wasCancelled = failure.code === "ABORTED";
  status.textContent = wasCancelled ? "Loading was cancelled" : "No model";
  if (!wasCancelled) notices.append(failureNotice(failure));
  enter("empty");
  reload.focus();
}

/** Tries to find an artifact, and loads it. */
async function loadFrom(find: () => Artifact | undefined | Promise<Artifact | undefined>): Promise<void> {
  try {
    const found = await find();
    if (found !== undefined) load(found);
  } catch (error) {
    notices.replaceChildren(failureNotice({ code: undefined, summary: String(error) }));
  }
}

modelForm.addEventListener("submit", (event) => {
  event.preventDefault();
  // The worker lies in another folder than the page.
  void loadFrom(() => new URL(address.value || DEFAULT_ADDRESS, document.baseURI).href);
});
byId("pick").addEventListener("click", () => void loadFrom(() => pickFolder(folder)));
folder.addEventListener("change", () => {
  if (folder.files?.length) load(fromFileList(folder.files));
  // So that choosing the same folder once more is a change.
  folder.value = "";
});
reload.addEventListener("click", () => load(artifact!));
cancel.addEventListener("click", () => request({ type: "stop" }));

const hasFiles = ({ dataTransfer }: DragEvent): boolean => dataTransfer?.types.includes("Files") ?? false;
addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  document.body.classList.add("dragging");
});
addEventListener("dragleave", ({ relatedTarget }) => {
  if (relatedTarget === null) document.body.classList.remove("dragging");
});
addEventListener("drop", (event) => {
  document.body.classList.remove("dragging");
  if (!hasFiles(event)) return;
  event.preventDefault();
  void loadFrom(() => fromDrop(event.dataTransfer!));
});

// Generating

function ask(text: string): void {
  const isChat = useTemplate.checked && !useTemplate.disabled;
  const messages: Message[] = turns
    .filter((turn) => turn.isChat && turn.answer !== "")
    .flatMap((turn) => [
      { role: "user", content: turn.prompt },
      { role: "assistant", content: turn.answer },
    ]);
  const turn = new Turn(text, isChat);
  turns.push(turn);
  turnList.append(turn.element);
  follows = true;
  if (narrow.matches) modelPanel.open = samplingPanel.open = false;
  enter("generating");
  request({
    type: "generate",
    prompt: isChat ? [...messages, { role: "user", content: text }] : text,
    options: {
      temperature: numberIn("temperature"),
      topK: numberIn("top-k"),
      topP: numberIn("top-p"),
      seed: numberIn("seed"),
      maxTokens: numberIn("max-tokens"),
    },
  });
}

const endings = { stop: [], length: ["limit reached"], stopped: ["stopped"] };

function onAnswered(reply: Extract<Reply, { type: "answered" }>): void {
  const { finishReason = "stopped", seed, prefillMs, statistics } = reply;
  const remarks = [
    `prompt ${prefillMs.toFixed(0)} ms`,
    ...(seed === undefined ? [] : [`seed ${seed}`]),
    ...endings[finishReason],
  ];
  turns.at(-1)!.finish(statistics, remarks);
  enter("ready");
}

chat.addEventListener("submit", (event) => {
  event.preventDefault();
  if (state !== "ready" || prompt.value === "") return;
  ask(prompt.value);
  prompt.value = "";
});
send.addEventListener("click", (event) => {
  if (state !== "generating") return;
  event.preventDefault();
  request({ type: "stop" });
});
prompt.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (state === "ready") chat.requestSubmit();
});
addEventListener("keydown", ({ key }) => {
  if (key === "Escape" && state === "generating") request({ type: "stop" });
});
regenerate.addEventListener("click", () => {
  if (!chat.reportValidity()) return;
  const last = turns.pop()!;
  last.element.remove();
  ask(last.prompt);
});
clear.addEventListener("click", () => {
  for (const { element } of turns) element.remove();
  turns = [];
  enter(state);
  prompt.focus();
});

let scrolledTo = 0;
conversation.addEventListener("scroll", () => {
  const { scrollHeight, scrollTop, clientHeight } = conversation;
  if (scrollHeight - scrollTop - clientHeight < 48) follows = true;
  // The end may also have moved on since it was scrolled to.
  else if (scrollTop < scrolledTo) follows = false;
  scrolledTo = scrollTop;
});
const growth = new ResizeObserver(() => {
  if (follows && turns.length > 0) conversation.scrollTop = conversation.scrollHeight;
});
growth.observe(turnList);
growth.observe(conversation);

// A field that is wrong can only be shown in an open panel.
samplingPanel.addEventListener("invalid", () => (samplingPanel.open = true), { capture: true });

// What the worker says

worker.addEventListener("message", ({ data: reply }: MessageEvent<Reply>) => {
  switch (reply.type) {
    case "progress":
      return showProgress(reply.event);
    case "warning":
      notices.append(warningNotice(reply.warning));
      return;
    case "loaded":
      return onLoaded(reply.model);
    case "text":
      return turns.at(-1)!.append(reply.text, reply.statistics);
    case "answered":
      return onAnswered(reply);
    case "failed":
      return onFailed(reply.failure);
  }
});
worker.addEventListener("error", ({ message }) =>
  onFailed({ code: undefined, summary: "The page's worker stopped", received: message || "no reason" }),
);

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);

/** The number in a field; undefined where it is left empty. */
function numberIn(id: string): number | undefined {
  const { value, valueAsNumber } = byId<HTMLInputElement>(id);
  return value === "" ? undefined : valueAsNumber;
}

/** Whether the page is served with a model; a server may answer any address with a page. */
async function isServed(folder: string): Promise<boolean> {
  const response = await fetch(new URL("manifest.json", new URL(folder, document.baseURI)), {
    method: "HEAD",
  });
  return response.ok && (response.headers.get("content-type")?.includes("json") ?? false);
}

samplingPanel.open = !narrow.matches;
enter("empty");
if (await isServed(DEFAULT_ADDRESS).catch(() => false)) address.value ||= DEFAULT_ADDRESS;
