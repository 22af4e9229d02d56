requires packed_4x8_integer_dot_product;

struct Scalars {
  m: i32,
  n: i32,
  k: i32,
  firstColumn: i32,
  columns: i32,
}

@group(0) @binding(0) var<storage, read> codes: array<vec4u>;
@group(0) @binding(1) var<storage, read> activations: array<vec4u>;
@group(0) @binding(2) var<storage, read> sums: array<i32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<uniform> scalars: Scalars;
var<workgroup> partials: array<i32, 32>;

// Ternary matrix multiplication for few rows, out[row, column] = epilogue(sum_k q[row, k] *
// w[column, k]), bound by reading the weights once.
@compute @workgroup_size(32)
fn ternaryGemv(
  @builtin(local_invocation_index) local_index: u32,
  @builtin(workgroup_id) workgroup_id: vec3u,
) {
  let m = scalars.m;
  let n = scalars.n;
  let k = scalars.k;
  let firstColumn = scalars.firstColumn;
  let columns = scalars.columns;
  let local = i32(local_index);
  let lane = local & 3;
  let member = local >> 2u;
  let stride = ((k + 63) >> 6u) << 6u;
  let lastGroup = ((columns + 3) >> 2u) - 1;
  let firstGroup = i32(workgroup_id.x);
  let firstRow = i32(workgroup_id.y);
  let groupLength = k;
  let blocks = (k + 63) >> 6u;
  var rowStart_0 = stride;
  rowStart_0 = select(m - 1, firstRow, firstRow < m) * stride;
  var weightRow_0 = lane;
  var weightStart_0 = lane;
  weightRow_0 = 4 * select(lastGroup, firstGroup, firstGroup < lastGroup) + lane;
  let row = weightRow_0;
  weightStart_0 = (row >> 2u) * blocks * 4 + (row & 3);
  let zeros = vec4u(0u, 0u, 0u, 0u);
  var a_0 = zeros;
  var a_1 = zeros;
  var a_2 = zeros;
  var a_3 = zeros;
  var packed_0 = zeros;
  var plain_0 = 0;
  var quadruple_0 = 0;
  for (var block = member; block < blocks; block += 8) {
    packed_0 = codes[weightStart_0 + 4 * block];
    let start = block << 6u;
    let at = rowStart_0 + start;
    a_0 = activations[at >> 4u];
    let at_1 = rowStart_0 + start + 16;
    a_1 = activations[at_1 >> 4u];
    let at_2 = rowStart_0 + start + 32;
    a_2 = activations[at_2 >> 4u];
    let at_3 = rowStart_0 + start + 48;
    a_3 = activations[at_3 >> 4u];
    let codes_1 = packed_0;
    let low = codes_1.x;
    let high = low >> 4u;
    plain_0 += dot4I8Packed(a_0.x, low & 0x03030303u);
    quadruple_0 += dot4I8Packed(a_1.x, low & 0x0c0c0c0cu);
    plain_0 += dot4I8Packed(a_2.x, high & 0x03030303u);
    quadruple_0 += dot4I8Packed(a_3.x, high & 0x0c0c0c0cu);
    let low_1 = codes_1.y;
    let high_1 = low_1 >> 4u;
    plain_0 += dot4I8Packed(a_0.y, low_1 & 0x03030303u);
    quadruple_0 += dot4I8Packed(a_1.y, low_1 & 0x0c0c0c0cu);
    plain_0 += dot4I8Packed(a_2.y, high_1 & 0x03030303u);
    quadruple_0 += dot4I8Packed(a_3.y, high_1 & 0x0c0c0c0cu);
    let low_2 = codes_1.z;
    let high_2 = low_2 >> 4u;
    plain_0 += dot4I8Packed(a_0.z, low_2 & 0x03030303u);
    quadruple_0 += dot4I8Packed(a_1.z, low_2 & 0x0c0c0c0cu);
    plain_0 += dot4I8Packed(a_2.z, high_2 & 0x03030303u);
    quadruple_0 += dot4I8Packed(a_3.z, high_2 & 0x0c0c0c0cu);
    let low_3 = codes_1.w;
    let high_3 = low_3 >> 4u;
    plain_0 += dot4I8Packed(a_0.w, low_3 & 0x03030303u);
    quadruple_0 += dot4I8Packed(a_1.w, low_3 & 0x0c0c0c0cu);
    plain_0 += dot4I8Packed(a_2.w, high_3 & 0x03030303u);
    quadruple_0 += dot4I8Packed(a_3.w, high_3 & 0x0c0c0c0cu);
  }
  plain_0 += quadruple_0 >> 2u;
  let local_1 = i32(local_index);
  var count = 1;
  let place = local_1 % 4 * 8 + local_1 / 4;
  partials[place] = plain_0;
  workgroupBarrier();
  for (var distance = 4; distance > 0; distance = distance >> 1u) {
    if (local_1 / 4 < distance) {
      let at_4 = place;
      partials[at_4] = partials[at_4] + partials[at_4 + distance];
    }
    workgroupBarrier();
  }
  for (var o = local_1; o < 4; o += 32) {
    var sum = partials[o * 8];
    for (var part = 1; part < count; part++) {
      sum += partials[o * 8 + part];
    }
    let value = sum;
    let index = o / 4;
    let rowLane = o % 4;
    let r = index;
    let row_1 = firstRow + r;
    let column = 4 * (firstGroup + index - r) + rowLane;
    if (row_1 < m && column < columns) {
      var acc = value;
      acc -= sums[row_1];
      let acc_1 = acc;
      let column_1 = firstColumn + column;
      out[row_1 * n + firstColumn + column] = bitcast<f32>(acc_1);
    }
  }
}
