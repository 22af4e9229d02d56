struct Scalars {
  rows: i32,
  k: i32,
  xStride: i32,
}

@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<uniform> scalars: Scalars;
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
fn math_exp(x_: f32) -> f32 {
  if ((bitcast<u32>(x_) & 0x7fffffffu) > 0x7f800000u) {
    return x_;
  }
  let clamped = maximum(minimum(x_, 89.0), -104.0);
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

// Softmax of rows:
@compute @workgroup_size(32)
fn softmax(
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(num_workgroups) num_workgroups: vec3u,
  @builtin(local_invocation_index) local_index: u32,
) {
  let rows = scalars.rows;
  let k = scalars.k;
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
    var largest = -3.4e+38;
    let column_4 = 4 * i32(local_index);
    if (column_4 < k) {
      if (column_4 < k) {
        largest = maximum(largest, held_0);
      }
      if (column_4 + 1 < k) {
        let column_ = column_4 + 1;
        largest = maximum(largest, held_1);
      }
      if (column_4 + 2 < k) {
        let column_1_ = column_4 + 2;
        largest = maximum(largest, held_2);
      }
      if (column_4 + 3 < k) {
        let column_2_ = column_4 + 3;
        largest = maximum(largest, held_3);
      }
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
    let column_5 = 4 * i32(local_index);
    if (column_5 < k) {
      if (column_5 < k) {
        let exp = math_exp(held_0 - largest);
        held_0 = exp;
        sum += held_0;
      }
      if (column_5 + 1 < k) {
        let column_3_ = column_5 + 1;
        let exp_1 = math_exp(held_1 - largest);
        held_1 = exp_1;
        sum += held_1;
      }
      if (column_5 + 2 < k) {
        let column_4_ = column_5 + 2;
        let exp_2 = math_exp(held_2 - largest);
        held_2 = exp_2;
        sum += held_2;
      }
      if (column_5 + 3 < k) {
        let column_5_ = column_5 + 3;
        let exp_3 = math_exp(held_3 - largest);
        held_3 = exp_3;
        sum += held_3;
      }
    }
    let value_3 = sum;
    let local_1 = i32(local_index);
    slots[local_1] = value_3;
    workgroupBarrier();
    for (var distance_1 = 16; distance_1 > 0; distance_1 = distance_1 >> 1u) {
      if (local_1 < distance_1) {
        let value_4 = slots[local_1];
        let value_5 = slots[local_1 + distance_1];
        slots[local_1] = value_4 + value_5;
      }
      workgroupBarrier();
    }
    let total_1 = slots[0];
    workgroupBarrier();
    let inverse = 1.0 / total_1;
    let column_6 = 4 * i32(local_index);
    if (column_6 < k) {
      if (column_6 < k) {
        out[row * k + column_6] = held_0 * inverse;
      }
      if (column_6 + 1 < k) {
        let column_7 = column_6 + 1;
        out[row * k + column_7] = held_1 * inverse;
      }
      if (column_6 + 2 < k) {
        let column_8 = column_6 + 2;
        out[row * k + column_8] = held_2 * inverse;
      }
      if (column_6 + 3 < k) {
        let column_9 = column_6 + 3;
        out[row * k + column_9] = held_3 * inverse;
      }
    }
  }
}
