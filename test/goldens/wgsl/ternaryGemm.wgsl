requires packed_4x8_integer_dot_product;

struct Scalars {
  m: i32,
  n: i32,
  k: i32,
  groupSize: i32,
  firstColumn: i32,
  columns: i32,
}

@group(0) @binding(0) var<storage, read> codes: array<vec4u>;
@group(0) @binding(1) var<storage, read> activations: array<vec4u>;
@group(0) @binding(2) var<storage, read> scales: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<uniform> scalars: Scalars;
var<workgroup> stagedRows: array<vec4u, 20>;
var<workgroup> stagedColumns: array<vec4u, 40>;

// Ternary matrix multiplication for many rows, out[row, column] = epilogue(sum_k q[row, k] *
// w[column, k]).
@compute @workgroup_size(32)
fn ternaryGemm(
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(local_invocation_index) local_index: u32,
) {
  let m = scalars.m;
  let n = scalars.n;
  let k = scalars.k;
  let groupSize = scalars.groupSize;
  let firstColumn = scalars.firstColumn;
  let columns = scalars.columns;
  let rowBase = i32(workgroup_id.y) * 4;
  let columnBase = i32(workgroup_id.x) * 8;
  let stride = ((k + 63) >> 6u) << 6u;
  let paddedColumns = ((columns + 3) >> 2u) << 2u;
  let groups = (k + groupSize - 1) / groupSize;
  let groupLength = groupSize;
  let weights = k - (groups - 1) * groupLength;
  let blocks = (groups - 1) * ((groupLength + 63) >> 6u) + ((weights + 63) >> 6u);
  let groupBlocks = (groupLength + 63) >> 6u;
  var acc_0 = 0;
  var totals_0 = 0.0;
  for (var g = 0; g < groups; g++) {
    let first = g * groupBlocks;
    let last = select(blocks, first + groupBlocks, g + 1 < groups);
    for (var block = first; block < last; block++) {
      let start = g * groupLength + ((block - first) << 6u);
      for (var i = i32(local_index); i < 16; i += 32) {
        let line = i >> 2u;
        let quarter = i & 3;
        let valid = select(m - 1, rowBase + line, rowBase + line < m);
        let at = valid * stride + start + 16 * quarter;
        stagedRows[line * 5 + quarter] = activations[at >> 4u];
      }
      for (var i_1 = i32(local_index); i_1 < 32; i_1 += 32) {
        let line_1 = i_1 >> 2u;
        let quarter_1 = i_1 & 3;
        let at_1 = columnBase + line_1;
        let row = select(paddedColumns - 1, at_1, at_1 < paddedColumns);
        let packed = codes[((row >> 2u) * blocks + block) * 4 + (row & 3)];
        let word = packed.x;
        let codes_1 = (word >> u32(quarter_1 << 1u)) & 0x03030303u;
        let word_1 = packed.y;
        let codes_2 = (word_1 >> u32(quarter_1 << 1u)) & 0x03030303u;
        let word_2 = packed.z;
        let codes_3 = (word_2 >> u32(quarter_1 << 1u)) & 0x03030303u;
        let word_3 = packed.w;
        let codes_4 = (word_3 >> u32(quarter_1 << 1u)) & 0x03030303u;
        stagedColumns[line_1 * 5 + quarter_1] = vec4u((((codes_1 | 0x80808080u) - 0x01010101u) ^ 0x80808080u), (((codes_2 | 0x80808080u) - 0x01010101u) ^ 0x80808080u), (((codes_3 | 0x80808080u) - 0x01010101u) ^ 0x80808080u), ((codes_4 | 0x80808080u) - 0x01010101u) ^ 0x80808080u);
      }
      workgroupBarrier();
      let zero = vec4u(0u, 0u, 0u, 0u);
      let row_1 = i32(local_index) / 8;
      let column = i32(local_index) % 8;
      var rows_0 = zero;
      var columns_0 = zero;
      for (var quarter_2 = 0; quarter_2 < 4; quarter_2++) {
        rows_0 = stagedRows[row_1 * 5 + quarter_2];
        columns_0 = stagedColumns[column * 5 + quarter_2];
        acc_0 += dot4I8Packed(rows_0.x, columns_0.x);
        acc_0 += dot4I8Packed(rows_0.y, columns_0.y);
        acc_0 += dot4I8Packed(rows_0.z, columns_0.z);
        acc_0 += dot4I8Packed(rows_0.w, columns_0.w);
      }
      workgroupBarrier();
    }
    let row_ = i32(local_index) / 8;
    let column_1 = i32(local_index) % 8;
    let at_2 = columnBase + column_1;
    let row_2 = select(paddedColumns - 1, at_2, at_2 < paddedColumns);
    let scale = scales[((row_2 >> 2u) * groups + g) * 4 + (row_2 & 3)];
    totals_0 += f32(acc_0) * scale;
    acc_0 = 0;
  }
  let tileRow = i32(local_index) / 8;
  let tileColumn = i32(local_index) % 8;
  let row_3 = rowBase + tileRow;
  let column_2 = columnBase + tileColumn;
  if (row_3 < m && column_2 < columns) {
    let result = totals_0;
    let column_3 = firstColumn + column_2;
    out[row_3 * n + firstColumn + column_2] = result;
  }
}
