import { fileURLToPath } from "node:url";
import type { Browser } from "playwright-core";
import { askWorker } from "./browser.ts";
import { bundleForBrowser } from "./bundle.ts";
import type { Recording, Shares } from "./replay.ts";

/** A recording and what is to replay it. */
export interface Replay {
  readonly recording: Recording;
  readonly variants: readonly (Shares & { readonly binary: Uint8Array })[];
}

const answer = `
import { replay } from "./replay.js";
export default ({ binaries, replays }) => {
  const modules = binaries.map((binary) => new WebAssembly.Module(binary));
  return replays.map(({ recording, variants }) =>
    variants.map(({ binary, ...shares }) => replay(modules[binary], recording, shares)));
};`;

/** Replays recordings in a browser; gives the bytes of the results of each by each of its variants. */
export async function replayInBrowser(
  browser: Browser,
  replays: readonly Replay[],
): Promise<Uint8Array[][][]> {
  const replayer = await bundleForBrowser(fileURLToPath(new URL("./replay.ts", import.meta.url)));
  // A module travels once, however many recordings it runs.
  const binaries = [...new Set(replays.flatMap(({ variants }) => variants.map(({ binary }) => binary)))];
  const numbered = replays.map(({ recording, variants }) => ({
    recording,
    variants: variants.map(({ binary, ...shares }) => ({ binary: binaries.indexOf(binary), ...shares })),
  }));
  const routes = { "/replay.js": { text: replayer } };
  return askWorker(browser, { answer, crossOriginIsolated: false, routes }, { binaries, replays: numbered });
}
