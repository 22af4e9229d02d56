import type {
  GenerateOptions,
  GenerationResult,
  LoadOptions,
  ProgressEvent,
  Prompt,
  Warning,
} from "bitloom/runtime";
import type { Failure } from "../web/failure.ts";

/** A file and its path inside the artifact's folder, which a `File` on its way to a worker may lose. */
export interface ArtifactFile {
  readonly path: string;
  readonly file: File;
}

/** Where an artifact is: its address, a folder of the File System Access API, or its files. */
export type Artifact = string | FileSystemDirectoryHandle | readonly ArtifactFile[];

/** What the page asks of the worker, one `load` or `generate` at a time; `stop` ends either. */
export type Request =
  | {
      readonly type: "load";
      readonly artifact: Artifact;
      readonly options: Pick<LoadOptions, "device" | "threads">;
    }
  | {
      readonly type: "generate";
      readonly prompt: Prompt;
      readonly options: Omit<GenerateOptions, "signal">;
    }
  | { readonly type: "stop" };

export interface LoadedModel {
  readonly name: string;
  /** What it runs on, for people. */
  readonly device: string;
  readonly contextLength: number;
  /** Whether it has a chat template. */
  readonly canChat: boolean;
  readonly loadMs: number;
}

/** How much there is of an answer. */
export interface AnswerStatistics {
  readonly tokens: number;
  readonly tokensPerSecond: number;
}

/** What the worker says. A request ends with `loaded`, `answered` or `failed`. */
export type Reply =
  | { readonly type: "progress"; readonly event: ProgressEvent }
  | { readonly type: "warning"; readonly warning: Warning }
  | { readonly type: "loaded"; readonly model: LoadedModel }
  | { readonly type: "text"; readonly text: string; readonly statistics: AnswerStatistics }
  | {
      readonly type: "answered";
      /** Absent where the page stopped it. */
      readonly finishReason: GenerationResult["finishReason"];
      /** Absent where nothing was drawn. */
      readonly seed: number | undefined;
      readonly prefillMs: number;
      readonly statistics: AnswerStatistics;
    }
  | { readonly type: "failed"; readonly failure: Failure };
