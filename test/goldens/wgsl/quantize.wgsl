struct Scalars {
  rows: i32,
  k: i32,
  kPadded: i32,
  eps: f32,
  xStride: i32,
}

@group(0) @binding(0) var<storage, read> normWeight: array<f32>;
@group(0) @binding(1) var<storage, read_write> codes: array<u32>;
@group(0) @binding(2) var<storage, read_write> d: array<f32>;
@group(0) @binding(3) var<storage, read_write> sums: array<i32>;
@group(0) @binding(4) var<storage, read> x: array<f32>;
@group(0) @binding(5) var<uniform> scalars: Scalars;
var<workgroup> floats: array<f32, 32>;
var<workgroup> words: array<u32, 32>;
var<workgroup> integers: array<i32, 32>;

fn is_nan(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

// The larger; NaN if either is.
fn maximum(a: f32, b: f32) -> f32 {
  return select(max(a, b), a + b, is_nan(a) || is_nan(b));
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

// Absmax quantization of rows to signed codes with a multiplicative dequantization scale.
@compute @workgroup_size(32)
fn quantize(
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(num_workgroups) num_workgroups: vec3u,
  @builtin(local_invocation_index) local_index: u32,
) {
  let rows = scalars.rows;
  let k = scalars.k;
  let kPadded = scalars.kPadded;
  let eps = scalars.eps;
  let xStride = scalars.xStride;
  for (var row = i32(workgroup_id.x); row < rows; row += i32(num_workgroups.x)) {
    var held_0 = 0.0;
    var held_1 = 0.0;
    var held_2 = 0.0;
    var held_3 = 0.0;
    let column = 4 * i32(local_index);
    if (column < k) {
      held_0 = 0.0;
      if (column < k) {
        held_0 = x[row * xStride + column];
      }
      held_1 = 0.0;
      if (column + 1 < k) {
        let column_1 = column + 1;
        held_1 = x[row * xStride + column_1];
      }
      held_2 = 0.0;
      if (column + 2 < k) {
        let column_2 = column + 2;
        held_2 = x[row * xStride + column_2];
      }
      held_3 = 0.0;
      if (column + 3 < k) {
        let column_3 = column + 3;
        held_3 = x[row * xStride + column_3];
      }
    }
    var squares = 0.0;
    let column_4 = 4 * i32(local_index);
    if (column_4 < k) {
      squares += held_0 * held_0;
      squares += held_1 * held_1;
      squares += held_2 * held_2;
      squares += held_3 * held_3;
    }
    let value = squares;
    let local = i32(local_index);
    floats[local] = value;
    workgroupBarrier();
    for (var distance = 16; distance > 0; distance = distance >> 1u) {
      if (local < distance) {
        let value_1 = floats[local];
        let value_2 = floats[local + distance];
        floats[local] = value_1 + value_2;
      }
      workgroupBarrier();
    }
    let total = floats[0];
    workgroupBarrier();
    let mean = total / f32(k);
    let factor = inverseSqrt(mean + eps);
    let column_5 = 4 * i32(local_index);
    if (column_5 < k) {
      if (column_5 < k) {
        held_0 = normWeight[column_5] * (held_0 * factor);
      }
      if (column_5 + 1 < k) {
        held_1 = normWeight[column_5 + 1] * (held_1 * factor);
      }
      if (column_5 + 2 < k) {
        held_2 = normWeight[column_5 + 2] * (held_2 * factor);
      }
      if (column_5 + 3 < k) {
        held_3 = normWeight[column_5 + 3] * (held_3 * factor);
      }
    }
    var largest = 0u;
    let column_6 = 4 * i32(local_index);
    if (column_6 < k) {
      let magnitude = bitcast<u32>(held_0) & 0x7fffffffu;
      largest = select(largest, magnitude, magnitude > largest);
      let magnitude_1 = bitcast<u32>(held_1) & 0x7fffffffu;
      largest = select(largest, magnitude_1, magnitude_1 > largest);
      let magnitude_2 = bitcast<u32>(held_2) & 0x7fffffffu;
      largest = select(largest, magnitude_2, magnitude_2 > largest);
      let magnitude_3 = bitcast<u32>(held_3) & 0x7fffffffu;
      largest = select(largest, magnitude_3, magnitude_3 > largest);
    }
    let value_3 = largest;
    let local_1 = i32(local_index);
    words[local_1] = value_3;
    workgroupBarrier();
    for (var distance_1 = 16; distance_1 > 0; distance_1 = distance_1 >> 1u) {
      if (local_1 < distance_1) {
        let value_4 = words[local_1];
        let value_5 = words[local_1 + distance_1];
        words[local_1] = select(value_5, value_4, value_4 > value_5);
      }
      workgroupBarrier();
    }
    let total_1 = words[0];
    workgroupBarrier();
    let magnitude_4 = total_1;
    let bad = magnitude_4 > 0x7e800000u;
    let a = maximum(bitcast<f32>(select(magnitude_4, 0u, bad)), 0.00001);
    let word = bitcast<i32>(a);
    let fraction = word & 8388607;
    let proposal = 16777216.0 / bitcast<f32>(fraction | 1065353216);
    let nearestQuotient = exact_reciprocal_nearestQuotient((fraction | 8388608), f32_to_i32(proposal));
    let q = nearestQuotient;
    let scale = 127.0 * bitcast<f32>(((253 - (word >> 23u)) << 23u) + (q - 8388608));
    var sum = 0;
    let column_7 = 4 * i32(local_index);
    if (column_7 < kPadded) {
      var word_1 = 0u;
      let rounded = f32_to_i32(round(held_0 * scale));
      let above = select(-128, rounded, rounded > -128);
      let code = select(select(127, above, above < 127), 0, bad);
      sum += code;
      word_1 |= u32(code) & 255u;
      let rounded_1 = f32_to_i32(round(held_1 * scale));
      let above_1 = select(-128, rounded_1, rounded_1 > -128);
      let code_1 = select(select(127, above_1, above_1 < 127), 0, bad);
      sum += code_1;
      word_1 |= (u32(code_1) & 255u) << 8u;
      let rounded_2 = f32_to_i32(round(held_2 * scale));
      let above_2 = select(-128, rounded_2, rounded_2 > -128);
      let code_2 = select(select(127, above_2, above_2 < 127), 0, bad);
      sum += code_2;
      word_1 |= (u32(code_2) & 255u) << 16u;
      let rounded_3 = f32_to_i32(round(held_3 * scale));
      let above_3 = select(-128, rounded_3, rounded_3 > -128);
      let code_3 = select(select(127, above_3, above_3 < 127), 0, bad);
      sum += code_3;
      word_1 |= (u32(code_3) & 255u) << 24u;
      codes[(row * kPadded + column_7) >> 2u] = word_1;
    }
    let value_6 = sum;
    let local_2 = i32(local_index);
    integers[local_2] = value_6;
    workgroupBarrier();
    for (var distance_2 = 16; distance_2 > 0; distance_2 = distance_2 >> 1u) {
      if (local_2 < distance_2) {
        let value_7 = integers[local_2];
        let value_8 = integers[local_2 + distance_2];
        integers[local_2] = value_7 + value_8;
      }
      workgroupBarrier();
    }
    let total_2 = integers[0];
    workgroupBarrier();
    let total_3 = total_2;
    if (i32(local_index) == 0) {
      sums[row] = total_3;
      d[row] = bitcast<f32>(select(bitcast<u32>(a * 0.007874016), 0x7fc00000u, bad));
    }
  }
}
