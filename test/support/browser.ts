import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize, sep } from "node:path";
import { type Browser, chromium } from "playwright-core";
import { dawnFeatures } from "./dawn.ts";

const mimeTypes: Record<string, string> = {
  ".css": "text/css",
  ".html": "text/html",
  ".js": "text/javascript",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

export interface StaticServerOptions {
  /** URL prefix -> folder on disk, or the text of one JavaScript or HTML file. */
  readonly routes: Readonly<Record<string, { readonly folder: string } | { readonly text: string }>>;
  /** Send the headers that make SharedArrayBuffer, and with it threads, available. */
  readonly crossOriginIsolated: boolean;
}

/** A static file server on a free loopback port. */
export async function serve(
  options: StaticServerOptions,
): Promise<{ readonly url: string; close(): Promise<void> }> {
  const server: Server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname);
    if (options.crossOriginIsolated) {
      response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
      response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
    }
    response.setHeader("Content-Type", mimeTypes[extname(path) || ".html"] ?? "application/octet-stream");
    for (const [prefix, route] of Object.entries(options.routes)) {
      if ("text" in route) {
        if (path === prefix) return response.end(route.text);
        continue;
      }
      if (!path.startsWith(`${prefix}/`)) continue;
      const file = normalize(join(route.folder, path.slice(prefix.length)));
      if (!file.startsWith(normalize(route.folder) + sep)) break;
      const size = await stat(file)
        .then((entry) => entry.size)
        .catch(() => undefined);
      if (size === undefined) break;
      response.setHeader("Content-Length", size);
      return createReadStream(file).pipe(response);
    }
    response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

export interface BrowserOptions {
  /** Give pages a GPU: SwiftShader, which the processor plays. Without it WebGPU finds none. */
  readonly webgpu?: boolean;
}

/** Headless Chromium from npm; needs neither root nor a system browser. */
export async function launchBrowser({ webgpu = false }: BrowserOptions = {}): Promise<Browser> {
  // The package unpacks the shared libraries Chromium needs only where it takes the machine for a bare one.
  process.env.AWS_EXECUTION_ENV ??= "AWS_Lambda_nodejs20.x";
  const { default: binary } = await import("@sparticuz/chromium");
  return chromium.launch({
    executablePath: await binary.executablePath(),
    args: [
      "--no-sandbox",
      "--disable-gpu",
      ...(webgpu ? ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", `--${dawnFeatures}`] : []),
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
    ],
  });
}

export interface WorkerOptions extends StaticServerOptions {
  /** The text of an ES module whose default export gives the answer to a request; it may import `routes`. */
  readonly answer: string;
}

const workerShell = `
import answer from "/answer.js";
onmessage = async ({ data }) => {
  try {
    postMessage({ reply: await answer(data) });
  } catch (error) {
    postMessage({ error: String(error) });
  }
};`;

export interface PageWorker {
  /**
   * One request at a time. Requests and replies are plain data and typed arrays; an error in the worker is thrown
   * here.
   */
  ask<Request, Reply>(request: Request): Promise<Reply>;
  close(): Promise<void>;
}

/** A worker of a fresh page, which answers any number of requests. */
export async function openWorker(
  browser: Browser,
  { answer, crossOriginIsolated, routes }: WorkerOptions,
): Promise<PageWorker> {
  const server = await serve({
    crossOriginIsolated,
    routes: {
      "/": { text: "<!doctype html><title>bitloom</title>" },
      "/worker.js": { text: workerShell },
      "/answer.js": { text: answer },
      ...routes,
    },
  });
  const page = await browser.newPage();
  await page.goto(server.url);
  const worker = await page.evaluateHandle(() => new Worker("/worker.js", { type: "module" }));
  return {
    async ask<Request, Reply>(request: Request): Promise<Reply> {
      const said: { reply?: unknown; error?: string } = await worker.evaluate(
        (worker, request) =>
          new Promise((resolve) => {
            worker.onmessage = ({ data }) => resolve(data);
            worker.onerror = ({ message }) => resolve({ error: message });
            worker.postMessage(request);
          }),
        request,
      );
      if (said.error !== undefined) throw new Error(`in the browser's worker: ${said.error}`);
      return said.reply as Reply;
    },
    async close() {
      await page.close();
      await server.close();
    },
  };
}

/** Asks a worker of a fresh page one thing. */
export async function askWorker<Request, Reply>(
  browser: Browser,
  options: WorkerOptions,
  request: Request,
): Promise<Reply> {
  const worker = await openWorker(browser, options);
  try {
    return await worker.ask<Request, Reply>(request);
  } finally {
    await worker.close();
  }
}
