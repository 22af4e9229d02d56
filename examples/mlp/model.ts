import { bitLinear, defineModel, f32, relu2, softmax } from "bitloom";

/**
 * A multilayer perceptron that reads a seven-segment display. Three things make a model: its inputs, its
 * layers, and the function from one to the other.
 */
export default defineModel({
  name: "seven-segments",

  // One row a display: 1 for a segment that is lit, -1 for a dark one. "batch" is chosen at each call.
  inputs: { segments: f32("batch", 7) },
  symbols: { batch: { max: 100 } },

  // Everything with weights. `read` has a weight tensor [10, 7] that is called "read.weight".
  layers: {
    read: bitLinear(7, 10),
    judge: bitLinear(10, 3),
  },

  // Every tensor has its shape in its type: `judge(digit)` compiles, `judge(segments)` does not, and the
  // editor shows Tensor<"f32", ["batch", 10]> for `digit`.
  forward({ segments }, { read, judge }) {
    // 7 where all segments agree with the digit's template, 2 less for every one that does not. Squared, the
    // best match stands out far enough for the softmax to choose it.
    const digit = softmax(relu2(read(segments)));
    return { digit, properties: judge(digit) };
  },
});
