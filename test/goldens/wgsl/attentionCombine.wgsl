struct Scalars {
  batch: i32,
  heads: i32,
  dim: i32,
  splits: i32,
  keys: i32,
  capacity: i32,
}

@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read> positions: array<i32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<uniform> scalars: Scalars;

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

// One element of the output of attention; `index` counts those of [batch, heads, dim].
fn attention_combine_combinedAttention(heads: i32, dim: i32, splits: i32, keys: i32, capacity: i32, index: i32) -> f32 {
  let head = index / dim;
  let batch = head / heads;
  let seen = positions[batch] + 1;
  let atLeastOne = select(seen, 1, seen < 1);
  let visible = select(capacity, atLeastOne, atLeastOne < capacity);
  let used = (visible + keys - 1) / keys;
  let width = dim + 2;
  let first = head * splits * width;
  var largest = -3.4e+38;
  for (var split = 0; split < used; split++) {
    largest = maximum(largest, partials[first + split * width + dim]);
  }
  var sum = 0.0;
  var value = 0.0;
  for (var split_1 = 0; split_1 < used; split_1++) {
    let from_ = first + split_1 * width;
    let exp = math_exp(partials[from_ + dim] - largest);
    let factor = exp;
    sum += factor * partials[from_ + dim + 1];
    value += factor * partials[from_ + index % dim];
  }
  return value / sum;
}

// Brings together what the workgroups of attention-decode found for parts of the keys.
@compute @workgroup_size(32)
fn attentionCombine(
  @builtin(num_workgroups) num_workgroups: vec3u,
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(local_invocation_index) local_index: u32,
) {
  let batch = scalars.batch;
  let heads = scalars.heads;
  let dim = scalars.dim;
  let splits = scalars.splits;
  let keys = scalars.keys;
  let capacity = scalars.capacity;
  let stride = i32(num_workgroups.x) * 32;
  let elements = batch * heads * dim;
  for (var i = i32(workgroup_id.x) * 32 + i32(local_index); i < elements; i += stride) {
    let combinedAttention = attention_combine_combinedAttention(heads, dim, splits, keys, capacity, i);
    out[i] = combinedAttention;
  }
}
