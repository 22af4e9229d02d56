/** The shortest decimal that reads back as the same finite f32. */
export function shortestF32(value: number): string {
  const rounded = Math.fround(value);
  if (Object.is(rounded, -0)) return "-0";
  for (let digits = 1; digits < 17; digits++) {
    const text = String(Number(rounded.toPrecision(digits)));
    if (Math.fround(Number(text)) === rounded) return text;
  }
  return String(rounded);
}
