struct Scalars {
  seq: i32,
  heads: i32,
  kvHeads: i32,
  capacity: i32,
  qStride: i32,
  keyStride: i32,
  valueStride: i32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> keys: array<f32>;
@group(0) @binding(2) var<storage, read> values: array<f32>;
@group(0) @binding(3) var<storage, read> slots: array<i32>;
@group(0) @binding(4) var<storage, read> positions: array<i32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;
@group(0) @binding(6) var<uniform> scalars: Scalars;
var<workgroup> scores: array<f32, 36>;
var<workgroup> largest: array<f32, 4>;
var<workgroup> sums: array<f32, 4>;
var<workgroup> factors: array<f32, 4>;
var<workgroup> common_: array<i32, 1>;
var<workgroup> stagedRows: array<vec4u, 20>;
var<workgroup> stagedColumns: array<vec4u, 40>;

fn is_nan(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

// The larger; NaN if either is.
fn maximum(a: f32, b: f32) -> f32 {
  return select(max(a, b), a + b, is_nan(a) || is_nan(b));
}

// The smaller; NaN if either is.
fn minimum(a: f32, b: f32) -> f32 {
  return select(min(a, b), a + b, is_nan(a) || is_nan(b));
}

// Truncates toward zero and saturates; NaN gives 0.
fn f32_to_i32(x: f32) -> i32 {
  let whole = i32(max(min(x, 2147483520.0), -2147483648.0));
  return select(select(whole, 2147483647, x >= 2147483648.0), 0, is_nan(x));
}

// e^x within 2 ulp.
fn math_exp(x: f32) -> f32 {
  if ((bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u) {
    return x;
  }
  let clamped = maximum(minimum(x, 89.0), -104.0);
  let n = round(clamped * 1.442695);
  let r = clamped - n * 0.6933594 + n * 0.00021219444;
  var p = 0.00019875691 * r + 0.0013981999;
  p = p * r + 0.008333452;
  p = p * r + 0.041665796;
  p = p * r + 0.16666666;
  p = p * r + 0.5;
  let y = r * r * p + r + 1.0;
  let whole = f32_to_i32(n);
  let half = whole >> 1u;
  let first = bitcast<f32>((half + 127) << 23u);
  let second = bitcast<f32>((whole - half + 127) << 23u);
  return y * first * second;
}

// Causal attention with grouped queries; kv head h serves q heads h*g..h*g+g-1, softmax in f32.
@compute @workgroup_size(32)
fn attention(@builtin(local_invocation_index) local_index: u32, @builtin(workgroup_id) workgroup_id: vec3u) {
  let seq = scalars.seq;
  let heads = scalars.heads;
  let kvHeads = scalars.kvHeads;
  let capacity = scalars.capacity;
  let qStride = scalars.qStride;
  let keyStride = scalars.keyStride;
  let valueStride = scalars.valueStride;
  let scale = scalars.scale;
  let local = i32(local_index);
  let together = heads / kvHeads;
  let batch = i32(workgroup_id.y) / kvHeads;
  let kvHead = i32(workgroup_id.y) % kvHeads;
  let base = slots[batch] * capacity;
  let firstQuery = i32(workgroup_id.x) * 4;
  let allQueries = seq * together;
  let at = firstQuery + 3;
  var length = select(allQueries - 1, at, at < allQueries) / together + 1;
  if (local == 0) {
    let at_1 = firstQuery + 3;
    let t = select(allQueries - 1, at_1, at_1 < allQueries) / together;
    let seen = positions[batch] + t + 1;
    let atLeastOne = select(seen, 1, seen < 1);
    common_[0] = select(capacity, atLeastOne, atLeastOne < capacity);
  }
  let common_1 = workgroupUniformLoad(&common_[0]);
  length = common_1;
  var acc_0 = 0.0;
  var acc_1 = 0.0;
  var acc_2 = 0.0;
  var acc_3 = 0.0;
  for (var query = local; query < 4; query += 32) {
    largest[query] = -3.4e+38;
    sums[query] = 0.0;
  }
  for (var start = 0; start < length; start += 8) {
    let count = select(8, length - start, length - start < 8);
    var acc_0_1 = 0.0;
    for (var start_1 = 0; start_1 < 16; start_1 += 16) {
      for (var i = i32(local_index); i < 16; i += 32) {
        let line = i >> 2u;
        let quarter = i & 3;
        let index = line * 5 + quarter;
        var four_0 = 0.0;
        var four_1 = 0.0;
        var four_2 = 0.0;
        var four_3 = 0.0;
        let i_1 = start_1 + 4 * quarter;
        let i_2 = select(15, i_1, i_1 < 16);
        let at_2 = firstQuery + line;
        four_0 = select(0.0, q[(batch * seq + select(allQueries - 1, at_2, at_2 < allQueries) / together) * qStride + (kvHead * together + (firstQuery + line) % together) * 16 + i_2], i_1 < 16);
        let i_3 = start_1 + 4 * quarter + 1;
        let i_4 = select(15, i_3, i_3 < 16);
        let at_3 = firstQuery + line;
        four_1 = select(0.0, q[(batch * seq + select(allQueries - 1, at_3, at_3 < allQueries) / together) * qStride + (kvHead * together + (firstQuery + line) % together) * 16 + i_4], i_3 < 16);
        let i_5 = start_1 + 4 * quarter + 2;
        let i_6 = select(15, i_5, i_5 < 16);
        let at_4 = firstQuery + line;
        four_2 = select(0.0, q[(batch * seq + select(allQueries - 1, at_4, at_4 < allQueries) / together) * qStride + (kvHead * together + (firstQuery + line) % together) * 16 + i_6], i_5 < 16);
        let i_7 = start_1 + 4 * quarter + 3;
        let i_8 = select(15, i_7, i_7 < 16);
        let at_5 = firstQuery + line;
        four_3 = select(0.0, q[(batch * seq + select(allQueries - 1, at_5, at_5 < allQueries) / together) * qStride + (kvHead * together + (firstQuery + line) % together) * 16 + i_8], i_7 < 16);
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
        let i_10 = start_1 + 4 * quarter_1;
        let i_11 = select(15, i_10, i_10 < 16);
        four_0_1 = select(0.0, keys[(base + start + select(count - 1, line_1, line_1 < count)) * keyStride + kvHead * 16 + i_11], i_10 < 16);
        let i_12 = start_1 + 4 * quarter_1 + 1;
        let i_13 = select(15, i_12, i_12 < 16);
        four_1_1 = select(0.0, keys[(base + start + select(count - 1, line_1, line_1 < count)) * keyStride + kvHead * 16 + i_13], i_12 < 16);
        let i_14 = start_1 + 4 * quarter_1 + 2;
        let i_15 = select(15, i_14, i_14 < 16);
        four_2_1 = select(0.0, keys[(base + start + select(count - 1, line_1, line_1 < count)) * keyStride + kvHead * 16 + i_15], i_14 < 16);
        let i_16 = start_1 + 4 * quarter_1 + 3;
        let i_17 = select(15, i_16, i_16 < 16);
        four_3_1 = select(0.0, keys[(base + start + select(count - 1, line_1, line_1 < count)) * keyStride + kvHead * 16 + i_17], i_16 < 16);
        stagedColumns[index_1] = vec4u(bitcast<u32>(four_0_1), bitcast<u32>(four_1_1), bitcast<u32>(four_2_1), bitcast<u32>(four_3_1));
      }
      workgroupBarrier();
      let zero = vec4u(0u, 0u, 0u, 0u);
      let row = i32(local_index) / 8;
      let column = i32(local_index) % 8;
      var rows_0 = zero;
      var columns_0 = zero;
      for (var quarter_2 = 0; quarter_2 < 4; quarter_2++) {
        rows_0 = stagedRows[row * 5 + quarter_2];
        columns_0 = stagedColumns[column * 5 + quarter_2];
        let left = bitcast<f32>(rows_0.x);
        acc_0_1 += left * bitcast<f32>(columns_0.x);
        let left_1 = bitcast<f32>(rows_0.y);
        acc_0_1 += left_1 * bitcast<f32>(columns_0.y);
        let left_2 = bitcast<f32>(rows_0.z);
        acc_0_1 += left_2 * bitcast<f32>(columns_0.z);
        let left_3 = bitcast<f32>(rows_0.w);
        acc_0_1 += left_3 * bitcast<f32>(columns_0.w);
      }
      workgroupBarrier();
    }
    let row_1 = i32(local_index) / 8;
    let column_1 = i32(local_index) % 8;
    let score = acc_0_1;
    scores[row_1 * 9 + column_1] = score * scale;
    workgroupBarrier();
    for (var query_1 = local; query_1 < 4; query_1 += 32) {
      let at_6 = firstQuery + query_1;
      let t_1 = select(allQueries - 1, at_6, at_6 < allQueries) / together;
      let seen_1 = positions[batch] + t_1 + 1;
      let atLeastOne_1 = select(seen_1, 1, seen_1 < 1);
      let visible = select(capacity, atLeastOne_1, atLeastOne_1 < capacity) - start;
      let from_ = query_1 * 9;
      let before = largest[query_1];
      var now = before;
      for (var key = 0; key < count; key++) {
        if (key < visible) {
          now = maximum(now, scores[from_ + key]);
        }
      }
      let exp = math_exp(before - now);
      let factor = exp;
      var sum = sums[query_1] * factor;
      for (var key_1 = 0; key_1 < count; key_1++) {
        var weight = 0.0;
        if (key_1 < visible) {
          let exp_1 = math_exp(scores[from_ + key_1] - now);
          weight = exp_1;
        }
        scores[from_ + key_1] = weight;
        sum += weight;
      }
      largest[query_1] = now;
      sums[query_1] = sum;
      factors[query_1] = factor;
    }
    workgroupBarrier();
    acc_0 *= factors[0];
    acc_1 *= factors[1];
    acc_2 *= factors[2];
    acc_3 *= factors[3];
    for (var key_2 = 0; key_2 < count; key_2++) {
      let from_1 = (base + start + key_2) * valueStride + kvHead * 16;
      let i_18 = local;
      let value = values[from_1 + select(15, i_18, i_18 < 16)];
      acc_0 += scores[key_2] * value;
      acc_1 += scores[9 + key_2] * value;
      acc_2 += scores[18 + key_2] * value;
      acc_3 += scores[27 + key_2] * value;
    }
  }
  if (firstQuery < allQueries) {
    let at_7 = firstQuery;
    let to = ((batch * seq + select(allQueries - 1, at_7, at_7 < allQueries) / together) * heads + (kvHead * together + firstQuery % together)) * 16;
    let i_19 = local;
    if (i_19 < 16) {
      out[to + i_19] = acc_0 / sums[0];
    }
  }
  if (firstQuery + 1 < allQueries) {
    let at_8 = firstQuery + 1;
    let to_1 = ((batch * seq + select(allQueries - 1, at_8, at_8 < allQueries) / together) * heads + (kvHead * together + (firstQuery + 1) % together)) * 16;
    let i_20 = local;
    if (i_20 < 16) {
      out[to_1 + i_20] = acc_1 / sums[1];
    }
  }
  if (firstQuery + 2 < allQueries) {
    let at_9 = firstQuery + 2;
    let to_2 = ((batch * seq + select(allQueries - 1, at_9, at_9 < allQueries) / together) * heads + (kvHead * together + (firstQuery + 2) % together)) * 16;
    let i_21 = local;
    if (i_21 < 16) {
      out[to_2 + i_21] = acc_2 / sums[2];
    }
  }
  if (firstQuery + 3 < allQueries) {
    let at_10 = firstQuery + 3;
    let to_3 = ((batch * seq + select(allQueries - 1, at_10, at_10 < allQueries) / together) * heads + (kvHead * together + (firstQuery + 3) % together)) * 16;
    let i_22 = local;
    if (i_22 < 16) {
      out[to_3 + i_22] = acc_3 / sums[3];
    }
  }
}
