import { stories } from "../train-tiny/stories.ts";

/** Texts to learn from, by name. */
const samples = {
  stories: () => stories(200_000, 1),
  numbers: () => Array.from({ length: 4000 }, (_, i) => `${i} is ${inWords(i)}.\n`).join(""),
};
export type SampleName = keyof typeof samples;

export function sampleText(name: SampleName): string {
  return samples[name]();
}

const small =
  "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split(
    " ",
  );
const tens = "twenty thirty forty fifty sixty seventy eighty ninety".split(" ");

/** A whole number from 0 to 999999 in English. */
function inWords(value: number): string {
  if (value < 20) return small[value]!;
  const [unit, name] = value < 100 ? [10, ""] : value < 1000 ? [100, " hundred"] : [1000, " thousand"];
  const [count, rest] = [Math.floor(value / unit), value % unit];
  const head = unit === 10 ? tens[count - 2]! : `${inWords(count)}${name}`;
  if (rest === 0) return head;
  return `${head}${unit === 10 ? "-" : unit === 100 ? " and " : " "}${inWords(rest)}`;
}
