import fc from "fast-check";

/**
 * Properties try the same cases in every run, so that a failure is the change's. To look further:
 * `BITLOOM_SEED=random npm test`, or a number that a failure printed.
 */
const seed = process.env.BITLOOM_SEED ?? "1";
if (seed !== "random") fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(seed) });
