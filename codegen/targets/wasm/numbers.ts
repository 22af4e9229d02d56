/** The shortest decimal that reads back as the same f32 or f64; WAT spells the special values its own way. */
export function floatText(type: "f32" | "f64", value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (value === Number.POSITIVE_INFINITY) return "inf";
  if (value === Number.NEGATIVE_INFINITY) return "-inf";
  if (Object.is(value, -0)) return "-0";
  if (type === "f64") return String(value);
  const rounded = Math.fround(value);
  for (let digits = 1; digits < 17; digits++) {
    const text = String(Number(rounded.toPrecision(digits)));
    if (Math.fround(Number(text)) === rounded) return text;
  }
  return String(rounded);
}
