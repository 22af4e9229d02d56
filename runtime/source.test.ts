import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, expectTypeOf, it } from "vitest";
import { type FakeArtifact, fakeArtifact } from "../test/support/fake-artifact.ts";
import { type ArtifactLocation, type DirectoryHandle, load } from "./index.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

async function listen(handler: RequestListener): Promise<string> {
  const server = createServer(handler);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const checksum = async (artifact: FakeArtifact, location: ArtifactLocation) => {
  await using model = await load(location, { threads: 1 });
  const outputs = await model.run({ x: new Float32Array(4) });
  expect(outputs.checksum!.data[0]).toBe(artifact.checksum);
};

describe("an http address", () => {
  it("is a folder, with or without a slash, and its query goes with every file", async () => {
    const artifact = await fakeArtifact();
    const url = await listen((request, response) => {
      const { pathname, search } = new URL(request.url!, "http://x");
      const bytes = artifact.files.get(pathname.slice("/models/tiny/".length));
      if (search !== "?key=1" || bytes === undefined) return response.writeHead(404).end();
      response.end(bytes);
    });
    await checksum(artifact, `${url}/models/tiny?key=1`);
    await checksum(artifact, new URL(`${url}/models/tiny/?key=1`));
    await expect(load(`${url}/models/tiny`)).rejects.toMatchObject({
      code: "MISSING_FILE",
      location: `${url}/models/tiny/manifest.json`,
    });
  });

  it("takes bytes that were compressed on the way", async () => {
    const artifact = await fakeArtifact();
    const { gzipSync } = await import("node:zlib");
    const url = await listen((request, response) => {
      const body = gzipSync(artifact.files.get(request.url!.slice(1))!);
      response.writeHead(200, { "Content-Encoding": "gzip", "Content-Length": body.length }).end(body);
    });
    await checksum(artifact, url);
  });

  it("names a status, a broken connection and a page in the manifest's place", async () => {
    const broken = await listen((_, response) => response.writeHead(503).end());
    await expect(load(broken)).rejects.toMatchObject({ code: "READ_FAILED", received: "HTTP status 503" });

    const artifact = await fakeArtifact({ weightsBytes: 100_000 });
    const cut = await listen((request, response) => {
      const bytes = artifact.files.get(request.url!.slice(1))!;
      response.writeHead(200, { "Content-Length": bytes.length });
      if (!request.url!.includes("weights")) return response.end(bytes);
      response.write(bytes.subarray(0, 50_000), () => response.destroy());
    });
    await expect(load(cut, { threads: 1 })).rejects.toMatchObject({ code: "READ_FAILED" });

    const page = await listen((_, response) => response.end("<!doctype html><title>Home</title>"));
    await expect(load(page)).rejects.toMatchObject({ code: "INVALID_MANIFEST" });

    const [server] = servers.splice(0, 1);
    await new Promise((resolve) => server!.close(resolve));
    await expect(load(broken)).rejects.toMatchObject({ code: "READ_FAILED" });
  });
});

describe("a directory handle", () => {
  const directory = (files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>, prefix = ""): DirectoryHandle => {
    const missing = () => Promise.reject(new DOMException("no such entry", "NotFoundError"));
    return {
      getDirectoryHandle: async (name: string) => directory(files, `${prefix}${name}/`),
      getFileHandle: async (name: string) => {
        const bytes = files.get(prefix + name);
        return bytes === undefined ? missing() : { getFile: async () => new File([bytes], name) };
      },
    };
  };

  it("is what browsers call FileSystemDirectoryHandle", () => {
    expectTypeOf<FileSystemDirectoryHandle>().toExtend<DirectoryHandle>();
  });

  it("is walked down to each file", async () => {
    const artifact = await fakeArtifact();
    const files = new Map(artifact.files);
    for (const [variant, path] of Object.entries(artifact.manifest.targets.wasm!.modules)) {
      files.set(`deep/down/${path}`, artifact.files.get(path!)!);
      artifact.manifest.targets.wasm!.modules[variant as "baseline"] = `deep/down/${path}`;
    }
    for (const file of artifact.manifest.files)
      if (file.path.endsWith(".wasm")) file.path = `deep/down/${file.path}`;
    files.set("manifest.json", new TextEncoder().encode(JSON.stringify(artifact.manifest)));
    await checksum(artifact, directory(files));
    files.delete("weights.safetensors");
    await expect(load(directory(files), { threads: 1 })).rejects.toMatchObject({
      code: "MISSING_FILE",
      location: "weights.safetensors",
    });
  });
});
