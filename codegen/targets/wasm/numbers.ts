import { shortestF32 } from "../decimal.ts";

/** The shortest decimal that reads back as the same f32 or f64; WAT spells the special values its own way. */
export function floatText(type: "f32" | "f64", value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (value === Number.POSITIVE_INFINITY) return "inf";
  if (value === Number.NEGATIVE_INFINITY) return "-inf";
  if (Object.is(value, -0)) return "-0";
  return type === "f64" ? String(value) : shortestF32(value);
}
