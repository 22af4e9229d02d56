struct Scalars {
  rows: i32,
  seq: i32,
  capacity: i32,
  width: i32,
  xStride: i32,
}

@group(0) @binding(0) var<storage, read_write> cache: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> slots: array<i32>;
@group(0) @binding(3) var<storage, read> positions: array<i32>;
@group(0) @binding(4) var<uniform> scalars: Scalars;

// Copies new key or value rows into their places in the cache, in place.
@compute @workgroup_size(32)
fn cacheWrite(
  @builtin(num_workgroups) num_workgroups: vec3u,
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(local_invocation_index) local_index: u32,
) {
  let rows = scalars.rows;
  let seq = scalars.seq;
  let capacity = scalars.capacity;
  let width = scalars.width;
  let xStride = scalars.xStride;
  let stride = i32(num_workgroups.x) * 32;
  for (var i = i32(workgroup_id.x) * 32 + i32(local_index); i < rows * width; i += stride) {
    let row = i / width;
    let column = i % width;
    let batch = row / seq;
    let position = positions[batch] + row % seq;
    if (position >= 0 && position < capacity) {
      cache[(slots[batch] * capacity + position) * width + column] = x[row * xStride + column];
    }
  }
}
