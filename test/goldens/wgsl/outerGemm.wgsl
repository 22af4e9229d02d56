struct Scalars {
  m: i32,
  n: i32,
  p: i32,
  first: i32,
  aRow: i32,
  aColumn: i32,
  bStride: i32,
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<uniform> scalars: Scalars;
var<workgroup> stagedRows: array<vec4u, 20>;
var<workgroup> stagedColumns: array<vec4u, 40>;

// out = a @ b in f32 with b row-major along the columns of out:
@compute @workgroup_size(32)
fn outerGemm(@builtin(workgroup_id) workgroup_id: vec3u, @builtin(local_invocation_index) local_index: u32) {
  let m = scalars.m;
  let n = scalars.n;
  let p = scalars.p;
  let first = scalars.first;
  let aRow = scalars.aRow;
  let aColumn = scalars.aColumn;
  let bStride = scalars.bStride;
  let rowBase = i32(workgroup_id.y) * 4;
  let columnBase = i32(workgroup_id.x) * 8;
  let groupLength = n;
  let groupBlocks = (groupLength + 63) >> 6u;
  let blocks = (n + 63) >> 6u;
  var acc_0 = 0.0;
  for (var start = 0; start < p; start += 16) {
    for (var i = i32(local_index); i < 16; i += 32) {
      let line = i % 4;
      let quarter = i / 4;
      let index = line * 5 + quarter;
      var four_0 = 0.0;
      var four_1 = 0.0;
      var four_2 = 0.0;
      var four_3 = 0.0;
      let i_1 = start + 4 * quarter;
      let l = select(p - 1, i_1, i_1 < p);
      let row = rowBase + line;
      four_0 = select(0.0, a[select(m - 1, row, row < m) * aRow + (first + l) * aColumn], i_1 < p);
      let i_2 = start + 4 * quarter + 1;
      let l_1 = select(p - 1, i_2, i_2 < p);
      let row_1 = rowBase + line;
      four_1 = select(0.0, a[select(m - 1, row_1, row_1 < m) * aRow + (first + l_1) * aColumn], i_2 < p);
      let i_3 = start + 4 * quarter + 2;
      let l_2 = select(p - 1, i_3, i_3 < p);
      let row_2 = rowBase + line;
      four_2 = select(0.0, a[select(m - 1, row_2, row_2 < m) * aRow + (first + l_2) * aColumn], i_3 < p);
      let i_4 = start + 4 * quarter + 3;
      let l_3 = select(p - 1, i_4, i_4 < p);
      let row_3 = rowBase + line;
      four_3 = select(0.0, a[select(m - 1, row_3, row_3 < m) * aRow + (first + l_3) * aColumn], i_4 < p);
      stagedRows[index] = vec4u(bitcast<u32>(four_0), bitcast<u32>(four_1), bitcast<u32>(four_2), bitcast<u32>(four_3));
    }
    for (var i_5 = i32(local_index); i_5 < 32; i_5 += 32) {
      let line_1 = i_5 % 8;
      let quarter_1 = i_5 / 8;
      let index_5 = line_1 * 5 + quarter_1;
      var four_0_1 = 0.0;
      var four_1_1 = 0.0;
      var four_2_1 = 0.0;
      var four_3_1 = 0.0;
      let i_6 = start + 4 * quarter_1;
      let l_4 = select(p - 1, i_6, i_6 < p);
      let column = select(n - 1, columnBase + line_1, columnBase + line_1 < n);
      let index_1 = l_4 * bStride + column;
      let word = b[index_1 >> 2u];
      let e = index_1 & 3;
      let value = f32((i32(word) << u32(24 - 8 * e)) >> 24u);
      four_0_1 = select(0.0, value * scales[l_4], i_6 < p);
      let i_7 = start + 4 * quarter_1 + 1;
      let l_5 = select(p - 1, i_7, i_7 < p);
      let column_1 = select(n - 1, columnBase + line_1, columnBase + line_1 < n);
      let index_2 = l_5 * bStride + column_1;
      let word_1 = b[index_2 >> 2u];
      let e_1 = index_2 & 3;
      let value_1 = f32((i32(word_1) << u32(24 - 8 * e_1)) >> 24u);
      four_1_1 = select(0.0, value_1 * scales[l_5], i_7 < p);
      let i_8 = start + 4 * quarter_1 + 2;
      let l_6 = select(p - 1, i_8, i_8 < p);
      let column_2 = select(n - 1, columnBase + line_1, columnBase + line_1 < n);
      let index_3 = l_6 * bStride + column_2;
      let word_2 = b[index_3 >> 2u];
      let e_2 = index_3 & 3;
      let value_2 = f32((i32(word_2) << u32(24 - 8 * e_2)) >> 24u);
      four_2_1 = select(0.0, value_2 * scales[l_6], i_8 < p);
      let i_9 = start + 4 * quarter_1 + 3;
      let l_7 = select(p - 1, i_9, i_9 < p);
      let column_3 = select(n - 1, columnBase + line_1, columnBase + line_1 < n);
      let index_4 = l_7 * bStride + column_3;
      let word_3 = b[index_4 >> 2u];
      let e_3 = index_4 & 3;
      let value_3 = f32((i32(word_3) << u32(24 - 8 * e_3)) >> 24u);
      four_3_1 = select(0.0, value_3 * scales[l_7], i_9 < p);
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
  if (row_6 < m && column_6 < n) {
    let at = row_6 * n + column_6;
    var sum = acc;
    if (first > 0) {
      sum += out[at];
    }
    out[at] = sum;
  }
}
