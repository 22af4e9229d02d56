struct Scalars {
  rows: i32,
  k: i32,
  groupSize: i32,
}

@group(0) @binding(0) var<storage, read> weights: array<f32>;
@group(0) @binding(1) var<storage, read> scales: array<u32>;
@group(0) @binding(2) var<storage, read_write> codes: array<u32>;
@group(0) @binding(3) var<uniform> scalars: Scalars;

fn is_nan(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

// Truncates toward zero and saturates; NaN gives 0.
fn f32_to_i32(x: f32) -> i32 {
  let whole = i32(max(min(x, 2147483520.0), -2147483648.0));
  return select(select(whole, 2147483647, x >= 2147483648.0), 0, is_nan(x));
}

// RN(2^47 / m), 2^23 <= m < 2^24, from a proposal less than 128 off.
fn exact_reciprocal_nearestQuotient(m: i32, proposal: i32) -> i32 {
  let half = m >> 1u;
  var q = proposal;
  var rest = -(q * m);
  while (rest > half) {
    rest -= m;
    q++;
  }
  while (rest < -half) {
    rest += m;
    q--;
  }
  return q;
}

// Quantizes rows of weights to ternary codes in the interleaved block layout:
@compute @workgroup_size(32)
fn packTernary(
  @builtin(num_workgroups) num_workgroups: vec3u,
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(local_invocation_index) local_index: u32,
) {
  let rows = scalars.rows;
  let k = scalars.k;
  let groupSize = scalars.groupSize;
  let groups = (k + groupSize - 1) / groupSize;
  let groupBlocks = (groupSize + 63) >> 6u;
  let weights_1 = k - (groups - 1) * groupSize;
  let blocks = (groups - 1) * ((groupSize + 63) >> 6u) + ((weights_1 + 63) >> 6u);
  let words = ((rows + 3) >> 2u) * blocks * 16;
  let stride = i32(num_workgroups.x) * 32;
  for (var at = i32(workgroup_id.x) * 32 + i32(local_index); at < words; at += stride) {
    let row = (at >> 4u) / blocks * 4 + ((at >> 2u) & 3);
    let block = (at >> 4u) % blocks;
    let group = block / groupBlocks;
    let first = group * groupSize + (block - group * groupBlocks) * 64 + (at & 3) * 4;
    let end = select(k, (group + 1) * groupSize, (group + 1) * groupSize < k);
    let alpha = select(0x7fc00000u, scales[((row >> 2u) * groups + group) * 4 + (row & 3)], row < rows);
    let isNumber = alpha < 0x7f800000u;
    let a = bitcast<f32>(select(0x3f800000u, alpha, isNumber));
    let word = bitcast<i32>(a);
    let fraction = word & 8388607;
    let proposal = 16777216.0 / bitcast<f32>(fraction | 1065353216);
    let nearestQuotient = exact_reciprocal_nearestQuotient((fraction | 8388608), f32_to_i32(proposal));
    let q = nearestQuotient;
    let inverse = bitcast<f32>(((253 - (word >> 23u)) << 23u) + (q - 8388608));
    var word_1 = 0u;
    let i = first;
    var code = 0;
    if (isNumber && i < end) {
      let rounded = f32_to_i32(round(weights[row * k + i] * inverse));
      let above = select(-1, rounded, rounded > -1);
      code = select(1, above, above < 1);
    }
    word_1 |= u32(code + 1);
    let i_1 = first + 1;
    var code_1 = 0;
    if (isNumber && i_1 < end) {
      let rounded_1 = f32_to_i32(round(weights[row * k + i_1] * inverse));
      let above_1 = select(-1, rounded_1, rounded_1 > -1);
      code_1 = select(1, above_1, above_1 < 1);
    }
    word_1 |= u32(code_1 + 1) << 8u;
    let i_2 = first + 2;
    var code_2 = 0;
    if (isNumber && i_2 < end) {
      let rounded_2 = f32_to_i32(round(weights[row * k + i_2] * inverse));
      let above_2 = select(-1, rounded_2, rounded_2 > -1);
      code_2 = select(1, above_2, above_2 < 1);
    }
    word_1 |= u32(code_2 + 1) << 16u;
    let i_3 = first + 3;
    var code_3 = 0;
    if (isNumber && i_3 < end) {
      let rounded_3 = f32_to_i32(round(weights[row * k + i_3] * inverse));
      let above_3 = select(-1, rounded_3, rounded_3 > -1);
      code_3 = select(1, above_3, above_3 < 1);
    }
    word_1 |= u32(code_3 + 1) << 24u;
    let i_4 = first + 16;
    var code_4 = 0;
    if (isNumber && i_4 < end) {
      let rounded_4 = f32_to_i32(round(weights[row * k + i_4] * inverse));
      let above_4 = select(-1, rounded_4, rounded_4 > -1);
      code_4 = select(1, above_4, above_4 < 1);
    }
    word_1 |= u32(code_4 + 1) << 2u;
    let i_5 = first + 16 + 1;
    var code_5 = 0;
    if (isNumber && i_5 < end) {
      let rounded_5 = f32_to_i32(round(weights[row * k + i_5] * inverse));
      let above_5 = select(-1, rounded_5, rounded_5 > -1);
      code_5 = select(1, above_5, above_5 < 1);
    }
    word_1 |= u32(code_5 + 1) << 10u;
    let i_6 = first + 16 + 2;
    var code_6 = 0;
    if (isNumber && i_6 < end) {
      let rounded_6 = f32_to_i32(round(weights[row * k + i_6] * inverse));
      let above_6 = select(-1, rounded_6, rounded_6 > -1);
      code_6 = select(1, above_6, above_6 < 1);
    }
    word_1 |= u32(code_6 + 1) << 18u;
    let i_7 = first + 16 + 3;
    var code_7 = 0;
    if (isNumber && i_7 < end) {
      let rounded_7 = f32_to_i32(round(weights[row * k + i_7] * inverse));
      let above_7 = select(-1, rounded_7, rounded_7 > -1);
      code_7 = select(1, above_7, above_7 < 1);
    }
    word_1 |= u32(code_7 + 1) << 26u;
    let i_8 = first + 32;
    var code_8 = 0;
    if (isNumber && i_8 < end) {
      let rounded_8 = f32_to_i32(round(weights[row * k + i_8] * inverse));
      let above_8 = select(-1, rounded_8, rounded_8 > -1);
      code_8 = select(1, above_8, above_8 < 1);
    }
    word_1 |= u32(code_8 + 1) << 4u;
    let i_9 = first + 32 + 1;
    var code_9 = 0;
    if (isNumber && i_9 < end) {
      let rounded_9 = f32_to_i32(round(weights[row * k + i_9] * inverse));
      let above_9 = select(-1, rounded_9, rounded_9 > -1);
      code_9 = select(1, above_9, above_9 < 1);
    }
    word_1 |= u32(code_9 + 1) << 12u;
    let i_10 = first + 32 + 2;
    var code_10 = 0;
    if (isNumber && i_10 < end) {
      let rounded_10 = f32_to_i32(round(weights[row * k + i_10] * inverse));
      let above_10 = select(-1, rounded_10, rounded_10 > -1);
      code_10 = select(1, above_10, above_10 < 1);
    }
    word_1 |= u32(code_10 + 1) << 20u;
    let i_11 = first + 32 + 3;
    var code_11 = 0;
    if (isNumber && i_11 < end) {
      let rounded_11 = f32_to_i32(round(weights[row * k + i_11] * inverse));
      let above_11 = select(-1, rounded_11, rounded_11 > -1);
      code_11 = select(1, above_11, above_11 < 1);
    }
    word_1 |= u32(code_11 + 1) << 28u;
    let i_12 = first + 48;
    var code_12 = 0;
    if (isNumber && i_12 < end) {
      let rounded_12 = f32_to_i32(round(weights[row * k + i_12] * inverse));
      let above_12 = select(-1, rounded_12, rounded_12 > -1);
      code_12 = select(1, above_12, above_12 < 1);
    }
    word_1 |= u32(code_12 + 1) << 6u;
    let i_13 = first + 48 + 1;
    var code_13 = 0;
    if (isNumber && i_13 < end) {
      let rounded_13 = f32_to_i32(round(weights[row * k + i_13] * inverse));
      let above_13 = select(-1, rounded_13, rounded_13 > -1);
      code_13 = select(1, above_13, above_13 < 1);
    }
    word_1 |= u32(code_13 + 1) << 14u;
    let i_14 = first + 48 + 2;
    var code_14 = 0;
    if (isNumber && i_14 < end) {
      let rounded_14 = f32_to_i32(round(weights[row * k + i_14] * inverse));
      let above_14 = select(-1, rounded_14, rounded_14 > -1);
      code_14 = select(1, above_14, above_14 < 1);
    }
    word_1 |= u32(code_14 + 1) << 22u;
    let i_15 = first + 48 + 3;
    var code_15 = 0;
    if (isNumber && i_15 < end) {
      let rounded_15 = f32_to_i32(round(weights[row * k + i_15] * inverse));
      let above_15 = select(-1, rounded_15, rounded_15 > -1);
      code_15 = select(1, above_15, above_15 < 1);
    }
    word_1 |= u32(code_15 + 1) << 30u;
    codes[at] = word_1;
  }
}
