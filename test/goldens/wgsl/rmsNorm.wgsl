struct Scalars {
  rows: i32,
  k: i32,
  eps: f32,
  xStride: i32,
}

@group(0) @binding(0) var<storage, read> weight: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<uniform> scalars: Scalars;
var<workgroup> slots: array<f32, 32>;

// Root mean square normalization of rows:
@compute @workgroup_size(32)
fn rmsNorm(
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(num_workgroups) num_workgroups: vec3u,
  @builtin(local_invocation_index) local_index: u32,
) {
  let rows = scalars.rows;
  let k = scalars.k;
  let eps = scalars.eps;
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
    var squares = 0.0;
    let column_4 = 4 * i32(local_index);
    if (column_4 < k) {
      squares += held_0 * held_0;
      squares += held_1 * held_1;
      squares += held_2 * held_2;
      squares += held_3 * held_3;
    }
    let value = squares;
    let local = i32(local_index);
    slots[local] = value;
    workgroupBarrier();
    for (var distance = 16; distance > 0; distance = distance >> 1u) {
      if (local < distance) {
        let value_1 = slots[local];
        let value_2 = slots[local + distance];
        slots[local] = value_1 + value_2;
      }
      workgroupBarrier();
    }
    let total = slots[0];
    workgroupBarrier();
    let mean = total / f32(k);
    let factor = inverseSqrt(mean + eps);
    let column_5 = 4 * i32(local_index);
    if (column_5 < k) {
      if (column_5 < k) {
        held_0 = weight[column_5] * (held_0 * factor);
      }
      if (column_5 + 1 < k) {
        held_1 = weight[column_5 + 1] * (held_1 * factor);
      }
      if (column_5 + 2 < k) {
        held_2 = weight[column_5 + 2] * (held_2 * factor);
      }
      if (column_5 + 3 < k) {
        held_3 = weight[column_5 + 3] * (held_3 * factor);
      }
    }
    let column_6 = 4 * i32(local_index);
    if (column_6 < k) {
      if (column_6 < k) {
        out[row * k + column_6] = held_0;
      }
      if (column_6 + 1 < k) {
        out[row * k + column_6 + 1] = held_1;
      }
      if (column_6 + 2 < k) {
        out[row * k + column_6 + 2] = held_2;
      }
      if (column_6 + 3 < k) {
        out[row * k + column_6 + 3] = held_3;
      }
    }
  }
}
