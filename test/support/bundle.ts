import { rolldown } from "rolldown";

/** One minified ES module of everything `entry` (a path) imports, for a browser. */
export async function bundleForBrowser(entry: string): Promise<string> {
  const bundle = await rolldown({ input: entry, platform: "browser", logLevel: "silent" });
  try {
    const { output } = await bundle.generate({ format: "esm", minify: true, codeSplitting: false });
    return output[0].code;
  } finally {
    await bundle.close();
  }
}
