struct Scalars {
  kvHeads: i32,
  capacity: i32,
  length: i32,
  qStride: i32,
  qOffset: i32,
  keyOffset: i32,
  valueOffset: i32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> cos: array<f32>;
@group(0) @binding(2) var<storage, read> sin: array<f32>;
@group(0) @binding(3) var<storage, read_write> keys: array<vec4u>;
@group(0) @binding(4) var<storage, read_write> values: array<vec4u>;
@group(0) @binding(5) var<storage, read> slots: array<i32>;
@group(0) @binding(6) var<storage, read> positions: array<i32>;
@group(0) @binding(7) var<storage, read_write> out: array<f32>;
@group(0) @binding(8) var<uniform> scalars: Scalars;
var<workgroup> queries: array<vec4u, 4>;
var<workgroup> newKey: array<vec4u, 4>;
var<workgroup> newValue: array<vec4u, 4>;
var<workgroup> scores: array<f32, 32>;
var<workgroup> exchange: array<f32, 128>;
var<workgroup> common_: array<i32, 3>;

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

// Causal attention of one new query per sequence over a cache, with grouped queries and softmax in
// f32.
@compute @workgroup_size(32)
fn attentionDecode(
  @builtin(local_invocation_index) local_index: u32,
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(num_workgroups) num_workgroups: vec3u,
) {
  let kvHeads = scalars.kvHeads;
  let capacity = scalars.capacity;
  let length = scalars.length;
  let qStride = scalars.qStride;
  let qOffset = scalars.qOffset;
  let keyOffset = scalars.keyOffset;
  let valueOffset = scalars.valueOffset;
  let scale = scalars.scale;
  let local = i32(local_index);
  let batch = i32(workgroup_id.y) / kvHeads;
  let kvHead = i32(workgroup_id.y) % kvHeads;
  if (local == 0) {
    let seen = positions[batch] + 1;
    let atLeastOne = select(seen, 1, seen < 1);
    common_[0] = select(capacity, atLeastOne, atLeastOne < capacity);
    common_[1] = slots[batch];
    common_[2] = positions[batch];
  }
  let common_1 = workgroupUniformLoad(&common_[0]);
  let visible = common_1;
  let common_2 = workgroupUniformLoad(&common_[1]);
  let slot = common_2;
  let start = i32(workgroup_id.x) * 32;
  if (start < visible) {
    let count = select(32, visible - start, visible - start < 32);
    let rowWords = kvHeads * 4;
    let base = (slot * capacity + start) * rowWords + kvHead * 4;
    let common_3 = workgroupUniformLoad(&common_[2]);
    let position = common_3;
    let row = batch * qStride;
    for (var i = local; i < 4; i += 32) {
      let from_ = row + qOffset + (kvHead + i / 4) * 16;
      let quad = i % 4;
      let e = 4 * quad;
      let pair = select(e - 8, e, e < 8);
      let clamped = select(length - 1, position, position < length);
      let angle = select(clamped, 0, clamped < 0) * 8 + pair;
      let c = cos[angle];
      let s = sin[angle];
      let low = q[from_ + pair];
      let high = q[from_ + pair + 8];
      let e_1 = 4 * quad + 1;
      let pair_1 = select(e_1 - 8, e_1, e_1 < 8);
      let clamped_1 = select(length - 1, position, position < length);
      let angle_1 = select(clamped_1, 0, clamped_1 < 0) * 8 + pair_1;
      let c_1 = cos[angle_1];
      let s_1 = sin[angle_1];
      let low_1 = q[from_ + pair_1];
      let high_1 = q[from_ + pair_1 + 8];
      let e_2 = 4 * quad + 2;
      let pair_2 = select(e_2 - 8, e_2, e_2 < 8);
      let clamped_2 = select(length - 1, position, position < length);
      let angle_2 = select(clamped_2, 0, clamped_2 < 0) * 8 + pair_2;
      let c_2 = cos[angle_2];
      let s_2 = sin[angle_2];
      let low_2 = q[from_ + pair_2];
      let high_2 = q[from_ + pair_2 + 8];
      let e_3 = 4 * quad + 3;
      let pair_3 = select(e_3 - 8, e_3, e_3 < 8);
      let clamped_3 = select(length - 1, position, position < length);
      let angle_3 = select(clamped_3, 0, clamped_3 < 0) * 8 + pair_3;
      let c_3 = cos[angle_3];
      let s_3 = sin[angle_3];
      let low_3 = q[from_ + pair_3];
      let high_3 = q[from_ + pair_3 + 8];
      queries[i] = vec4u(bitcast<u32>(select(high * c + low * s, low * c - high * s, e < 8)), bitcast<u32>(select(high_1 * c_1 + low_1 * s_1, low_1 * c_1 - high_1 * s_1, e_1 < 8)), bitcast<u32>(select(high_2 * c_2 + low_2 * s_2, low_2 * c_2 - high_2 * s_2, e_2 < 8)), bitcast<u32>(select(high_3 * c_3 + low_3 * s_3, low_3 * c_3 - high_3 * s_3, e_3 < 8)));
    }
    let mine = position - start;
    if (mine >= 0 && mine < 32 && position < capacity) {
      for (var i_1 = local; i_1 < 4; i_1 += 32) {
        let e_4 = 4 * i_1;
        let from_1 = row + keyOffset + kvHead * 16;
        let pair_4 = select(e_4 - 8, e_4, e_4 < 8);
        let clamped_4 = select(length - 1, position, position < length);
        let angle_4 = select(clamped_4, 0, clamped_4 < 0) * 8 + pair_4;
        let c_4 = cos[angle_4];
        let s_4 = sin[angle_4];
        let low_4 = q[from_1 + pair_4];
        let high_4 = q[from_1 + pair_4 + 8];
        let e_5 = 4 * i_1 + 1;
        let from_2 = row + keyOffset + kvHead * 16;
        let pair_5 = select(e_5 - 8, e_5, e_5 < 8);
        let clamped_5 = select(length - 1, position, position < length);
        let angle_5 = select(clamped_5, 0, clamped_5 < 0) * 8 + pair_5;
        let c_5 = cos[angle_5];
        let s_5 = sin[angle_5];
        let low_5 = q[from_2 + pair_5];
        let high_5 = q[from_2 + pair_5 + 8];
        let e_6 = 4 * i_1 + 2;
        let from_3 = row + keyOffset + kvHead * 16;
        let pair_6 = select(e_6 - 8, e_6, e_6 < 8);
        let clamped_6 = select(length - 1, position, position < length);
        let angle_6 = select(clamped_6, 0, clamped_6 < 0) * 8 + pair_6;
        let c_6 = cos[angle_6];
        let s_6 = sin[angle_6];
        let low_6 = q[from_3 + pair_6];
        let high_6 = q[from_3 + pair_6 + 8];
        let e_7 = 4 * i_1 + 3;
        let from_4 = row + keyOffset + kvHead * 16;
        let pair_7 = select(e_7 - 8, e_7, e_7 < 8);
        let clamped_7 = select(length - 1, position, position < length);
        let angle_7 = select(clamped_7, 0, clamped_7 < 0) * 8 + pair_7;
        let c_7 = cos[angle_7];
        let s_7 = sin[angle_7];
        let low_7 = q[from_4 + pair_7];
        let high_7 = q[from_4 + pair_7 + 8];
        let key = vec4u(bitcast<u32>(select(high_4 * c_4 + low_4 * s_4, low_4 * c_4 - high_4 * s_4, e_4 < 8)), bitcast<u32>(select(high_5 * c_5 + low_5 * s_5, low_5 * c_5 - high_5 * s_5, e_5 < 8)), bitcast<u32>(select(high_6 * c_6 + low_6 * s_6, low_6 * c_6 - high_6 * s_6, e_6 < 8)), bitcast<u32>(select(high_7 * c_7 + low_7 * s_7, low_7 * c_7 - high_7 * s_7, e_7 < 8)));
        let e_8 = 4 * i_1;
        let e_9 = 4 * i_1 + 1;
        let e_10 = 4 * i_1 + 2;
        let e_11 = 4 * i_1 + 3;
        let value = vec4u(bitcast<u32>(q[row + valueOffset + kvHead * 16 + e_8]), bitcast<u32>(q[row + valueOffset + kvHead * 16 + e_9]), bitcast<u32>(q[row + valueOffset + kvHead * 16 + e_10]), bitcast<u32>(q[row + valueOffset + kvHead * 16 + e_11]));
        newKey[i_1] = key;
        newValue[i_1] = value;
        keys[base + mine * rowWords + i_1] = key;
        values[base + mine * rowWords + i_1] = value;
      }
    }
    workgroupBarrier();
    let lane = local % 4;
    for (var first = 0; first < 32; first += 8) {
      let key_1 = first + local / 4;
      let valid = select(count - 1, key_1, key_1 < count);
      var dots_0 = 0.0;
      for (var quad_1 = lane; quad_1 < 4; quad_1 += 4) {
        var word = newKey[quad_1];
        if (start + valid != position) {
          word = keys[base + valid * rowWords + quad_1];
        }
        let k = word;
        let x = queries[quad_1];
        dots_0 += bitcast<f32>(x.x) * bitcast<f32>(k.x);
        dots_0 += bitcast<f32>(x.y) * bitcast<f32>(k.y);
        dots_0 += bitcast<f32>(x.z) * bitcast<f32>(k.z);
        dots_0 += bitcast<f32>(x.w) * bitcast<f32>(k.w);
      }
      var dot_ = dots_0;
      exchange[local] = dot_;
      workgroupBarrier();
      let from_5 = local - lane;
      dot_ = exchange[from_5] + exchange[from_5 + 1] + (exchange[from_5 + 2] + exchange[from_5 + 3]);
      workgroupBarrier();
      if (lane == 0) {
        scores[key_1] = select(-3.4e+38, dot_ * scale, key_1 < count);
      }
    }
    workgroupBarrier();
    var largest_0 = 0.0;
    var sums_0 = 0.0;
    var most = -3.4e+38;
    for (var key_2 = local; key_2 < count; key_2 += 32) {
      most = maximum(most, scores[key_2]);
    }
    let value_1 = most;
    let local_1 = i32(local_index);
    exchange[local_1] = value_1;
    workgroupBarrier();
    for (var distance = 16; distance > 0; distance = distance >> 1u) {
      if (local_1 < distance) {
        let value_2 = exchange[local_1];
        let value_3 = exchange[local_1 + distance];
        exchange[local_1] = select(value_3, value_2, value_2 > value_3);
      }
      workgroupBarrier();
    }
    let total = exchange[0];
    workgroupBarrier();
    largest_0 = total;
    var sum = 0.0;
    for (var key_3 = local; key_3 < count; key_3 += 32) {
      let exp = math_exp(scores[key_3] - largest_0);
      let weight = exp;
      scores[key_3] = weight;
      sum += weight;
    }
    let value_4 = sum;
    let local_2 = i32(local_index);
    exchange[local_2] = value_4;
    workgroupBarrier();
    for (var distance_1 = 16; distance_1 > 0; distance_1 = distance_1 >> 1u) {
      if (local_2 < distance_1) {
        let value_5 = exchange[local_2];
        let value_6 = exchange[local_2 + distance_1];
        exchange[local_2] = value_5 + value_6;
      }
      workgroupBarrier();
    }
    let total_1 = exchange[0];
    workgroupBarrier();
    sums_0 = total_1;
    let part = local / 4;
    var acc_0 = 0.0;
    var acc_1 = 0.0;
    var acc_2 = 0.0;
    var acc_3 = 0.0;
    if (part < 8) {
      for (var key_4 = part; key_4 < count; key_4 += 8) {
        let quad_2 = local % 4;
        var word_1 = newValue[quad_2];
        if (start + key_4 != position) {
          word_1 = values[base + key_4 * rowWords + quad_2];
        }
        let v = word_1;
        let weight_1 = scores[key_4];
        acc_0 += weight_1 * bitcast<f32>(v.x);
        acc_1 += weight_1 * bitcast<f32>(v.y);
        acc_2 += weight_1 * bitcast<f32>(v.z);
        acc_3 += weight_1 * bitcast<f32>(v.w);
      }
    }
    exchange[4 * local] = acc_0;
    exchange[4 * local + 1] = acc_1;
    exchange[4 * local + 2] = acc_2;
    exchange[4 * local + 3] = acc_3;
    workgroupBarrier();
    let head = batch * kvHeads + kvHead;
    for (var i_2 = local; i_2 < 16; i_2 += 32) {
      var sum_1 = 0.0;
      sum_1 += exchange[i_2];
      sum_1 += exchange[16 + i_2];
      sum_1 += exchange[32 + i_2];
      sum_1 += exchange[48 + i_2];
      sum_1 += exchange[64 + i_2];
      sum_1 += exchange[80 + i_2];
      sum_1 += exchange[96 + i_2];
      sum_1 += exchange[112 + i_2];
      out[(head * i32(num_workgroups.x) + i32(workgroup_id.x)) * 18 + i_2] = sum_1;
    }
    if (local == 0) {
      let end = (head * i32(num_workgroups.x) + i32(workgroup_id.x)) * 18 + 16;
      out[end] = largest_0;
      out[end + 1] = sums_0;
    }
    workgroupBarrier();
  }
}
