/**
 * The properties of test/cuda.test.ts on the card: `conformance.js [--seconds N] [--only REGEXP]`. What the time does
 * not suffice for is told.
 */
import { parseArgs } from "node:util";
import fc from "fast-check";
import { findMachine } from "../../runtime/devices/cuda/machine.ts";
import { cudaProperties } from "../../test/support/cuda-properties.ts";
import { openCard } from "./card-host.ts";
import { report } from "./records.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "600" },
    only: { type: "string", default: "" },
  },
});
// As test/support/setup.ts has it.
fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: 1 });

const wanted = new RegExp(values.only);
const end = performance.now() + 1000 * Number(values.seconds);
const card = await openCard(await findMachine());
const left: string[] = [];
for (const { name: group, prepare, properties } of cudaProperties()) {
  const chosen = properties.filter(({ name }) => wanted.test(name));
  if (chosen.length === 0) continue;
  if (performance.now() < end) await prepare?.(card);
  for (const { name, holds } of chosen) {
    if (performance.now() >= end) {
      left.push(name);
      continue;
    }
    try {
      await holds(card);
      report({ kind: "check", name: `${group}: ${name}`, passed: true });
    } catch (error) {
      report({ kind: "check", name: `${group}: ${name}`, passed: false, detail: String(error) });
      process.exitCode = 1;
    }
  }
}
await card.close();
if (left.length > 0) {
  report({ kind: "note", text: `no time was left for ${left.length} properties: ${left.join("; ")}` });
}
