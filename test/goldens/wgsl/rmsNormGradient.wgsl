struct Scalars {
  rows: i32,
  k: i32,
  xStride: i32,
  gStride: i32,
  eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> g: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;
@group(0) @binding(4) var<storage, read_write> roots: array<f32>;
@group(0) @binding(5) var<uniform> scalars: Scalars;
var<workgroup> slots: array<f32, 32>;

// Gradient of RMSNorm by its input:
@compute @workgroup_size(32)
fn rmsNormGradient(
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(num_workgroups) num_workgroups: vec3u,
  @builtin(local_invocation_index) local_index: u32,
) {
  let rows = scalars.rows;
  let k = scalars.k;
  let xStride = scalars.xStride;
  let gStride = scalars.gStride;
  let eps = scalars.eps;
  let count = f32(k);
  for (var row = i32(workgroup_id.x); row < rows; row += i32(num_workgroups.x)) {
    var squares = 0.0;
    var products = 0.0;
    for (var i = i32(local_index); i < k; i += 32) {
      let value = x[row * xStride + i];
      squares += value * value;
      products += g[row * gStride + i] * weight[i] * value;
    }
    let value_1 = squares;
    let local = i32(local_index);
    slots[local] = value_1;
    workgroupBarrier();
    for (var distance = 16; distance > 0; distance = distance >> 1u) {
      if (local < distance) {
        let value_2 = slots[local];
        let value_3 = slots[local + distance];
        slots[local] = value_2 + value_3;
      }
      workgroupBarrier();
    }
    let total = slots[0];
    workgroupBarrier();
    let r = inverseSqrt(total / count + eps);
    let value_7 = r * r;
    let value_4 = products;
    let local_1 = i32(local_index);
    slots[local_1] = value_4;
    workgroupBarrier();
    for (var distance_1 = 16; distance_1 > 0; distance_1 = distance_1 >> 1u) {
      if (local_1 < distance_1) {
        let value_5 = slots[local_1];
        let value_6 = slots[local_1 + distance_1];
        slots[local_1] = value_5 + value_6;
      }
      workgroupBarrier();
    }
    let total_1 = slots[0];
    workgroupBarrier();
    let pull = value_7 * total_1 / count;
    if (i32(local_index) == 0) {
      roots[row] = r;
    }
    for (var i_1 = i32(local_index); i_1 < k; i_1 += 32) {
      dx[row * k + i_1] = r * (g[row * gStride + i_1] * weight[i_1] - x[row * xStride + i_1] * pull);
    }
  }
}
