struct Scalars {
  rows: i32,
  k: i32,
  stride: i32,
  ignored: i32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<i32>;
@group(0) @binding(2) var<storage, read_write> loss: array<f32>;
@group(0) @binding(3) var<storage, read_write> logSum: array<f32>;
@group(0) @binding(4) var<uniform> scalars: Scalars;
var<workgroup> slots: array<f32, 32>;

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

// Natural logarithm within 2 ulp; -Infinity at 0, NaN below.
fn math_log(x: f32) -> f32 {
  let word = bitcast<i32>(x);
  if (word == 0 || word == -2147483648) {
    return bitcast<f32>(2139095040 | (word | -2147483648));
  }
  if (word < 0) {
    return bitcast<f32>(word | 2143289344);
  }
  if (word >= 2139095040) {
    return x;
  }
  let tiny = word < 8388608;
  let scaled = bitcast<i32>(select(x, f32(word), tiny));
  let offset = scaled + 4913933;
  let k = f32((offset >> 23u) - 127 - select(0, 149, tiny));
  let f = bitcast<f32>((offset & 8388607) + 1060439283) - 1.0;
  let s = f / (2.0 + f);
  let z = s * s;
  let w = z * z;
  let odd = w * (0.40000972 + w * 0.24279079);
  let even = z * (0.6666666 + w * 0.28498787);
  let halfSquare = 0.5 * (f * f);
  let low = s * (halfSquare + (even + odd)) + k * 0.000009058001;
  return low - halfSquare + f + k * 0.6931381;
}

// Cross-entropy of rows with their targets:
@compute @workgroup_size(32)
fn crossEntropy(
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(num_workgroups) num_workgroups: vec3u,
  @builtin(local_invocation_index) local_index: u32,
) {
  let rows = scalars.rows;
  let k = scalars.k;
  let stride = scalars.stride;
  let ignored = scalars.ignored;
  for (var row = i32(workgroup_id.x); row < rows; row += i32(num_workgroups.x)) {
    let from_ = row * stride;
    var largest = -3.4e+38;
    for (var i = i32(local_index); i < k; i += 32) {
      largest = maximum(largest, logits[from_ + i]);
    }
    let value = largest;
    let local = i32(local_index);
    slots[local] = value;
    workgroupBarrier();
    for (var distance = 16; distance > 0; distance = distance >> 1u) {
      if (local < distance) {
        let value_1 = slots[local];
        let value_2 = slots[local + distance];
        slots[local] = select(value_2, value_1, value_1 > value_2);
      }
      workgroupBarrier();
    }
    let total = slots[0];
    workgroupBarrier();
    largest = total;
    var sum = 0.0;
    for (var i_1 = i32(local_index); i_1 < k; i_1 += 32) {
      let value_3 = sum;
      let exp = math_exp(logits[from_ + i_1] - largest);
      sum = value_3 + exp;
    }
    let value_7 = largest;
    let value_4 = sum;
    let local_1 = i32(local_index);
    slots[local_1] = value_4;
    workgroupBarrier();
    for (var distance_1 = 16; distance_1 > 0; distance_1 = distance_1 >> 1u) {
      if (local_1 < distance_1) {
        let value_5 = slots[local_1];
        let value_6 = slots[local_1 + distance_1];
        slots[local_1] = value_5 + value_6;
      }
      workgroupBarrier();
    }
    let total_1 = slots[0];
    workgroupBarrier();
    let log = math_log(total_1);
    let total_2 = value_7 + log;
    if (i32(local_index) == 0) {
      let target_ = targets[row];
      let known = target_ >= 0 && target_ < k;
      let found = bitcast<u32>(total_2 - logits[from_ + select(0, target_, known)]);
      let cost = bitcast<f32>(select(0x7fc00000u, found, known));
      logSum[row] = total_2;
      loss[row] = select(cost, 0.0, target_ == ignored);
    }
  }
}
