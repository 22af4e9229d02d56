import { join } from "node:path";
import { packageRoot } from "../../codegen/kernel/template-path.ts";
import { toolkitProgram } from "./environment.ts";
import type { Finding } from "./records.ts";
import { shapesOf } from "./shapes.ts";

/** What a step is told. */
export interface Setting {
  /** `sm_90` */
  readonly architecture: string;
  /** Small shapes and a tiny model. */
  readonly small: boolean;
  /** Where artifacts go. */
  readonly folder: string;
}

/** A process to run, and what its standard output tells; the most important ones come first. */
export interface BenchStep {
  readonly name: string;
  /** Seconds after which it is stopped. */
  readonly limit: number;
  /** An executable and its arguments; `node` is the one that runs this. */
  command(setting: Setting, seconds: number): readonly string[];
  /** Lines that are JSON if absent. */
  read?(output: string, setting: Setting): Finding[];
}

const root = packageRoot();
const program = (name: string) => join(root, "dist/bench", `${name}.js`);
const cli = ["node", join(root, "dist/cli.js")];
const smallness = ({ small }: Setting) => (small ? ["--small"] : []);
const MODEL = "bitnet-b1.58-2B-4T";
const subjectOf = ({ small }: Setting) =>
  small ? [join(root, "examples/generate/bitnet-tiny")] : ["--random", MODEL];

/** An artifact, one for each device: what one cannot have of chunks, the other can. */
function build(device: "cuda" | "webgpu", head: string, more: (setting: Setting) => string[]): BenchStep {
  return {
    name: `build for ${device}, head ${head}`,
    limit: 90,
    command: (setting) => [
      ...[...cli, "build", ...subjectOf(setting), "--target", device],
      ...["--out", join(setting.folder, `${device}-${head}`), ...more(setting)],
    ],
    read: () => [],
  };
}

function measure(device: "cuda" | "webgpu", head: string, prefill: number, decode: number): BenchStep {
  return {
    name: `model on ${device}, head ${head}, a prompt of ${prefill}`,
    limit: 75,
    command: ({ folder, small }) => [
      ...[...cli, "bench", join(folder, `${device}-${head}`), "--device", device, "--json"],
      ...["--prefill", String(small ? 4 : prefill), "--decode", String(small ? 2 : decode)],
      ...["--repeat", small ? "1" : "5"],
    ],
    read(output, { small }) {
      const found = JSON.parse(output.trim().split("\n").at(-1)!);
      const { device: description, prefillTokensPerSecond, decodeTokensPerSecond, weightBytes } = found;
      const speeds = { prefillTokensPerSecond, decodeTokensPerSecond, weightBytes };
      return [{ kind: "model", device, head, description, prefillTokens: small ? 4 : prefill, ...speeds }];
    },
  };
}

function sanitize(tool: "memcheck" | "racecheck"): BenchStep {
  return {
    name: `compute-sanitizer ${tool}`,
    limit: 75,
    command: (_, seconds) => [
      ...[
        toolkitProgram("compute-sanitizer"),
        "--tool",
        tool,
        "--error-exitcode",
        "9",
        "node",
        program("conformance"),
      ],
      ...["--seconds", String(Math.max(1, seconds - 20))],
    ],
    read(output) {
      const notes = jsonLines(output).filter(({ kind }) => kind === "note");
      const summary = /(?:ERROR|RACECHECK) SUMMARY:.*/.exec(output)?.[0];
      // It was stopped, which is told of the step.
      if (summary === undefined) return notes;
      const failed = output.includes('"passed":false');
      const detail = failed ? `${summary}; a property does not hold` : summary;
      return [
        {
          kind: "check",
          name: `compute-sanitizer ${tool}`,
          passed: / 0 (?:errors|hazards)/.test(summary) && !failed,
          detail,
        },
        ...notes,
      ];
    },
  };
}

export const steps: readonly BenchStep[] = [
  {
    name: "golden text",
    limit: 75,
    command: (setting) => ["node", program("golden"), setting.folder, ...smallness(setting)],
  },
  {
    name: "kernels",
    limit: 150,
    command: (setting) => ["node", program("kernels"), ...smallness(setting)],
  },
  build("cuda", "bf16", ({ architecture, small }) =>
    small ? [] : ["--arch", architecture, "--chunk", "2048"],
  ),
  measure("cuda", "bf16", 512, 128),
  measure("cuda", "bf16", 2048, 16),
  {
    name: "PyTorch",
    limit: 90,
    command({ small }) {
      const { copyBytes, rows, gemm } = shapesOf(small);
      const shapes = gemm.map(({ n, k }) => `${n}x${k}`);
      return ["python3", join(root, "bench/cuda/torch.py"), String(copyBytes), rows.join(), ...shapes];
    },
  },
  {
    name: "properties",
    limit: 150,
    command: (_, seconds) => [
      ...["node", program("conformance"), "--seconds", String(Math.max(1, seconds - 20))],
    ],
  },
  build("webgpu", "bf16", () => []),
  measure("webgpu", "bf16", 512, 128),
  sanitize("memcheck"),
  sanitize("racecheck"),
  build("cuda", "int8", ({ architecture, small }) => [
    ...["--head", "int8", "--no-compare", ...(small ? [] : ["--arch", architecture])],
  ]),
  measure("cuda", "int8", 512, 128),
];

/** Findings among lines of other kinds. */
export function jsonLines(output: string): Finding[] {
  return output.split("\n").flatMap((line) => {
    if (!line.startsWith('{"kind"')) return [];
    try {
      return [JSON.parse(line) as Finding];
    } catch {
      // The last line of a program that was stopped.
      return [];
    }
  });
}
