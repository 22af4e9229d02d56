struct Scalars {
  rows: i32,
  k: i32,
  xStride: i32,
}

@group(0) @binding(0) var<storage, read_write> magnitudes: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<uniform> scalars: Scalars;
var<workgroup> floats: array<f32, 32>;
var<workgroup> words: array<u32, 32>;

// The largest magnitude of each row as bits, max(bits(x) & 0x7fffffff):
@compute @workgroup_size(32)
fn rowMagnitudes(
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(num_workgroups) num_workgroups: vec3u,
  @builtin(local_invocation_index) local_index: u32,
) {
  let rows = scalars.rows;
  let k = scalars.k;
  let xStride = scalars.xStride;
  for (var row = i32(workgroup_id.x); row < rows; row += i32(num_workgroups.x)) {
    var held_0 = 0.0;
    var held_1 = 0.0;
    var held_2 = 0.0;
    var held_3 = 0.0;
    let column = 4 * i32(local_index);
    if (column < k) {
      held_0 = 0.0;
      if (column < k) {
        held_0 = x[row * xStride + column];
      }
      held_1 = 0.0;
      if (column + 1 < k) {
        let column_1 = column + 1;
        held_1 = x[row * xStride + column_1];
      }
      held_2 = 0.0;
      if (column + 2 < k) {
        let column_2 = column + 2;
        held_2 = x[row * xStride + column_2];
      }
      held_3 = 0.0;
      if (column + 3 < k) {
        let column_3 = column + 3;
        held_3 = x[row * xStride + column_3];
      }
    }
    var largest = 0u;
    let column_4 = 4 * i32(local_index);
    if (column_4 < k) {
      let magnitude = bitcast<u32>(held_0) & 0x7fffffffu;
      largest = select(largest, magnitude, magnitude > largest);
      let magnitude_1 = bitcast<u32>(held_1) & 0x7fffffffu;
      largest = select(largest, magnitude_1, magnitude_1 > largest);
      let magnitude_2 = bitcast<u32>(held_2) & 0x7fffffffu;
      largest = select(largest, magnitude_2, magnitude_2 > largest);
      let magnitude_3 = bitcast<u32>(held_3) & 0x7fffffffu;
      largest = select(largest, magnitude_3, magnitude_3 > largest);
    }
    let value = largest;
    let local = i32(local_index);
    words[local] = value;
    workgroupBarrier();
    for (var distance = 16; distance > 0; distance = distance >> 1u) {
      if (local < distance) {
        let value_1 = words[local];
        let value_2 = words[local + distance];
        words[local] = select(value_2, value_1, value_1 > value_2);
      }
      workgroupBarrier();
    }
    let total = words[0];
    workgroupBarrier();
    let magnitude_4 = total;
    if (i32(local_index) == 0) {
      magnitudes[row] = magnitude_4;
    }
  }
}
