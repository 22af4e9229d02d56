/**
 * Proves and measures the GPU targets on an NVIDIA card, most important first, within a budget of time:
 *
 *     npm run bench:cuda -- [--out FOLDER] [--budget SECONDS] [--only REGEXP] [--small]
 *
 * Each step is a process with a time limit of its own; what goes wrong in one, or is missing here, is told and keeps no
 * other from running. FOLDER gets report.json and summary.txt, as far as they are, after every step, and what each step
 * wrote. The exit status is 1 if a check or a step failed.
 */
import { spawn } from "node:child_process";
import { createWriteStream, rmSync } from "node:fs";
import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { findMachine } from "../../runtime/devices/cuda/machine.ts";
import { version } from "../../src/version.ts";
import { stepEnvironment } from "./environment.ts";
import type { Finding } from "./records.ts";
import { type BenchStep, jsonLines, type Setting, steps } from "./steps.ts";
import { type Outcome, summarize } from "./summary.ts";

const { values: options } = parseArgs({
  options: {
    out: { type: "string", default: "bench-cuda" },
    budget: { type: "string", default: "570" },
    only: { type: "string", default: "" },
    small: { type: "boolean", default: false },
  },
});
/** Less is not worth the start of a process. */
const LEAST_SECONDS = 5;

const start = performance.now();
const elapsed = () => (performance.now() - start) / 1000;
const out = resolve(options.out);
const findings: Finding[] = [];
const outcomes: Outcome[] = [];

interface Ended {
  readonly status: Outcome["status"];
  readonly output: string;
  readonly detail?: string;
}

/** Runs a process and all that it starts for so many seconds at most; what it writes goes to a file, too. */
function runProcess(command: readonly string[], seconds: number, log: string): Promise<Ended> {
  const [name, ...args] = command.map((word) => (word === "node" ? process.execPath : word));
  return new Promise((done) => {
    const file = createWriteStream(log);
    const child = spawn(name!, args, {
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
      env: stepEnvironment(),
    });
    const stop = () => {
      try {
        process.kill(-child.pid!, "SIGKILL");
      } catch {
        // It has just ended.
      }
    };
    let output = "";
    let said = "";
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      stop();
    }, 1000 * seconds);
    process.once("exit", stop);
    child.stdout.on("data", (text) => {
      output += text;
      file.write(text);
    });
    child.stderr.on("data", (text) => {
      said += text;
      file.write(text);
    });
    const end = (ended: Omit<Ended, "output">) => {
      clearTimeout(timer);
      process.off("exit", stop);
      file.end(() => done({ ...ended, output }));
    };
    child.once("error", (error) => end({ status: "not here", detail: error.message }));
    child.once("close", (code, signal) => {
      const detail = said.trim().split("\n").slice(-3).join(" ") || `it ended with ${signal ?? code}`;
      if (isLate) end({ status: "too long", detail: `stopped after ${seconds.toFixed(0)} s` });
      else if (code !== 0) end({ status: "failed", detail });
      else end({ status: "done" });
    });
  });
}

async function runStep(step: BenchStep, setting: Setting): Promise<void> {
  const seconds = Math.min(step.limit, Number(options.budget) - elapsed());
  if (seconds < LEAST_SECONDS) {
    outcomes.push({ step: step.name, status: "left out", seconds: 0, detail: "no time was left" });
    return;
  }
  process.stdout.write(`${elapsed().toFixed(0).padStart(4)} s  ${step.name}\n`);
  const began = elapsed();
  const log = join(out, `${step.name.replace(/\W+/g, "-")}.log`);
  const { status, output, detail } = await runProcess(step.command(setting, seconds), seconds, log);
  let reason = detail;
  if (status !== "not here") {
    try {
      findings.push(...(step.read ?? jsonLines)(output, setting));
    } catch (error) {
      reason ??= `what it wrote cannot be read: ${(error as Error).message}`;
    }
  }
  outcomes.push({ step: step.name, status, seconds: elapsed() - began, ...(reason && { detail: reason }) });
}

const { cards, driver } = await findMachine();
const card = cards[0]!;
const facts = {
  card,
  driver: `for CUDA ${driver}`,
  date: new Date().toISOString(),
  command: ["bench:cuda", ...process.argv.slice(2)].join(" "),
  bitloom: version,
  node: process.version,
};
const heading = `${card.name}, driver ${facts.driver}, ${facts.date.slice(0, 10)}, bitloom ${version}, ${facts.command}`;

/** What has been found until now, for whoever stops this. */
async function save(): Promise<string> {
  const summary = `${heading}\n\n${summarize(findings, outcomes)}\n`;
  await writeFile(join(out, "report.json"), `${JSON.stringify({ ...facts, findings, outcomes }, null, 1)}\n`);
  await writeFile(join(out, "summary.txt"), summary);
  return summary;
}

await mkdir(out, { recursive: true });
const folder = await mkdtemp(join(tmpdir(), "bitloom-bench-"));
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
process.once("SIGINT", () => process.exit(130));
process.once("SIGTERM", () => process.exit(143));

const wanted = new RegExp(options.only);
const setting = { architecture: `sm_${card.computeCapability}`, small: options.small, folder };
let summary = "";
for (const step of steps.filter(({ name }) => wanted.test(name))) {
  await runStep(step, setting);
  summary = await save();
}
process.stdout.write(`\n${summary}`);
const hasFailed =
  findings.some((finding) => finding.kind === "check" && !finding.passed) ||
  outcomes.some(({ status }) => status === "failed" || status === "too long");
if (hasFailed) process.exitCode = 1;
