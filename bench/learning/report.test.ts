import { expect, test } from "vitest";
import { comparison, withMeasured } from "./report.ts";

test("losses are compared with the first", () => {
  const rows = comparison([
    { name: "full", loss: Math.log(10) },
    { name: "ternary", loss: Math.log(11) },
    { name: "better", loss: Math.log(9) },
  ]);
  expect(rows.split("\n").slice(2)).toEqual([
    "| full | 2.3026 | 10.000 |  |  |",
    "| ternary | 2.3979 | 11.000 | +4.1% | +10.0% |",
    "| better | 2.1972 | 9.000 | -4.6% | -10.0% |",
  ]);
});

test("what is measured replaces what was, and nothing else", () => {
  const document = "a\n<!-- measured: one -->\nold\n<!-- end -->\nb\n<!-- measured: two -->\n<!-- end -->\n";
  const once = withMeasured(document, "two", "2");
  expect(once).toBe(document.replace("two -->\n", "two -->\n2\n"));
  expect(withMeasured(withMeasured(once, "one", "x"), "one", "1")).toBe(once.replace("old", "1"));
  expect(() => withMeasured(document, "three", "3")).toThrow("no place for three");
});
