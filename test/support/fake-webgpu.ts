import type {
  Argument,
  Plans,
  Region,
  SymbolExpr,
  TensorSlot,
  WebgpuTarget,
} from "../../runtime/manifest.ts";

/** Bytes of the weights that one step of the fake artifact binds. */
const PIECE_BYTES = 512;

export interface FakeTensors {
  readonly x: TensorSlot;
  readonly y: TensorSlot;
  readonly checksum: TensorSlot;
  readonly participants: TensorSlot;
  readonly tokens: TensorSlot;
  readonly positions: TensorSlot;
  readonly logits: TensorSlot;
  readonly bestLogit: TensorSlot;
  readonly bestToken: TensorSlot;
  readonly topLogits: TensorSlot;
  readonly topTokens: TensorSlot;
  readonly candidates: number;
  readonly weightsBytes: number;
  readonly vocabularySize: number;
  readonly contextLength: number;
  readonly languageModel: boolean;
}

const shaders = {
  "kernels/double.wgsl": `
struct Scalars { range: i32 }
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> scalars: Scalars;
@compute @workgroup_size(4)
fn double(@builtin(global_invocation_id) id: vec3u) {
  if (i32(id.x) < scalars.range) { y[id.x] = 2.0 * x[id.x]; }
}`,
  "kernels/double.subgroups.wgsl": `
enable subgroups;
struct Scalars { range: i32 }
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> scalars: Scalars;
@compute @workgroup_size(64)
fn double(@builtin(global_invocation_id) id: vec3u, @builtin(subgroup_size) size: u32) {
  if (i32(id.x) < scalars.range && size > 0) { y[id.x] = x[id.x] + x[id.x]; }
}`,
  "kernels/checksum.wgsl": `
struct Scalars { bytes: i32, isFirst: i32, weights_offset: i32 }
@group(0) @binding(0) var<storage, read> weights: array<u32>;
@group(0) @binding(1) var<storage, read_write> checksum: array<i32>;
@group(0) @binding(2) var<storage, read_write> participants: array<i32>;
@group(0) @binding(3) var<uniform> scalars: Scalars;
@compute @workgroup_size(1)
fn check() {
  var sum = select(checksum[0], 0, scalars.isFirst == 1);
  for (var i = 0; i < scalars.bytes; i++) {
    let byte = (weights[scalars.weights_offset + i / 4] >> u32(8 * (i % 4))) & 0xff;
    sum = sum * 31 + i32(byte);
  }
  checksum[0] = sum;
  participants[0] = 1;
}`,
  "kernels/predict.wgsl": `
struct Scalars { seq: i32, vocabulary: i32 }
@group(0) @binding(0) var<storage, read_write> tokens: array<i32>;
@group(0) @binding(1) var<storage, read_write> positions: array<i32>;
@group(0) @binding(2) var<storage, read_write> cache: array<i32>;
@group(0) @binding(3) var<storage, read_write> logits: array<f32>;
@group(0) @binding(4) var<uniform> scalars: Scalars;
@compute @workgroup_size(1)
fn predict() {
  for (var i = 0; i < scalars.seq; i++) { cache[positions[0] + i] = tokens[i]; }
  var h = 0;
  for (var i = 0; i < positions[0] + scalars.seq; i++) { h = h * 31 + cache[i] + 1; }
  for (var v = 0; v < scalars.vocabulary; v++) { logits[v] = f32(u32(h * (v + 7)) >> 22); }
}`,
  "kernels/choose.wgsl": `
struct Scalars { vocabulary: i32, candidates: i32 }
@group(0) @binding(0) var<storage, read_write> logits: array<f32>;
@group(0) @binding(1) var<storage, read_write> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> tokens: array<i32>;
@group(0) @binding(3) var<uniform> scalars: Scalars;
@compute @workgroup_size(1)
fn choose() {
  var last = -1;
  for (var rank = 0; rank < scalars.candidates; rank++) {
    var best = -1;
    for (var v = 0; v < scalars.vocabulary; v++) {
      let isLeft = last < 0 || logits[v] < logits[last] || (logits[v] == logits[last] && v > last);
      if (isLeft && (best < 0 || logits[v] > logits[best])) { best = v; }
    }
    values[rank] = logits[best];
    tokens[rank] = best;
    last = best;
  }
}`,
};

const VECTORS = "self-check.webgpu";

/** The kernels and the self-check's vectors of `fakeWebgpuTarget` as files of the artifact. */
export const fakeWebgpuFiles = (): [string, Uint8Array<ArrayBuffer>][] => [
  ...Object.entries(shaders).map(([path, text]): [string, Uint8Array<ArrayBuffer>] => [
    path,
    new TextEncoder().encode(text),
  ]),
  // x, twice x, and a tolerance.
  [VECTORS, new Uint8Array(Float32Array.of(1, 2, 3, 4, 2, 4, 6, 8, 0).buffer)],
];

