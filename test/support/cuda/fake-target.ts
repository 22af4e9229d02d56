import type { CudaKernel, CudaTarget } from "../../../runtime/manifest.ts";
import { type FakeTensors, fakeWebgpuTarget } from "../fake-webgpu.ts";
import type { HostKernel } from "./host-library.ts";

const buffer = (parameter: string) => ({ kind: "buffer", parameter, element: 4 }) as const;
const scalar = (parameter: string) => ({ kind: "scalar", parameter, type: "i32" }) as const;

interface FakeKernel extends Omit<CudaKernel, "source" | "template" | "sharedBytes"> {
  readonly text: string;
}

/** The kernels of the fake artifact, as `fakeWebgpuTarget` has them. */
const kernels: readonly FakeKernel[] = [
  {
    name: "double",
    entryPoint: "twice",
    kind: "range",
    blockSize: 4,
    parameters: ["x", "y"],
    launch: [buffer("x"), buffer("y"), { kind: "range" }],
    text: `
namespace twice {
extern "C" __global__ void __launch_bounds__(4) twice(const float *x, float *y, unsigned items) {
  const unsigned i = blockIdx.x * 4 + threadIdx.x;
  if (i < items) y[i] = 2 * x[i];
}
}`,
  },
  {
    name: "checksum",
    entryPoint: "checksum",
    kind: "workgroup",
    blockSize: 1,
    parameters: ["weights", "checksum", "participants", "bytes", "isFirst"],
    launch: ["weights", "checksum", "participants"]
      .map((name): CudaKernel["launch"][number] => buffer(name))
      .concat([scalar("bytes"), scalar("isFirst")]),
    text: `
namespace checksum {
extern "C" __global__ void __launch_bounds__(1)
checksum(const unsigned char *weights, unsigned *sum, int *participants, int bytes, int isFirst) {
  unsigned h = isFirst == 1 ? 0 : *sum;
  for (int i = 0; i < bytes; i++) h = h * 31 + weights[i];
  *sum = h;
  *participants = 1;
}
}`,
  },
  {
    name: "predict",
    entryPoint: "predict",
    kind: "workgroup",
    blockSize: 1,
    parameters: ["tokens", "positions", "cache", "logits", "seq", "vocabulary"],
    launch: ["tokens", "positions", "cache", "logits"]
      .map((name): CudaKernel["launch"][number] => buffer(name))
      .concat([scalar("seq"), scalar("vocabulary")]),
    text: `
namespace predict {
extern "C" __global__ void __launch_bounds__(1)
predict(const int *tokens, const int *positions, int *cache, float *logits, int seq, int vocabulary) {
  for (int i = 0; i < seq; i++) cache[*positions + i] = tokens[i];
  unsigned h = 0;
  for (int i = 0; i < *positions + seq; i++) h = h * 31 + unsigned(cache[i]) + 1;
  for (int v = 0; v < vocabulary; v++) logits[v] = float(h * unsigned(v + 7) >> 22);
}
}`,
  },
  {
    name: "choose",
    entryPoint: "choose",
    kind: "workgroup",
    blockSize: 1,
    parameters: ["logits", "values", "tokens", "vocabulary", "candidates"],
    launch: ["logits", "values", "tokens"]
      .map((name): CudaKernel["launch"][number] => buffer(name))
      .concat([scalar("vocabulary"), scalar("candidates")]),
    text: `
namespace choose {
extern "C" __global__ void __launch_bounds__(1)
choose(const float *logits, float *values, int *tokens, int vocabulary, int candidates) {
  int last = -1;
  for (int rank = 0; rank < candidates; rank++) {
    int best = -1;
    for (int v = 0; v < vocabulary; v++) {
      const bool isLeft = last < 0 || logits[v] < logits[last] || (logits[v] == logits[last] && v > last);
      if (isLeft && (best < 0 || logits[v] > logits[best])) best = v;
    }
    values[rank] = logits[best];
    tokens[rank] = last = best;
  }
}
}`,
  },
];

const sourcePath = ({ name }: FakeKernel) => `kernels/${name}.cu`;

/** The kernels as files of the artifact. */
export const fakeCudaSources = (): [string, Uint8Array<ArrayBuffer>][] =>
  kernels.map((kernel) => [sourcePath(kernel), new TextEncoder().encode(kernel.text)]);

/** The same for `buildHostLibrary`. */
export const fakeCudaKernels: readonly HostKernel[] = kernels.map(({ text, entryPoint, blockSize }) => ({
  text,
  entryPoint,
  blockSize,
}));

/** The path that a cubin of all the kernels has, where the artifact has one. */
export const fakeCubin = "kernels.sm_90.cubin";

/** The fake artifact's entries on CUDA. */
export function fakeCudaTarget(tensors: FakeTensors, hasImage: boolean): CudaTarget {
  return {
    arena: 0,
    computeCapability: 75,
    kernels: kernels.map(({ text, ...kernel }) => ({
      ...kernel,
      source: sourcePath({ text, ...kernel }),
      template: kernel.name,
      sharedBytes: 0,
    })),
    images: hasImage ? [{ kind: "cubin", computeCapability: 90, path: fakeCubin }] : [],
    plans: fakeWebgpuTarget(tensors).plans,
  };
}
