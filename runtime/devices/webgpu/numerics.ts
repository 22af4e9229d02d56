import type { Numerics } from "../device.ts";
import { COPY_DST, COPY_SRC, MAP_MODE_READ, MAP_READ, STORAGE } from "./flags.ts";

type Pair = readonly [number, number];
type Triple = readonly [number, number, number];

/** Pairs whose products and sums are no floats: halfway between two of them, and a little to each side. */
const inexactProducts: readonly Pair[] = [
  // From 2^24 on floats are two apart, so that odd numbers are halfway.
  [4097, 4097],
  [4097, 4099],
  [-4097, 4097],
  [-4097, 4099],
  // From 2^25 on they are four apart.
  [5793, 5793],
  [5793, 5795],
  [-5793, 5793],
  [-5793, 5795],
];
const inexactSums: readonly Pair[] = [
  [2 ** 24, 1],
  [2 ** 24, 3],
  [-(2 ** 24), -1],
  [-(2 ** 24), -3],
  [2 ** 25, 1],
  [2 ** 25, 3],
  [-(2 ** 25), -1],
  [-(2 ** 25), -3],
];

/** Below 2^-126: operands, results, and both. */
const subnormalProducts: readonly Pair[] = [
  [1.5 * 2 ** -140, 2 ** 30],
  [1.5 * 2 ** -70, 2 ** -70],
  [-1.5 * 2 ** -140, 2],
];
const subnormalSums: readonly Pair[] = [
  [2 ** -126, 2 ** -127],
  [1.5 * 2 ** -126, -(2 ** -126)],
  [2 ** -140, 2 ** -141],
];

/** a * b + c where the rounded product is -c, so that all that a contraction can leave is what rounding took away. */
const productSums: readonly Triple[] = [
  [4097, 4097, -Math.fround(4097 * 4097)],
  [4097, 4099, -Math.fround(4097 * 4099)],
  [5793, -5793, Math.fround(5793 * 5793)],
];

/** An expression of each kind has operands of its own, or a compiler would compute products once for both kinds. */
const code = `
struct Operands { product: vec2f, sum: vec2f, both: vec3f }
@group(0) @binding(0) var<storage, read> operands: array<Operands>;
@group(0) @binding(1) var<storage, read_write> results: array<vec4f>;
@compute @workgroup_size(1)
fn probe(@builtin(workgroup_id) id: vec3u) {
  let given = operands[id.x];
  let product = given.product.x * given.product.y;
  let sum = given.sum.x + given.sum.y;
  let both = given.both.x * given.both.y + given.both.z;
  results[id.x] = vec4f(product, sum, both, 0);
}`;

/**
 * Has a GPU compute what WGSL lets each round, contract and flush as it likes (WGSL, "Floating Point Evaluation").
 * @throws what the GPU says where it computes nothing
 */
export async function probeNumerics(gpu: GPUDevice): Promise<Numerics> {
  const [products, sums] = [
    [...inexactProducts, ...subnormalProducts],
    [...inexactSums, ...subnormalSums],
  ];
  const count = Math.max(products.length, sums.length, productSums.length);
  const operands = new Float32Array(8 * count);
  for (const [i, pair] of products.entries()) operands.set(pair, 8 * i);
  for (const [i, pair] of sums.entries()) operands.set(pair, 8 * i + 2);
  for (const [i, triple] of productSums.entries()) operands.set(triple, 8 * i + 4);

  const results = await compute(gpu, operands, count);
  // Products and sums of two floats are exact as doubles, or near enough that they are rounded once.
  const rightProducts = products.map(([a, b], i) => results[4 * i] === Math.fround(a * b));
  const rightSums = sums.map(([a, b], i) => results[4 * i + 1] === Math.fround(a + b));
  return {
    roundsToNearest:
      rightProducts.slice(0, inexactProducts.length).every(Boolean) &&
      rightSums.slice(0, inexactSums.length).every(Boolean),
    contracts: productSums.some(([a, b, c], i) => results[4 * i + 2] === a * b + c),
    keepsSubnormals:
      rightProducts.slice(inexactProducts.length).every(Boolean) &&
      rightSums.slice(inexactSums.length).every(Boolean),
  };
}

/** Four floats for each eight. */
async function compute(
  gpu: GPUDevice,
  operands: Float32Array<ArrayBuffer>,
  count: number,
): Promise<Float32Array> {
  const pipeline = await gpu.createComputePipelineAsync({
    label: "numerics",
    layout: "auto",
    compute: { module: gpu.createShaderModule({ label: "numerics", code }) },
  });
  const size = 16 * count;
  const buffers = [
    gpu.createBuffer({ label: "operands", size: operands.byteLength, usage: STORAGE | COPY_DST }),
    gpu.createBuffer({ label: "results", size, usage: STORAGE | COPY_SRC }),
    gpu.createBuffer({ label: "results", size, usage: MAP_READ | COPY_DST }),
  ] as const;
  try {
    const [given, computed, staging] = buffers;
    gpu.queue.writeBuffer(given, 0, operands);
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    const entries = [given, computed].map((buffer, binding) => ({ binding, resource: { buffer } }));
    pass.setBindGroup(0, gpu.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
    pass.dispatchWorkgroups(count);
    pass.end();
    encoder.copyBufferToBuffer(computed, 0, staging, 0, size);
    gpu.queue.submit([encoder.finish()]);
    await staging.mapAsync(MAP_MODE_READ);
    return new Float32Array(staging.getMappedRange().slice(0));
  } finally {
    for (const buffer of buffers) buffer.destroy();
  }
}