/** The fake artifact's entries on WebGPU. */
export function fakeWebgpuTarget(tensors: FakeTensors): WebgpuTarget {
  const { x, y, checksum, participants, tokens, positions, logits } = tensors;
  const { bestLogit, bestToken, topLogits, topTokens } = tensors;
  const at = (region: Region, offset: SymbolExpr, bytes: SymbolExpr): Argument => ({
    kind: "buffer",
    region,
    offset,
    bytes,
  });
  const io = ({ offset, bytes }: TensorSlot): Argument => at("io", offset, bytes);
  const i32 = (value: SymbolExpr): Argument => ({ kind: "i32", value });
  // Two pieces share a buffer; the second begins inside of a binding, so that the kernel is told where.
  const pieces = Array.from({ length: Math.ceil(tensors.weightsBytes / PIECE_BYTES) }, (_, index) => {
    const skipped = index % 2 === 0 ? 0 : 4;
    const start = index * PIECE_BYTES - skipped;
    const end = Math.min(tensors.weightsBytes, (index + 1) * PIECE_BYTES - (index % 2 === 0 ? 4 : 0));
    return { start, bytes: end - start };
  });
  const choose = (values: TensorSlot, indices: TensorSlot, count: number): Plans[string][number] => ({
    kernel: "choose",
    arguments: [io(logits), io(values), io(indices), i32(tensors.vocabularySize), i32(count)],
    range: 1,
    serves: [values.name, indices.name],
    label: values.name,
  });
  const predict = (seq: SymbolExpr): Plans[string] => [
    {
      kernel: "predict",
      arguments: [
        io(tokens),
        io(positions),
        at("state", 0, 4 * tensors.contextLength),
        io(logits),
        i32(seq),
        i32(tensors.vocabularySize),
      ],
      range: 1,
      label: "predict",
    },
    choose(bestLogit, bestToken, 1),
    choose(topLogits, topTokens, tensors.candidates),
  ];
  const scalar = (parameter: string) => ({ kind: "scalar", parameter, type: "i32" }) as const;
  const words = (parameter: string, access: "read" | "read-write" = "read-write") => ({
    parameter,
    access,
    element: 4,
  });
  return {
    arena: 0,
    buffers: {
      io: [
        x,
        y,
        checksum,
        participants,
        tokens,
        positions,
        logits,
        bestLogit,
        bestToken,
        topLogits,
        topTokens,
      ].map(({ offset }) => offset),
      arena: [0],
      state: [0],
      weights: Array.from(
        { length: Math.max(1, Math.ceil(tensors.weightsBytes / (2 * PIECE_BYTES))) },
        (_, index) => index * 2 * PIECE_BYTES,
      ),
    },
    kernels: [
      {
        name: "double",
        template: "elementwise",
        parameters: ["x", "y"],
        kind: "range",
        variants: [
          {
            requires: ["subgroups"],
            source: "kernels/double.subgroups.wgsl",
            workgroupSize: 64,
            bindings: [words("x"), words("y")],
            uniforms: [{ kind: "range" }],
          },
          {
            requires: [],
            source: "kernels/double.wgsl",
            workgroupSize: 4,
            bindings: [words("x"), words("y")],
            uniforms: [{ kind: "range" }],
          },
        ],
      },
      {
        name: "checksum",
        template: "checksum",
        parameters: ["weights", "checksum", "participants", "bytes", "isFirst"],
        kind: "workgroup",
        variants: [
          {
            requires: [],
            source: "kernels/checksum.wgsl",
            workgroupSize: 1,
            bindings: [words("weights", "read"), words("checksum"), words("participants")],
            uniforms: [scalar("bytes"), scalar("isFirst"), { kind: "offset", parameter: "weights" }],
          },
        ],
      },
      {
        name: "predict",
        template: "predict",
        parameters: ["tokens", "positions", "cache", "logits", "seq", "vocabulary"],
        kind: "workgroup",
        variants: [
          {
            requires: [],
            source: "kernels/predict.wgsl",
            workgroupSize: 1,
            bindings: [words("tokens"), words("positions"), words("cache"), words("logits")],
            uniforms: [scalar("seq"), scalar("vocabulary")],
          },
        ],
      },
      {
        name: "choose",
        template: "choose",
        parameters: ["logits", "values", "tokens", "vocabulary", "candidates"],
        kind: "workgroup",
        variants: [
          {
            requires: [],
            source: "kernels/choose.wgsl",
            workgroupSize: 1,
            bindings: [words("logits"), words("values"), words("tokens")],
            uniforms: [scalar("vocabulary"), scalar("candidates")],
          },
        ],
      },
    ],
    selfCheck: {
      path: VECTORS,
      checks: [
        {
          name: "self-check",
          symbols: {},
          steps: [{ kernel: "double", arguments: [io(x), io(y)], range: 4, label: "double" }],
          runs: [
            {
              symbols: {},
              writes: [{ offset: x.offset, bytes: 16, data: 0, stored: 16 }],
              reads: [
                {
                  kernel: "double",
                  region: "io",
                  offset: y.offset,
                  bytes: 16,
                  dtype: "f32",
                  expected: 16,
                  tolerances: 32,
                  parts: 1,
                },
              ],
            },
          ],
        },
      ],
    },
    plans: {
      run: [
        { kernel: "double", arguments: [io(x), io(y)], range: ["mul", "batch", 4], label: "double" },
        ...pieces.map(({ start, bytes }, index) => ({
          kernel: "checksum",
          arguments: [
            at("weights", start, bytes),
            io(checksum),
            io(participants),
            i32(bytes),
            i32(index === 0 ? 1 : 0),
          ],
          range: 1,
          label: `checksum ${index}`,
        })),
      ],
      ...(tensors.languageModel ? { prefill: predict("seq"), decode: predict(1) } : {}),
    },
  };
}
