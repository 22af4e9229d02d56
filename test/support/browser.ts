import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize, sep } from "node:path";
import { type Browser, chromium } from "playwright-core";

const mimeTypes: Record<string, string> = {
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

/** Headless Chromium from npm; needs neither root nor a system browser. */
export async function launchBrowser(): Promise<Browser> {
  // The package unpacks the shared libraries Chromium needs only where it takes the machine for a bare one.
  process.env.AWS_EXECUTION_ENV ??= "AWS_Lambda_nodejs20.x";
  const { default: binary } = await import("@sparticuz/chromium");
  return chromium.launch({
    executablePath: await binary.executablePath(),
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
    ],
  });
}
