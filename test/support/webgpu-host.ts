/**
 * Where the conformance properties of WebGPU run: Dawn in this process, or headless Chromium. vitest.config.ts has a
 * project for each, which runs the same test file.
 */
import { fileURLToPath } from "node:url";
import { launchBrowser, openWorker } from "./browser.ts";
import { bundleForBrowser } from "./bundle.ts";
import { openGpu } from "./dawn.ts";
import {
  openReplayer,
  type WebgpuFeature,
  type WebgpuRecording,
  type WebgpuReplay,
  type WebgpuReplayer,
} from "./replay-webgpu.ts";

export type WebgpuEngine = "dawn" | "chromium";

declare module "vitest" {
  interface ProvidedContext {
    readonly webgpuEngine: WebgpuEngine;
  }
}

export interface WebgpuHost extends WebgpuReplayer {
  close(): Promise<void>;
}

/** @throws what is missing where this machine cannot run the engine */
export async function openWebgpuHost(engine: WebgpuEngine): Promise<WebgpuHost> {
  if (engine === "chromium") return openChromium();
  const replayer = await openReplayer(await openGpu());
  return { ...replayer, close: async () => undefined };
}

const answer = `
import { openReplayer } from "./replay-webgpu.js";
const opened = openReplayer(navigator.gpu);
export default async (recording) => {
  const replayer = await opened;
  return recording === null ? replayer.features : replayer.replay(recording);
};`;

async function openChromium(): Promise<WebgpuHost> {
  const replayer = await bundleForBrowser(fileURLToPath(new URL("./replay-webgpu.ts", import.meta.url)));
  const browser = await launchBrowser({ webgpu: true });
  const routes = { "/replay-webgpu.js": { text: replayer } };
  const worker = await openWorker(browser, { answer, crossOriginIsolated: false, routes });
  const close = async () => {
    await worker.close();
    await browser.close();
  };
  try {
    const features = await worker.ask<null, readonly WebgpuFeature[]>(null);
    return { features, replay: (recording) => worker.ask<WebgpuRecording, WebgpuReplay>(recording), close };
  } catch (error) {
    await close();
    throw error;
  }
}
