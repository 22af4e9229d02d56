import { formatTable } from "../../src/cli/format.ts";
import type { Finding } from "./records.ts";

/** How a step ended. */
export interface Outcome {
  readonly step: string;
  readonly status: "done" | "failed" | "too long" | "left out" | "not here";
  readonly seconds: number;
  readonly detail?: string;
}

/** What was measured, for people, with shares of the largest copy rate that was. Shares have the goals beside them. */
export function summarize(findings: readonly Finding[], outcomes: readonly Outcome[]): string {
  const of = <K extends Finding["kind"]>(kind: K) =>
    findings.filter((finding): finding is Finding & { kind: K } => finding.kind === kind);
  const copies = of("copy");
  const copyRate = Math.max(...copies.map(({ bytesPerSecond }) => bytesPerSecond));
  const gigabytes = (rate: number) => `${(rate / 1e9).toFixed(0)} GB/s`;
  const share = (part: number) => (Number.isFinite(part) && part > 0 ? `${(100 * part).toFixed(0)}%` : "");
  const sections: [title: string, rows: string[][]][] = [];

  sections.push([
    "Copying device memory, bytes read and written",
    [
      ...copies.map(({ by, bytesPerSecond }) => [by, gigabytes(bytesPerSecond)]),
      ...of("launch").map(({ microseconds }) => [
        "a launch of a graph that does nothing",
        `${microseconds.toFixed(2)} µs`,
      ]),
    ],
  ]);

  const ternary = of("ternary");
  sections.push([
    "One row: codes read, and the share of the copy rate (goal: 80% on the large ones)",
    ternary
      .filter(({ rows }) => rows === 1)
      .map(({ n, k, microseconds, bytesPerSecond }) => [
        `${n} x ${k}`,
        `${microseconds.toFixed(2)} µs`,
        gigabytes(bytesPerSecond),
        share(bytesPerSecond / copyRate),
      ]),
  ]);

  const sameAs = (kind: "int_mm" | "linear_bf16", rows: number, n: number, k: number) =>
    of(kind).find((other) => other.rows === rows && other.n === n && other.k === k);
  sections.push([
    "Many rows, beside PyTorch's _int_mm (goal: 60% of its speed) and linear in bf16",
    ternary
      .filter(({ rows }) => rows > 1)
      .map(({ rows, n, k, microseconds }) => {
        const tera = (2 * rows * n * k) / microseconds / 1e6;
        const [bytes, floats] = [sameAs("int_mm", rows, n, k), sameAs("linear_bf16", rows, n, k)];
        const beside = (name: string, other: typeof bytes) =>
          other
            ? `${name} ${other.microseconds.toFixed(0)} µs, ${share(other.microseconds / microseconds)}`
            : `${name} not measured`;
        return [
          `${rows} x ${n} x ${k}`,
          `${microseconds.toFixed(0)} µs`,
          `${tera.toFixed(0)} TOPS`,
          beside("int8", bytes),
          beside("bf16", floats),
        ];
      }),
  ]);

  sections.push([
    "The model, random weights; decoding as a share of what its bytes allow (goal: 50%)",
    of("model").map((model) => [
      `${model.device}, head ${model.head}`,
      `prompt of ${model.prefillTokens}: ${model.prefillTokensPerSecond.toFixed(0)} tokens/s`,
      `decode: ${model.decodeTokensPerSecond.toFixed(1)} tokens/s`,
      gigabytes(model.decodeTokensPerSecond * model.weightBytes),
      share((model.decodeTokensPerSecond * model.weightBytes) / copyRate),
    ]),
  ]);

  const checks = of("check");
  const failed = checks.filter(({ passed }) => !passed);
  sections.push([
    `Checks: ${checks.length - failed.length} of ${checks.length} passed`,
    failed.map(({ name, detail = "" }) => ["FAILED", name, detail.split("\n", 1)[0]!]),
  ]);
  sections.push(["Notes", of("note").map(({ text }) => [text])]);
  sections.push([
    "Steps",
    outcomes.map(({ step, status, seconds, detail = "" }) => [
      step,
      status,
      `${seconds.toFixed(0)} s`,
      detail.split("\n", 1)[0]!,
    ]),
  ]);
  return sections
    .filter(([title, rows]) => rows.length > 0 || title.startsWith("Checks"))
    .map(([title, rows]) => `${title}\n${rows.length > 0 ? formatTable(rows) : ""}`.trimEnd())
    .join("\n\n");
}
