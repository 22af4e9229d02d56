import { defineConfig } from "vite";

/** They let the page have shared memory, and with it threads. Without them it runs on one thread. */
const headers = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

export default defineConfig({
  // The built page works in any folder of a server.
  base: "./",
  // A model that is not there is a 404, not this page.
  appType: "mpa",
  server: { headers },
  preview: { headers },
  // The runtime imports the tokenizer when a model has one; only modules can do that.
  worker: { format: "es" },
});
