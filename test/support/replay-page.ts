import { fileURLToPath } from "node:url";
import type { Browser } from "playwright-core";
import { askWorker } from "./browser.ts";
import { bundleForBrowser } from "./bundle.ts";
import type { Recording } from "./replay.ts";

/** A recording and the module whose kernels it is given. */
export interface Replay {
  readonly binary: Uint8Array;
  readonly recording: Recording;
  readonly threads: number;
}

const answer = `
import { replay } from "./replay.js";
export default ({ binaries, replays }) => {
  const modules = binaries.map((binary) => new WebAssembly.Module(binary));
  return replays.map(({ binary, recording, threads }) => replay(modules[binary], recording, threads));
};`;

/** Replays recordings in a browser; gives the bytes of each one's results. */
export async function replayInBrowser(browser: Browser, replays: readonly Replay[]): Promise<Uint8Array[][]> {
  const replayer = await bundleForBrowser(fileURLToPath(new URL("./replay.ts", import.meta.url)));
  // A module travels once, however many recordings it runs.
  const binaries = [...new Set(replays.map(({ binary }) => binary))];
  return askWorker(
    browser,
    { answer, crossOriginIsolated: false, routes: { "/replay.js": { text: replayer } } },
    { binaries, replays: replays.map((each) => ({ ...each, binary: binaries.indexOf(each.binary) })) },
  );
}
