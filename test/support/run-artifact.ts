/** Loads an artifact and calls it; the same code runs here and, bundled, in a worker of a browser. */
import { type LoadOptions, load, type TensorInput } from "../../runtime/index.ts";

export interface ArtifactCalls {
  /** The artifact's files by path. */
  readonly files: Readonly<Record<string, Uint8Array<ArrayBuffer>>>;
  /** The inputs of one call of the entry `run` after the other. */
  readonly calls: readonly Readonly<Record<string, TensorInput>>[];
  readonly threads: number;
  readonly device?: LoadOptions["device"];
}

export interface ArtifactResults {
  /** What ran, as the device describes itself. */
  readonly device: string;
  /** The elements of each output, call by call. */
  readonly calls: readonly Readonly<Record<string, ArrayLike<number>>>[];
}

/** States start at zero and are carried from call to call. Fails where what is asked for is not had. */
export async function runArtifact(options: ArtifactCalls): Promise<ArtifactResults> {
  const { files, calls, threads, device } = options;
  const source = { open: async (path: string) => ({ stream: new Blob([files[path]!]).stream() }) };
  const onWarning = ({ message }: { readonly message: string }) => {
    throw new Error(message);
  };
  await using model = await load(source, { threads, device, onWarning });
  const results: Record<string, ArrayLike<number>>[] = [];
  for (const inputs of calls) {
    const outputs = await model.run(inputs);
    results.push(Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, data])));
  }
  return { device: model.device.description, calls: results };
}
