struct Scalars {
  rows: i32,
  seq: i32,
  heads: i32,
  kvHeads: i32,
  dim: i32,
  length: i32,
  capacity: i32,
  xStride: i32,
  qOffset: i32,
  keyOffset: i32,
  valueOffset: i32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> cos: array<f32>;
@group(0) @binding(2) var<storage, read> sin: array<f32>;
@group(0) @binding(3) var<storage, read> slots: array<i32>;
@group(0) @binding(4) var<storage, read> positions: array<i32>;
@group(0) @binding(5) var<storage, read_write> keys: array<f32>;
@group(0) @binding(6) var<storage, read_write> values: array<f32>;
@group(0) @binding(7) var<storage, read_write> out: array<f32>;
@group(0) @binding(8) var<uniform> scalars: Scalars;

// Rotates new queries and keys by their positions, and puts new keys and values into their places
// in the caches.
@compute @workgroup_size(32)
fn ropeCache(
  @builtin(num_workgroups) num_workgroups: vec3u,
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(local_invocation_index) local_index: u32,
) {
  let rows = scalars.rows;
  let seq = scalars.seq;
  let heads = scalars.heads;
  let kvHeads = scalars.kvHeads;
  let dim = scalars.dim;
  let length = scalars.length;
  let capacity = scalars.capacity;
  let xStride = scalars.xStride;
  let qOffset = scalars.qOffset;
  let keyOffset = scalars.keyOffset;
  let valueOffset = scalars.valueOffset;
  let half = dim >> 1u;
  let rowPairs = (heads + 2 * kvHeads) * half;
  let stride = i32(num_workgroups.x) * 32;
  for (var pair = i32(workgroup_id.x) * 32 + i32(local_index); pair < rows * rowPairs; pair += stride) {
    let row = pair / rowPairs;
    let head = (pair - row * rowPairs) / half;
    let i = pair % half;
    let batch = row / seq;
    let position = positions[batch] + row % seq;
    let isQuery = head < heads;
    let isKey = head < heads + kvHeads;
    let first = select(select(heads + kvHeads, heads, isKey), 0, isQuery);
    let offset = select(select(valueOffset, keyOffset, isKey), qOffset, isQuery);
    let from_ = row * xStride + offset + (head - first) * dim + i;
    let low = x[from_];
    let high = x[from_ + half];
    let clamped = select(length - 1, position, position < length);
    let angle = select(clamped, 0, clamped < 0) * half + i;
    let c = cos[angle];
    let s = sin[angle];
    let cached = ((slots[batch] * capacity + position) * kvHeads + head - first) * dim + i;
    if (isQuery) {
      let to = (row * heads + head) * dim + i;
      out[to] = low * c - high * s;
      out[to + half] = high * c + low * s;
    } else if (position >= 0 && position < capacity) {
      if (isKey) {
        keys[cached] = low * c - high * s;
        keys[cached + half] = high * c + low * s;
      } else {
        values[cached] = low;
        values[cached + half] = high;
      }
    }
  }
}
