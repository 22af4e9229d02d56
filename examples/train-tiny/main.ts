// What `npm run demo` runs; `npm run demo -- --steps 100` is over sooner, and knows less.
import { parseArgs } from "node:util";
import { demo } from "./demo.ts";

const { values } = parseArgs({
  options: { steps: { type: "string", default: "1000" }, out: { type: "string", default: "out/demo" } },
});
await demo(Number(values.steps), values.out, (text) => process.stdout.write(text));
