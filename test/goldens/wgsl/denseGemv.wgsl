struct Scalars {
  m: i32,
  n: i32,
  k: i32,
  xStride: i32,
  firstColumn: i32,
  columns: i32,
}

@group(0) @binding(0) var<storage, read> weights: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<uniform> scalars: Scalars;
var<workgroup> slots: array<f32, 32>;

// Dense matrix multiplication for few rows in f32, out[row, column] = epilogue(sum_k x[row, k] *
// w[column, k]), bound by reading the weights once.
@compute @workgroup_size(32)
fn denseGemv(@builtin(workgroup_id) workgroup_id: vec3u, @builtin(local_invocation_index) local_index: u32) {
  let m = scalars.m;
  let n = scalars.n;
  let k = scalars.k;
  let xStride = scalars.xStride;
  let firstColumn = scalars.firstColumn;
  let columns = scalars.columns;
  let words = k / 2;
  var rowStart_0 = 0;
  let row = i32(workgroup_id.y);
  rowStart_0 = select(m - 1, row, row < m) * xStride;
  var columnStart_0 = 0;
  let column = i32(workgroup_id.x);
  columnStart_0 = select(columns - 1, column, column < columns) * words;
  var acc_0 = 0.0;
  var xs_0 = 0.0;
  var xs_1 = 0.0;
  for (var word = i32(local_index); word < words; word += 32) {
    xs_0 = x[rowStart_0 + word * 2];
    xs_1 = x[rowStart_0 + word * 2 + 1];
    let at = columnStart_0 + word;
    let packed = weights[at];
    let half = packed & 65535u;
    let magnitude = half & 32767u;
    let bias = select(0x70000000u, 0x38000000u, magnitude < 31744u);
    let normal = bitcast<f32>((magnitude << 13u) + bias);
    let value = select(normal, f32(magnitude) * 5.9604645e-8, magnitude < 1024u);
    let w = bitcast<f32>(bitcast<u32>(value) | ((half & 32768u) << 16u));
    acc_0 += xs_0 * w;
    let half_1 = (packed >> 16u) & 65535u;
    let magnitude_1 = half_1 & 32767u;
    let bias_1 = select(0x70000000u, 0x38000000u, magnitude_1 < 31744u);
    let normal_1 = bitcast<f32>((magnitude_1 << 13u) + bias_1);
    let value_1 = select(normal_1, f32(magnitude_1) * 5.9604645e-8, magnitude_1 < 1024u);
    let w_1 = bitcast<f32>(bitcast<u32>(value_1) | ((half_1 & 32768u) << 16u));
    acc_0 += xs_1 * w_1;
  }
  let local = i32(local_index);
  var count = 1;
  let place = local;
  slots[place] = acc_0;
  workgroupBarrier();
  for (var distance = 16; distance > 0; distance = distance >> 1u) {
    if (local < distance) {
      let at_1 = place;
      slots[at_1] = slots[at_1] + slots[at_1 + distance];
    }
    workgroupBarrier();
  }
  for (var o = local; o < 1; o += 32) {
    var sum = slots[o * 32];
    for (var part = 1; part < count; part++) {
      sum += slots[o * 32 + part];
    }
    let sum_1 = sum;
    let row_1 = i32(workgroup_id.y) + o;
    let column_1 = i32(workgroup_id.x);
    if (row_1 < m && column_1 < columns) {
      var value_2 = sum_1;
      let acc = value_2;
      let column_2 = firstColumn + column_1;
      out[row_1 * n + firstColumn + column_1] = acc;
    }
  }
}
