struct Scalars {
  rows: i32,
  k: i32,
  xStride: i32,
  gStride: i32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read> roots: array<f32>;
@group(0) @binding(3) var<storage, read_write> dw: array<f32>;
@group(0) @binding(4) var<uniform> scalars: Scalars;
var<workgroup> slots: array<f32, 32>;

// Gradient of RMSNorm by its weight:
@compute @workgroup_size(32)
fn rmsNormWeightGradient(
  @builtin(local_invocation_index) local_index: u32,
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(num_workgroups) num_workgroups: vec3u,
) {
  let rows = scalars.rows;
  let k = scalars.k;
  let xStride = scalars.xStride;
  let gStride = scalars.gStride;
  let member = i32(local_index) / 8;
  let pieces = (k + 8 - 1) / 8;
  for (var piece = i32(workgroup_id.x); piece < pieces; piece += i32(num_workgroups.x)) {
    let column = piece * 8 + i32(local_index) % 8;
    let i = select(k - 1, column, column < k);
    var sum = 0.0;
    for (var row = member; row < rows; row += 4) {
      sum += g[row * gStride + i] * x[row * xStride + i] * roots[row];
    }
    let mine = sum;
    let local = i32(local_index);
    slots[local] = mine;
    workgroupBarrier();
    for (var distance = 16; distance >= 8; distance = distance >> 1u) {
      if (local < distance) {
        let a = slots[local];
        let b = slots[local + distance];
        slots[local] = a + b;
      }
      workgroupBarrier();
    }
    let total = slots[local % 8];
    workgroupBarrier();
    sum = total;
    if (member == 0 && column < k) {
      dw[column] = sum;
    }
  }
}
