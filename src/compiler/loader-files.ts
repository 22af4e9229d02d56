import type { Entry, TensorSlot } from "../../runtime/manifest.ts";

/**
 * The artifact's `index.js`: an import that loads the folder it lies in, or another place where a bundler has
 * moved it. Bundlers take `new URL("…", import.meta.url)` for one file to be copied under another name; a
 * folder is none, so its address is made in two steps that they leave alone.
 */
export function loaderSource(isLanguageModel: boolean): string {
  const load = isLanguageModel ? "loadLanguageModel" : "load";
  return `import { ${load} as loadArtifact } from "bitloom/runtime";

const self = import.meta.url;

export const load = (location = new URL(".", self), options) => loadArtifact(location, options);
`;
}

/** The artifact's `index.d.ts`: inputs and outputs of `run` with their literal shapes. */
export function loaderTypes(name: string, run: Entry, isLanguageModel: boolean): string {
  const bounds = Object.entries(run.symbols).map(
    ([symbol, max]) => `${run.minimums?.[symbol] ?? 1} <= ${symbol} <= ${max}`,
  );
  const model = isLanguageModel ? "LanguageModel" : "Model<Inputs, Outputs>";
  const imports = isLanguageModel
    ? "ArtifactLocation, LanguageModel, LoadOptions, Tensor"
    : "ArtifactLocation, LoadOptions, Model, Tensor, TensorInput";
  return `import type { ${imports} } from "bitloom/runtime";

${
  isLanguageModel
    ? ""
    : `/** What \`run\` takes${bounds.length > 0 ? `; ${bounds.join(", ")}` : ""}. */
export type Inputs = {
${run.inputs.map((slot) => `  readonly ${property(slot)}: TensorInput<${signature(slot)}>;`).join("\n")}
};

`
}/** What \`run\` returns${isLanguageModel && bounds.length > 0 ? `; ${bounds.join(", ")}` : ""}. */
export type Outputs = {
${run.outputs.map((slot) => `  readonly ${property(slot)}: Tensor<${signature(slot)}>;`).join("\n")}
};

/** Loads ${name} from the folder this file lies in, or from where \`location\` says its files are. */
export declare function load(location?: ArtifactLocation, options?: LoadOptions): Promise<${model}>;
`;
}

function property({ name }: TensorSlot): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name);
}

/** `"f32", readonly [batch: number, 784]`; labels must be on all elements of a tuple or on none. */
function signature({ dtype, dims }: TensorSlot): string {
  const elements = dims.map((dim) => (typeof dim === "number" ? String(dim) : `number /* ${dim} */`));
  return `"${dtype}", readonly [${elements.join(", ")}]`;
}
