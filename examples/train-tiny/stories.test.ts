import { expect, test } from "vitest";
import { stories } from "./stories.ts";

const numbers =
  "no one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen".split(
    " ",
  );
const told = stories(200_000, 1);
const paragraphs = told.trimEnd().split("\n");

test("a seed tells the same stories, of the length that is asked for, and another seed others", () => {
  expect(stories(5000, 1)).toBe(told.slice(0, stories(5000, 1).length));
  expect(told.length).toBeGreaterThanOrEqual(200_000);
  expect(told.length).toBeLessThan(201_000);
  const others = new Set(stories(200_000, 2).split("\n"));
  const repeated = paragraphs.filter((story) => others.has(story));
  expect(repeated.length / paragraphs.length).toBeLessThan(0.05);
});

test("sums are right and plurals agree", () => {
  const counted = paragraphs.flatMap((story) => {
    const found =
      /had (\w+) .* (\w+) more.* (?:have|made) (\w+) (\w+)[,.].* ate (\w+)[, ].*and (\w+) (was|were) left\.$/.exec(
        story,
      );
    return found ? [found] : [];
  });
  expect(counted.length).toBeGreaterThan(100);
  for (const [story, first, more, sum, fruit, eaten, left, verb] of counted) {
    const value = (word: string | undefined) => numbers.indexOf(word!);
    expect(value(first) + value(more), story).toBe(value(sum));
    expect(value(sum) - value(eaten), story).toBe(value(left));
    expect(verb, story).toBe(left === "one" ? "was" : "were");
    expect(fruit, story).toMatch(/s$/);
  }
});

test("things stay what they were, and articles fit", () => {
  const lost = paragraphs.flatMap((story) => {
    const found = /^(\w+) (?:had|got) an? (\w+) (\w+)(?: from \w+ \w+)?\. .*?\1/.exec(story);
    return found ? [{ story, colour: found[2]!, thing: found[3]! }] : [];
  });
  expect(lost.length).toBeGreaterThan(100);
  for (const { story, colour, thing } of lost) {
    expect(story).toContain(` found the ${thing} `);
    for (const [, adjective] of story.matchAll(new RegExp(`(?:is my|play with the) (\\w+) ${thing}`, "g"))) {
      expect(adjective, story).toBe(colour);
    }
  }
  expect(told).not.toMatch(/\ba [aeiou]|\ban [^aeiou]/);
});
