import { access, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { demo } from "./demo.ts";

it("the README's demo trains its model, compiles it, and speaks", async () => {
  const out = await mkdtemp(join(tmpdir(), "bitloom-demo-"));
  try {
    let said = "";
    await demo(24, out, (text) => {
      said += text;
    });
    const losses = [...said.matchAll(/step +\d+ {2}loss (\d+\.\d+) {2}█+ +[\d,]+ tokens\/s/g)].map(
      ([, loss]) => Number(loss),
    );
    expect(losses.length).toBeGreaterThanOrEqual(12);
    expect(losses[0]).toBeGreaterThan(6.5);
    expect(losses.at(-1)).toBeLessThan(6);
    expect(said).toMatch(/527,920 parameters in \d+\.\d s/);
    expect(said).toMatch(/operations +\d+, \d+ after fusion: \d+ kernel calls a token/);
    expect(said).toMatch(/weights +\d+ kB as f32, \d+ kB packed/);
    expect(said).toMatch(/One day,.+\n\n {2}\d+ tokens, [\d,]+ tokens\/s\n$/s);
    expect(said).not.toMatch(/undefined|NaN/);
    await access(join(out, "loss.svg"));
  } finally {
    await rm(out, { recursive: true });
  }
}, 120_000);
