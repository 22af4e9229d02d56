import { memorySource } from "bitloom";

/** Which segments each digit lights: top, top right, bottom right, bottom, bottom left, top left, middle. */
const templates = [
  "1111110",
  "0110000",
  "1101101",
  "1111001",
  "0110011",
  "1011011",
  "1011111",
  "1110000",
  "1111111",
  "1111011",
];

/** The segments of a digit as the model takes them: 1 is lit, -1 is dark. */
export function display(digit: number): number[] {
  return [...templates[digit]!].map((lit) => (lit === "1" ? 1 : -1));
}

/** What `judge` says of a digit: a positive number for yes, a negative one for no. */
export const properties = ["odd", "prime", "above four"] as const;
const judgements = [
  [-1, 1, -1, 1, -1, 1, -1, 1, -1, 1],
  [-1, -1, 1, 1, -1, 1, -1, 1, -1, -1],
  [-1, -1, -1, -1, -1, 1, 1, 1, 1, 1],
];

/**
 * The model's weights, made by hand: each is -1 or 1 already, so that BitLinear's quantization keeps it. Of
 * a trained network they would come from a file, `safetensorsSource("model.safetensors")`, whose tensors have
 * these names.
 */
export const weights = memorySource(
  new Map([
    [
      "read.weight",
      { dims: [10, 7], data: new Float32Array(templates.flatMap((_, digit) => display(digit))) },
    ],
    ["judge.weight", { dims: [3, 10], data: new Float32Array(judgements.flat()) }],
  ]),
);
