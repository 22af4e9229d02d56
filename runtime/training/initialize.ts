import type { Random } from "../random.ts";
import type { TrainedTensor } from "./recipe.ts";

/** The families' `initializer_range`. */
const DEVIATION = 0.02;

/**
 * A parameter before training, f32 of its dims: norms are 1, biases 0, and all else is normal with deviation 0.02.
 * @param random goes on from parameter to parameter
 */
export function initialize(
  { dims, kind }: Pick<TrainedTensor, "dims" | "kind">,
  random: Random,
): Float32Array<ArrayBuffer> {
  const values = new Float32Array(dims.reduce((product, dim) => product * dim, 1));
  if (kind === "bias") return values;
  if (kind === "norm") return values.fill(1);
  // Box and Muller (1958): two normal numbers from two uniform ones, of which the first is not 0.
  for (let i = 0; i < values.length; i += 2) {
    const radius = DEVIATION * Math.sqrt(-2 * Math.log(1 - random.uniform()));
    const angle = 2 * Math.PI * random.uniform();
    values[i] = radius * Math.cos(angle);
    if (i + 1 < values.length) values[i + 1] = radius * Math.sin(angle);
  }
  return values;
}
