import { setTimeout as wait } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { ranges, readAhead } from "./pieces.ts";

describe("reading ahead", () => {
  test("uses pieces in order, each after its read, with one read under way", async () => {
    const log: string[] = [];
    await readAhead(
      [1, 2, 3],
      async (piece, buffer) => {
        log.push(`read ${piece} into ${buffer}`);
        await wait(1);
        log.push(`has ${piece}`);
      },
      async (piece, buffer) => {
        log.push(`use ${piece} of ${buffer}`);
        await wait(5);
      },
    );
    expect(log).toEqual([
      "read 1 into 0",
      "has 1",
      "read 2 into 1",
      "use 1 of 0",
      "has 2",
      "read 3 into 0",
      "use 2 of 1",
      "has 3",
      "use 3 of 0",
    ]);
  });

  test("a read that fails while a piece is in use fails the whole, unhandled nowhere", async () => {
    const used: number[] = [];
    const run = readAhead(
      [1, 2],
      async (piece) => {
        if (piece === 2) throw new Error("gone");
      },
      async (piece) => {
        used.push(piece);
        await wait(5);
      },
    );
    await expect(run).rejects.toThrow("gone");
    expect(used).toEqual([1]);
  });

  test("a use that fails waits for the read under way", async () => {
    let reading = false;
    const run = readAhead(
      [1, 2],
      async () => {
        reading = true;
        await wait(5);
        reading = false;
      },
      () => {
        throw new Error("full");
      },
    );
    await expect(run).rejects.toThrow("full");
    expect(reading).toBe(false);
  });
});

test("ranges cover a total without overlap", () => {
  expect([...ranges(10, 4)]).toEqual([
    { first: 0, count: 4 },
    { first: 4, count: 4 },
    { first: 8, count: 2 },
  ]);
});
