import { fileURLToPath } from "node:url";
import { compile } from "bitloom";
import { load } from "bitloom/runtime";
import model from "./model.ts";
import { display, properties, weights } from "./weights.ts";

// From the description to an artifact: kernels, packed weights, and a typed loader. Once.
const out = fileURLToPath(new URL("dist", import.meta.url));
const report = await compile(model, { out, weights });
console.log(`${report.targets[0]!.kernels.count} kernels and ${report.weights} bytes of weights in ${out}`);

// From the artifact to answers. This part needs the runtime alone, in Node or in a browser.
const reader = await load(out);
const digits = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
const outputs = await reader.run({ segments: new Float32Array(digits.flatMap(display)) });
for (const digit of digits) {
  const scores = [...outputs.digit!.data.slice(digit * 10, digit * 10 + 10)];
  const seen = scores.indexOf(Math.max(...scores));
  const holds = properties.filter((_, i) => outputs.properties!.data[digit * 3 + i]! > 0);
  console.log(`${digit}: reads ${[seen, ...holds].join(", ")}`);
}
await reader.dispose();
