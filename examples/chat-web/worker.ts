// Holds the model, so that the page stays responsive while it computes.
import {
  type ArtifactLocation,
  type ArtifactSource,
  BitloomError,
  type Generation,
  type LanguageModel,
  loadLanguageModel,
} from "bitloom/runtime";
import { failureOf } from "../web/failure.ts";
import type { AnswerStatistics, Artifact, ArtifactFile, Reply, Request } from "./messages.ts";

let model: LanguageModel | undefined;
let work = new AbortController();

const reply = (message: Reply): void => postMessage(message);

addEventListener("message", async ({ data: request }: MessageEvent<Request>) => {
  if (request.type === "stop") return work.abort();
  work = new AbortController();
  try {
    await (request.type === "load" ? load(request) : generate(request));
  } catch (error) {
    reply({ type: "failed", failure: failureOf(error) });
  }
});

async function load({ artifact, options }: Extract<Request, { type: "load" }>): Promise<void> {
  // First, so that there is never memory for two.
  await model?.dispose();
  model = undefined;
  model = await loadLanguageModel(locationOf(artifact), {
    ...options,
    signal: work.signal,
    onProgress: (event) => reply({ type: "progress", event }),
    onWarning: (warning) => reply({ type: "warning", warning }),
  });
  const { name, device, info, tokenizer, loadMs } = model;
  reply({
    type: "loaded",
    model: {
      name,
      device: device.description,
      contextLength: info.contextLength,
      canChat: tokenizer?.canChat ?? false,
      loadMs,
    },
  });
}

async function generate({ prompt, options }: Extract<Request, { type: "generate" }>): Promise<void> {
  const { signal } = work;
  const generation = model!.generate(prompt, { ...options, signal });
  try {
    for await (const { text } of generation) {
      reply({ type: "text", text, statistics: statisticsOf(generation) });
    }
  } catch (error) {
    // Stopped is how an answer may end, not a failure.
    if (!signal.aborted) throw error;
  }
  const { finishReason, seed, timings } = generation.result;
  reply({
    type: "answered",
    finishReason,
    seed: options.temperature ? seed : undefined,
    prefillMs: timings.prefillMs,
    statistics: statisticsOf(generation),
  });
}

function statisticsOf({ result }: Generation): AnswerStatistics {
  return { tokens: result.tokens.length, tokensPerSecond: result.timings.tokensPerSecond };
}

const locationOf = (artifact: Artifact): ArtifactLocation =>
  typeof artifact === "string" || "getFileHandle" in artifact ? artifact : sourceOf(artifact);

function sourceOf(files: readonly ArtifactFile[]): ArtifactSource {
  const byPath = new Map(files.map(({ path, file }) => [path, file]));
  return {
    async open(path) {
      const file = byPath.get(path);
      if (file !== undefined) return { bytes: file.size, stream: file.stream() };
      throw new BitloomError("MISSING_FILE", "A file of the artifact is missing", {
        location: path,
        hint: "Choose the folder that holds manifest.json.",
      });
    },
  };
}
