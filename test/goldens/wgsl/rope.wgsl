struct Scalars {
  rows: i32,
  seq: i32,
  heads: i32,
  dim: i32,
  length: i32,
  xStride: i32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> cos: array<f32>;
@group(0) @binding(2) var<storage, read> sin: array<f32>;
@group(0) @binding(3) var<storage, read> positions: array<i32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
@group(0) @binding(5) var<uniform> scalars: Scalars;

// Rotary position embedding on NeoX halves:
@compute @workgroup_size(32)
fn rope(
  @builtin(num_workgroups) num_workgroups: vec3u,
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(local_invocation_index) local_index: u32,
) {
  let rows = scalars.rows;
  let seq = scalars.seq;
  let heads = scalars.heads;
  let dim = scalars.dim;
  let length = scalars.length;
  let xStride = scalars.xStride;
  let half = dim >> 1u;
  let rowPairs = heads * half;
  let stride = i32(num_workgroups.x) * 32;
  for (var pair = i32(workgroup_id.x) * 32 + i32(local_index); pair < rows * rowPairs; pair += stride) {
    let row = pair / rowPairs;
    let head = (pair - row * rowPairs) / half;
    let i = pair % half;
    let position = positions[row / seq] + row % seq;
    let clamped = select(length - 1, position, position < length);
    let angle = select(clamped, 0, clamped < 0) * half + i;
    let from_ = row * xStride + head * dim + i;
    let to = (row * heads + head) * dim + i;
    let low = x[from_];
    let high = x[from_ + half];
    out[to] = low * cos[angle] - high * sin[angle];
    out[to + half] = high * cos[angle] + low * sin[angle];
  }
}
