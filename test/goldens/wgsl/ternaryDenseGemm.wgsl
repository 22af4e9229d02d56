struct Scalars {
  m: i32,
  n: i32,
  k: i32,
  groupSize: i32,
  xStride: i32,
  firstColumn: i32,
  columns: i32,
}

@group(0) @binding(0) var<storage, read> codes: array<u32>;
@group(0) @binding(1) var<storage, read> scales: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<uniform> scalars: Scalars;
var<workgroup> stagedRows: array<vec4u, 20>;
var<workgroup> stagedColumns: array<vec4u, 40>;

// f32 activations times ternary weights for many rows:
@compute @workgroup_size(32)
fn ternaryDenseGemm(
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(local_invocation_index) local_index: u32,
) {
  let m = scalars.m;
  let n = scalars.n;
  let k = scalars.k;
  let groupSize = scalars.groupSize;
  let xStride = scalars.xStride;
  let firstColumn = scalars.firstColumn;
  let columns = scalars.columns;
  let rowBase = i32(workgroup_id.y) * 4;
  let columnBase = i32(workgroup_id.x) * 8;
  let groups = (k + groupSize - 1) / groupSize;
  let groupLength = groupSize;
  let groupBlocks = (groupLength + 63) >> 6u;
  let weights = k - (groups - 1) * groupLength;
  let blocks = (groups - 1) * ((groupLength + 63) >> 6u) + ((weights + 63) >> 6u);
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
      let index_1 = line_1 * 5 + quarter_1;
      var four_0_1 = 0.0;
      var four_1_1 = 0.0;
      var four_2_1 = 0.0;
      var four_3_1 = 0.0;
      let i_10 = start + 4 * quarter_1;
      let i_11 = select(k - 1, i_10, i_10 < k);
      let column = select(columns - 1, columnBase + line_1, columnBase + line_1 < columns);
      let g = i_11 / groupLength;
      let i_12 = ((g * groupBlocks) << 6u) + i_11 - g * groupLength;
      let block = i_12 >> 6u;
      let word = codes[(((column >> 2u) * blocks + block) * 4 + (column & 3)) * 4 + ((i_12 & 15) >> 2u)];
      let shift = 8 * (i_12 & 3) + 2 * ((i_12 & 63) >> 4u);
      let w = f32(i32((word >> u32(shift)) & 3u) - 1);
      four_0_1 = select(0.0, w * scales[((column >> 2u) * groups + g) * 4 + (column & 3)], i_10 < k);
      let i_13 = start + 4 * quarter_1 + 1;
      let i_14 = select(k - 1, i_13, i_13 < k);
      let column_1 = select(columns - 1, columnBase + line_1, columnBase + line_1 < columns);
      let g_1 = i_14 / groupLength;
      let i_15 = ((g_1 * groupBlocks) << 6u) + i_14 - g_1 * groupLength;
      let block_1 = i_15 >> 6u;
      let word_1 = codes[(((column_1 >> 2u) * blocks + block_1) * 4 + (column_1 & 3)) * 4 + ((i_15 & 15) >> 2u)];
      let shift_1 = 8 * (i_15 & 3) + 2 * ((i_15 & 63) >> 4u);
      let w_1 = f32(i32((word_1 >> u32(shift_1)) & 3u) - 1);
      four_1_1 = select(0.0, w_1 * scales[((column_1 >> 2u) * groups + g_1) * 4 + (column_1 & 3)], i_13 < k);
      let i_16 = start + 4 * quarter_1 + 2;
      let i_17 = select(k - 1, i_16, i_16 < k);
      let column_2 = select(columns - 1, columnBase + line_1, columnBase + line_1 < columns);
      let g_2 = i_17 / groupLength;
      let i_18 = ((g_2 * groupBlocks) << 6u) + i_17 - g_2 * groupLength;
      let block_2 = i_18 >> 6u;
      let word_2 = codes[(((column_2 >> 2u) * blocks + block_2) * 4 + (column_2 & 3)) * 4 + ((i_18 & 15) >> 2u)];
      let shift_2 = 8 * (i_18 & 3) + 2 * ((i_18 & 63) >> 4u);
      let w_2 = f32(i32((word_2 >> u32(shift_2)) & 3u) - 1);
      four_2_1 = select(0.0, w_2 * scales[((column_2 >> 2u) * groups + g_2) * 4 + (column_2 & 3)], i_16 < k);
      let i_19 = start + 4 * quarter_1 + 3;
      let i_20 = select(k - 1, i_19, i_19 < k);
      let column_3 = select(columns - 1, columnBase + line_1, columnBase + line_1 < columns);
      let g_3 = i_20 / groupLength;
      let i_21 = ((g_3 * groupBlocks) << 6u) + i_20 - g_3 * groupLength;
      let block_3 = i_21 >> 6u;
      let word_3 = codes[(((column_3 >> 2u) * blocks + block_3) * 4 + (column_3 & 3)) * 4 + ((i_21 & 15) >> 2u)];
      let shift_3 = 8 * (i_21 & 3) + 2 * ((i_21 & 63) >> 4u);
      let w_3 = f32(i32((word_3 >> u32(shift_3)) & 3u) - 1);
      four_3_1 = select(0.0, w_3 * scales[((column_3 >> 2u) * groups + g_3) * 4 + (column_3 & 3)], i_19 < k);
      stagedColumns[index_1] = vec4u(bitcast<u32>(four_0_1), bitcast<u32>(four_1_1), bitcast<u32>(four_2_1), bitcast<u32>(four_3_1));
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
    let column_7 = firstColumn + column_6;
    out[row_6 * n + firstColumn + column_6] = acc;
  }
}
