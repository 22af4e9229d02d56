struct Scalars {
  m: i32,
  n: i32,
  k: i32,
  xStride: i32,
  firstColumn: i32,
  columns: i32,
}

@group(0) @binding(0) var<storage, read> codes: array<u32>;
@group(0) @binding(1) var<storage, read> scales: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<uniform> scalars: Scalars;
var<workgroup> partials: array<f32, 128>;

// f32 activations times ternary weights for few rows:
@compute @workgroup_size(32)
fn ternaryDenseGemv(
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(local_invocation_index) local_index: u32,
) {
  let m = scalars.m;
  let n = scalars.n;
  let k = scalars.k;
  let xStride = scalars.xStride;
  let firstColumn = scalars.firstColumn;
  let columns = scalars.columns;
  let group = i32(workgroup_id.x);
  let groupLength = k;
  let groupBlocks = (groupLength + 63) >> 6u;
  let blocks = (k + 63) >> 6u;
  var rowStart_0 = 0;
  let row = i32(workgroup_id.y);
  rowStart_0 = select(m - 1, row, row < m) * xStride;
  var acc_0 = 0.0;
  var acc_1 = 0.0;
  var acc_2 = 0.0;
  var acc_3 = 0.0;
  for (var i = i32(local_index); i < 4 * blocks; i += 32) {
    let block = i >> 2u;
    let g = block / groupBlocks;
    let start = g * groupLength + ((block - g * groupBlocks) << 6u) + 4 * (i & 3);
    var words_0 = 0u;
    var words_1 = 0u;
    var words_2 = 0u;
    var words_3 = 0u;
    words_0 = codes[(group * blocks + block) * 4 * 4 + (i & 3)];
    words_1 = codes[((group * blocks + block) * 4 + 1) * 4 + (i & 3)];
    words_2 = codes[((group * blocks + block) * 4 + 2) * 4 + (i & 3)];
    words_3 = codes[((group * blocks + block) * 4 + 3) * 4 + (i & 3)];
    var sums_0 = 0.0;
    var sums_1 = 0.0;
    var sums_2 = 0.0;
    var sums_3 = 0.0;
    let at = start;
    let value = select(0.0, x[rowStart_0 + select(k - 1, at, at < k)], at < k);
    let word = words_0;
    sums_0 += value * f32(i32(word & 3u) - 1);
    let word_1 = words_1;
    sums_1 += value * f32(i32(word_1 & 3u) - 1);
    let word_2 = words_2;
    sums_2 += value * f32(i32(word_2 & 3u) - 1);
    let word_3 = words_3;
    sums_3 += value * f32(i32(word_3 & 3u) - 1);
    let at_1 = start + 1;
    let value_1 = select(0.0, x[rowStart_0 + select(k - 1, at_1, at_1 < k)], at_1 < k);
    let word_4 = words_0;
    sums_0 += value_1 * f32(i32((word_4 >> 8u) & 3u) - 1);
    let word_5 = words_1;
    sums_1 += value_1 * f32(i32((word_5 >> 8u) & 3u) - 1);
    let word_6 = words_2;
    sums_2 += value_1 * f32(i32((word_6 >> 8u) & 3u) - 1);
    let word_7 = words_3;
    sums_3 += value_1 * f32(i32((word_7 >> 8u) & 3u) - 1);
    let at_2 = start + 2;
    let value_2 = select(0.0, x[rowStart_0 + select(k - 1, at_2, at_2 < k)], at_2 < k);
    let word_8 = words_0;
    sums_0 += value_2 * f32(i32((word_8 >> 16u) & 3u) - 1);
    let word_9 = words_1;
    sums_1 += value_2 * f32(i32((word_9 >> 16u) & 3u) - 1);
    let word_10 = words_2;
    sums_2 += value_2 * f32(i32((word_10 >> 16u) & 3u) - 1);
    let word_11 = words_3;
    sums_3 += value_2 * f32(i32((word_11 >> 16u) & 3u) - 1);
    let at_3 = start + 3;
    let value_3 = select(0.0, x[rowStart_0 + select(k - 1, at_3, at_3 < k)], at_3 < k);
    let word_12 = words_0;
    sums_0 += value_3 * f32(i32((word_12 >> 24u) & 3u) - 1);
    let word_13 = words_1;
    sums_1 += value_3 * f32(i32((word_13 >> 24u) & 3u) - 1);
    let word_14 = words_2;
    sums_2 += value_3 * f32(i32((word_14 >> 24u) & 3u) - 1);
    let word_15 = words_3;
    sums_3 += value_3 * f32(i32((word_15 >> 24u) & 3u) - 1);
    let at_4 = start + 16;
    let value_4 = select(0.0, x[rowStart_0 + select(k - 1, at_4, at_4 < k)], at_4 < k);
    let word_16 = words_0;
    sums_0 += value_4 * f32(i32((word_16 >> 2u) & 3u) - 1);
    let word_17 = words_1;
    sums_1 += value_4 * f32(i32((word_17 >> 2u) & 3u) - 1);
    let word_18 = words_2;
    sums_2 += value_4 * f32(i32((word_18 >> 2u) & 3u) - 1);
    let word_19 = words_3;
    sums_3 += value_4 * f32(i32((word_19 >> 2u) & 3u) - 1);
    let at_5 = start + 16 + 1;
    let value_5 = select(0.0, x[rowStart_0 + select(k - 1, at_5, at_5 < k)], at_5 < k);
    let word_20 = words_0;
    sums_0 += value_5 * f32(i32((word_20 >> 10u) & 3u) - 1);
    let word_21 = words_1;
    sums_1 += value_5 * f32(i32((word_21 >> 10u) & 3u) - 1);
    let word_22 = words_2;
    sums_2 += value_5 * f32(i32((word_22 >> 10u) & 3u) - 1);
    let word_23 = words_3;
    sums_3 += value_5 * f32(i32((word_23 >> 10u) & 3u) - 1);
    let at_6 = start + 16 + 2;
    let value_6 = select(0.0, x[rowStart_0 + select(k - 1, at_6, at_6 < k)], at_6 < k);
    let word_24 = words_0;
    sums_0 += value_6 * f32(i32((word_24 >> 18u) & 3u) - 1);
    let word_25 = words_1;
    sums_1 += value_6 * f32(i32((word_25 >> 18u) & 3u) - 1);
    let word_26 = words_2;
    sums_2 += value_6 * f32(i32((word_26 >> 18u) & 3u) - 1);
    let word_27 = words_3;
    sums_3 += value_6 * f32(i32((word_27 >> 18u) & 3u) - 1);
    let at_7 = start + 16 + 3;
    let value_7 = select(0.0, x[rowStart_0 + select(k - 1, at_7, at_7 < k)], at_7 < k);
    let word_28 = words_0;
    sums_0 += value_7 * f32(i32((word_28 >> 26u) & 3u) - 1);
    let word_29 = words_1;
    sums_1 += value_7 * f32(i32((word_29 >> 26u) & 3u) - 1);
    let word_30 = words_2;
    sums_2 += value_7 * f32(i32((word_30 >> 26u) & 3u) - 1);
    let word_31 = words_3;
    sums_3 += value_7 * f32(i32((word_31 >> 26u) & 3u) - 1);
    let at_8 = start + 32;
    let value_8 = select(0.0, x[rowStart_0 + select(k - 1, at_8, at_8 < k)], at_8 < k);
    let word_32 = words_0;
    sums_0 += value_8 * f32(i32((word_32 >> 4u) & 3u) - 1);
    let word_33 = words_1;
    sums_1 += value_8 * f32(i32((word_33 >> 4u) & 3u) - 1);
    let word_34 = words_2;
    sums_2 += value_8 * f32(i32((word_34 >> 4u) & 3u) - 1);
    let word_35 = words_3;
    sums_3 += value_8 * f32(i32((word_35 >> 4u) & 3u) - 1);
    let at_9 = start + 32 + 1;
    let value_9 = select(0.0, x[rowStart_0 + select(k - 1, at_9, at_9 < k)], at_9 < k);
    let word_36 = words_0;
    sums_0 += value_9 * f32(i32((word_36 >> 12u) & 3u) - 1);
    let word_37 = words_1;
    sums_1 += value_9 * f32(i32((word_37 >> 12u) & 3u) - 1);
    let word_38 = words_2;
    sums_2 += value_9 * f32(i32((word_38 >> 12u) & 3u) - 1);
    let word_39 = words_3;
    sums_3 += value_9 * f32(i32((word_39 >> 12u) & 3u) - 1);
    let at_10 = start + 32 + 2;
    let value_10 = select(0.0, x[rowStart_0 + select(k - 1, at_10, at_10 < k)], at_10 < k);
    let word_40 = words_0;
    sums_0 += value_10 * f32(i32((word_40 >> 20u) & 3u) - 1);
    let word_41 = words_1;
    sums_1 += value_10 * f32(i32((word_41 >> 20u) & 3u) - 1);
    let word_42 = words_2;
    sums_2 += value_10 * f32(i32((word_42 >> 20u) & 3u) - 1);
    let word_43 = words_3;
    sums_3 += value_10 * f32(i32((word_43 >> 20u) & 3u) - 1);
    let at_11 = start + 32 + 3;
    let value_11 = select(0.0, x[rowStart_0 + select(k - 1, at_11, at_11 < k)], at_11 < k);
    let word_44 = words_0;
    sums_0 += value_11 * f32(i32((word_44 >> 28u) & 3u) - 1);
    let word_45 = words_1;
    sums_1 += value_11 * f32(i32((word_45 >> 28u) & 3u) - 1);
    let word_46 = words_2;
    sums_2 += value_11 * f32(i32((word_46 >> 28u) & 3u) - 1);
    let word_47 = words_3;
    sums_3 += value_11 * f32(i32((word_47 >> 28u) & 3u) - 1);
    let at_12 = start + 48;
    let value_12 = select(0.0, x[rowStart_0 + select(k - 1, at_12, at_12 < k)], at_12 < k);
    let word_48 = words_0;
    sums_0 += value_12 * f32(i32((word_48 >> 6u) & 3u) - 1);
    let word_49 = words_1;
    sums_1 += value_12 * f32(i32((word_49 >> 6u) & 3u) - 1);
    let word_50 = words_2;
    sums_2 += value_12 * f32(i32((word_50 >> 6u) & 3u) - 1);
    let word_51 = words_3;
    sums_3 += value_12 * f32(i32((word_51 >> 6u) & 3u) - 1);
    let at_13 = start + 48 + 1;
    let value_13 = select(0.0, x[rowStart_0 + select(k - 1, at_13, at_13 < k)], at_13 < k);
    let word_52 = words_0;
    sums_0 += value_13 * f32(i32((word_52 >> 14u) & 3u) - 1);
    let word_53 = words_1;
    sums_1 += value_13 * f32(i32((word_53 >> 14u) & 3u) - 1);
    let word_54 = words_2;
    sums_2 += value_13 * f32(i32((word_54 >> 14u) & 3u) - 1);
    let word_55 = words_3;
    sums_3 += value_13 * f32(i32((word_55 >> 14u) & 3u) - 1);
    let at_14 = start + 48 + 2;
    let value_14 = select(0.0, x[rowStart_0 + select(k - 1, at_14, at_14 < k)], at_14 < k);
    let word_56 = words_0;
    sums_0 += value_14 * f32(i32((word_56 >> 22u) & 3u) - 1);
    let word_57 = words_1;
    sums_1 += value_14 * f32(i32((word_57 >> 22u) & 3u) - 1);
    let word_58 = words_2;
    sums_2 += value_14 * f32(i32((word_58 >> 22u) & 3u) - 1);
    let word_59 = words_3;
    sums_3 += value_14 * f32(i32((word_59 >> 22u) & 3u) - 1);
    let at_15 = start + 48 + 3;
    let value_15 = select(0.0, x[rowStart_0 + select(k - 1, at_15, at_15 < k)], at_15 < k);
    let word_60 = words_0;
    sums_0 += value_15 * f32(i32((word_60 >> 30u) & 3u) - 1);
    let word_61 = words_1;
    sums_1 += value_15 * f32(i32((word_61 >> 30u) & 3u) - 1);
    let word_62 = words_2;
    sums_2 += value_15 * f32(i32((word_62 >> 30u) & 3u) - 1);
    let word_63 = words_3;
    sums_3 += value_15 * f32(i32((word_63 >> 30u) & 3u) - 1);
    let scale = scales[(group + g) * 4];
    acc_0 += sums_0 * scale;
    let scale_1 = scales[(group + g) * 4 + 1];
    acc_1 += sums_1 * scale_1;
    let scale_2 = scales[(group + g) * 4 + 2];
    acc_2 += sums_2 * scale_2;
    let scale_3 = scales[(group + g) * 4 + 3];
    acc_3 += sums_3 * scale_3;
  }
  let local = i32(local_index);
  var count = 1;
  let place = local;
  partials[place] = acc_0;
  partials[32 + place] = acc_1;
  partials[64 + place] = acc_2;
  partials[96 + place] = acc_3;
  workgroupBarrier();
  for (var distance = 16; distance > 0; distance = distance >> 1u) {
    if (local < distance) {
      let at_16 = place;
      partials[at_16] = partials[at_16] + partials[at_16 + distance];
      let at_17 = 32 + place;
      partials[at_17] = partials[at_17] + partials[at_17 + distance];
      let at_18 = 64 + place;
      partials[at_18] = partials[at_18] + partials[at_18 + distance];
      let at_19 = 96 + place;
      partials[at_19] = partials[at_19] + partials[at_19 + distance];
    }
    workgroupBarrier();
  }
  for (var o = local; o < 4; o += 32) {
    var sum = partials[o * 32];
    for (var part = 1; part < count; part++) {
      sum += partials[o * 32 + part];
    }
    let sum_1 = sum;
    let row_1 = i32(workgroup_id.y) + (o >> 2u);
    let column = 4 * group + (o & 3);
    if (row_1 < m && column < columns) {
      let column_1 = firstColumn + column;
      out[row_1 * n + firstColumn + column] = sum_1;
    }
  }
}
