struct Scalars {
  outer: i32,
  length: i32,
  inner: i32,
  outerStride: i32,
  stride: i32,
  innerStride: i32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<uniform> scalars: Scalars;
var<workgroup> slots: array<f32, 32>;

// Reduction along the middle of three axes:
@compute @workgroup_size(32)
fn reduce(
  @builtin(local_invocation_index) local_index: u32,
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(num_workgroups) num_workgroups: vec3u,
) {
  let outer = scalars.outer;
  let length = scalars.length;
  let inner = scalars.inner;
  let outerStride = scalars.outerStride;
  let stride = scalars.stride;
  let innerStride = scalars.innerStride;
  let local = i32(local_index);
  let column = local % 8;
  let member = local / 8;
  let across = (inner + 8 - 1) / 8;
  for (var tile = i32(workgroup_id.x); tile < outer * across; tile += i32(num_workgroups.x)) {
    let o = tile / across;
    let i = (tile - o * across) * 8 + column;
    let from_ = o * outerStride + select(inner - 1, i, i < inner) * innerStride;
    var total = 0.0;
    for (var l = member; l < length; l += 4) {
      let a = total;
      let b = x[from_ + l * stride];
      total = a + b;
    }
    let mine = total;
    let local_1 = i32(local_index);
    slots[local_1] = mine;
    workgroupBarrier();
    for (var distance = 16; distance >= 8; distance = distance >> 1u) {
      if (local_1 < distance) {
        let a_1 = slots[local_1];
        let b_1 = slots[local_1 + distance];
        slots[local_1] = a_1 + b_1;
      }
      workgroupBarrier();
    }
    let total_1 = slots[local_1 % 8];
    workgroupBarrier();
    total = total_1;
    if (member == 0 && i < inner) {
      out[o * inner + i] = total / f32(length);
    }
  }
}
