/** How loading advances, in the shape transformers.js made familiar. */
export interface ProgressEvent {
  /** `ready` comes once, after every file is `done` and the device can run. */
  readonly status: "initiate" | "download" | "progress" | "done" | "ready";
  /** The file; of `ready`, the model's name. */
  readonly file: string;
  /** Bytes so far; of `ready`, those of all files. */
  readonly loaded: number;
  readonly total: number;
  /** Percent, 0 to 100. */
  readonly progress: number;
}

/** Something the model works without, and why it has to. */
export interface Warning {
  readonly code:
    | "NO_CUDA"
    | "NO_WEBGPU"
    | "NO_RELAXED_SIMD"
    | "NO_THREADS"
    | "FEWER_THREADS"
    | "OTHER_ROUNDING"
    | "NOT_VERIFIED";
  readonly message: string;
}
