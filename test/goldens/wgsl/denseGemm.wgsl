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
var<workgroup> stagedRows: array<vec4u, 20>;
var<workgroup> stagedColumns: array<vec4u, 40>;

// Dense matrix multiplication for many rows in f32, out[row, column] = epilogue(sum_k x[row, k] *
// w[column, k]).
@compute @workgroup_size(32)
fn denseGemm(@builtin(workgroup_id) workgroup_id: vec3u, @builtin(local_invocation_index) local_index: u32) {
  let m = scalars.m;
  let n = scalars.n;
  let k = scalars.k;
  let xStride = scalars.xStride;
  let firstColumn = scalars.firstColumn;
  let columns = scalars.columns;
  let rowBase = i32(workgroup_id.y) * 4;
  let columnBase = i32(workgroup_id.x) * 8;
  var acc_0 = 0.0;
  for (var start = 0; start < k; start += 16) {
    for (var i = i32(local_index); i < 16; i += 32) {
      let line = i >> 2u;
      let quarter = i & 3;
      let index = line * 5 + quarter;
      var four_0 = 0.0;
      var four_1 = 0.0;
      var four_2 = 0.0;
      var four_3 = 0.0;
      let i_1 = start + 4 * quarter;
      let i_2 = select(k - 1, i_1, i_1 < k);
      let row = rowBase + line;
      four_0 = select(0.0, x[select(m - 1, row, row < m) * xStride + i_2], i_1 < k);
      let i_3 = start + 4 * quarter + 1;
      let i_4 = select(k - 1, i_3, i_3 < k);
      let row_1 = rowBase + line;
      four_1 = select(0.0, x[select(m - 1, row_1, row_1 < m) * xStride + i_4], i_3 < k);
      let i_5 = start + 4 * quarter + 2;
      let i_6 = select(k - 1, i_5, i_5 < k);
      let row_2 = rowBase + line;
      four_2 = select(0.0, x[select(m - 1, row_2, row_2 < m) * xStride + i_6], i_5 < k);
      let i_7 = start + 4 * quarter + 3;
      let i_8 = select(k - 1, i_7, i_7 < k);
      let row_3 = rowBase + line;
      four_3 = select(0.0, x[select(m - 1, row_3, row_3 < m) * xStride + i_8], i_7 < k);
      stagedRows[index] = vec4u(bitcast<u32>(four_0), bitcast<u32>(four_1), bitcast<u32>(four_2), bitcast<u32>(four_3));
    }
    for (var i_9 = i32(local_index); i_9 < 32; i_9 += 32) {
      let line_1 = i_9 >> 2u;
      let quarter_1 = i_9 & 3;
      let index_5 = line_1 * 5 + quarter_1;
      var four_0_1 = 0.0;
      var four_1_1 = 0.0;
      var four_2_1 = 0.0;
      var four_3_1 = 0.0;
      let i_10 = start + 4 * quarter_1;
      let i_11 = select(k - 1, i_10, i_10 < k);
      let column = columnBase + line_1;
      let index_1 = select(columns - 1, column, column < columns) * k + i_11;
      let word = weights[index_1 >> 1u];
      let e = index_1 & 1;
      four_0_1 = select(0.0, bitcast<f32>(((word >> u32(16 * e)) & 65535u) << 16u), i_10 < k);
      let i_12 = start + 4 * quarter_1 + 1;
      let i_13 = select(k - 1, i_12, i_12 < k);
      let column_1 = columnBase + line_1;
      let index_2 = select(columns - 1, column_1, column_1 < columns) * k + i_13;
      let word_1 = weights[index_2 >> 1u];
      let e_1 = index_2 & 1;
      four_1_1 = select(0.0, bitcast<f32>(((word_1 >> u32(16 * e_1)) & 65535u) << 16u), i_12 < k);
      let i_14 = start + 4 * quarter_1 + 2;
      let i_15 = select(k - 1, i_14, i_14 < k);
      let column_2 = columnBase + line_1;
      let index_3 = select(columns - 1, column_2, column_2 < columns) * k + i_15;
      let word_2 = weights[index_3 >> 1u];
      let e_2 = index_3 & 1;
      four_2_1 = select(0.0, bitcast<f32>(((word_2 >> u32(16 * e_2)) & 65535u) << 16u), i_14 < k);
      let i_16 = start + 4 * quarter_1 + 3;
      let i_17 = select(k - 1, i_16, i_16 < k);
      let column_3 = columnBase + line_1;
      let index_4 = select(columns - 1, column_3, column_3 < columns) * k + i_17;
      let word_3 = weights[index_4 >> 1u];
      let e_3 = index_4 & 1;
      four_3_1 = select(0.0, bitcast<f32>(((word_3 >> u32(16 * e_3)) & 65535u) << 16u), i_16 < k);
      stagedColumns[index_5] = vec4u(bitcast<u32>(four_0_1), bitcast<u32>(four_1_1), bitcast<u32>(four_2_1), bitcast<u32>(four_3_1));
    }
    workgroupBarrier();
    let zero = vec4u(0u, 0u, 0u, 0u);
    let row_4 = i32(local_index) / 8;
    let column_4 = i32(local_index) % 8;
    var rows_0 = zero;
    var columns_0 = zero;
    for (var quarter_2 = 0; quarter_2 < 4; quarter_2++) {
      rows_0 = stagedRows[row_4 * 5 + quarter_2];
      columns_0 = stagedColumns[column_4 * 5 + quarter_2];
      let left = bitcast<f32>(rows_0.x);
      acc_0 += left * bitcast<f32>(columns_0.x);
      let left_1 = bitcast<f32>(rows_0.y);
      acc_0 += left_1 * bitcast<f32>(columns_0.y);
      let left_2 = bitcast<f32>(rows_0.z);
      acc_0 += left_2 * bitcast<f32>(columns_0.z);
      let left_3 = bitcast<f32>(rows_0.w);
      acc_0 += left_3 * bitcast<f32>(columns_0.w);
    }
    workgroupBarrier();
  }
  let row_5 = i32(local_index) / 8;
  let column_5 = i32(local_index) % 8;
  let acc = acc_0;
  let row_6 = rowBase + row_5;
  let column_6 = columnBase + column_5;
  if (row_6 < m && column_6 < columns) {
    var value = acc;
    let acc_1 = value;
    let column_7 = firstColumn + column_6;
    out[row_6 * n + firstColumn + column_6] = acc_1;
  }
}
