struct Scalars {
  seq: i32,
  heads: i32,
  kvHeads: i32,
  dim: i32,
  qStride: i32,
  keyStride: i32,
  valueStride: i32,
  gStride: i32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> keys: array<f32>;
@group(0) @binding(2) var<storage, read> values: array<f32>;
@group(0) @binding(3) var<storage, read> g: array<f32>;
@group(0) @binding(4) var<storage, read_write> statistics: array<vec4u>;
@group(0) @binding(5) var<uniform> scalars: Scalars;
var<workgroup> scores: array<f32, 36>;
var<workgroup> slopes: array<f32, 36>;
var<workgroup> largest: array<f32, 4>;
var<workgroup> sums: array<f32, 4>;
var<workgroup> references: array<f32, 4>;
var<workgroup> relative: array<f32, 4>;
var<workgroup> stagedRows: array<vec4u, 20>;
var<workgroup> stagedColumns: array<vec4u, 40>;
var<workgroup> stagedRows_1: array<vec4u, 20>;
var<workgroup> stagedColumns_1: array<vec4u, 40>;

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

// What the other two kernels need of each query:
@compute @workgroup_size(32)
fn attentionStatistics(
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(local_invocation_index) local_index: u32,
) {
  let seq = scalars.seq;
  let heads = scalars.heads;
  let kvHeads = scalars.kvHeads;
  let dim = scalars.dim;
  let qStride = scalars.qStride;
  let keyStride = scalars.keyStride;
  let valueStride = scalars.valueStride;
  let gStride = scalars.gStride;
  let scale = scalars.scale;
  let together = heads / kvHeads;
  let queries = seq * together;
  let batch = i32(workgroup_id.y) / kvHeads;
  let kvHead = i32(workgroup_id.y) - batch * kvHeads;
  let firstQuery = i32(workgroup_id.x) * 4;
  for (var query = i32(local_index); query < 4; query += 32) {
    largest[query] = -3.4e+38;
    sums[query] = 0.0;
    references[query] = 0.0;
    relative[query] = 0.0;
  }
  let known = select(queries - 1, firstQuery + 3, firstQuery + 3 < queries);
  let length = known / together + 1;
  for (var start = 0; start < length; start += 8) {
    var acc_0 = 0.0;
    for (var start_1 = 0; start_1 < dim; start_1 += 16) {
      for (var i = i32(local_index); i < 16; i += 32) {
        let line = i >> 2u;
        let quarter = i & 3;
        let index = line * 5 + quarter;
        var four_0 = 0.0;
        var four_1 = 0.0;
        var four_2 = 0.0;
        var four_3 = 0.0;
        let i_1 = start_1 + 4 * quarter;
        let i_2 = select(dim - 1, i_1, i_1 < dim);
        let query_1 = firstQuery + line;
        let known_1 = select(queries - 1, query_1, query_1 < queries);
        let t = known_1 / together;
        four_0 = select(0.0, q[(batch * seq + t) * qStride + (kvHead * together + known_1 - t * together) * dim + i_2], i_1 < dim);
        let i_3 = start_1 + 4 * quarter + 1;
        let i_4 = select(dim - 1, i_3, i_3 < dim);
        let query_2 = firstQuery + line;
        let known_2 = select(queries - 1, query_2, query_2 < queries);
        let t_1 = known_2 / together;
        four_1 = select(0.0, q[(batch * seq + t_1) * qStride + (kvHead * together + known_2 - t_1 * together) * dim + i_4], i_3 < dim);
        let i_5 = start_1 + 4 * quarter + 2;
        let i_6 = select(dim - 1, i_5, i_5 < dim);
        let query_3 = firstQuery + line;
        let known_3 = select(queries - 1, query_3, query_3 < queries);
        let t_2 = known_3 / together;
        four_2 = select(0.0, q[(batch * seq + t_2) * qStride + (kvHead * together + known_3 - t_2 * together) * dim + i_6], i_5 < dim);
        let i_7 = start_1 + 4 * quarter + 3;
        let i_8 = select(dim - 1, i_7, i_7 < dim);
        let query_4 = firstQuery + line;
        let known_4 = select(queries - 1, query_4, query_4 < queries);
        let t_3 = known_4 / together;
        four_3 = select(0.0, q[(batch * seq + t_3) * qStride + (kvHead * together + known_4 - t_3 * together) * dim + i_8], i_7 < dim);
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
        let i_11 = select(dim - 1, i_10, i_10 < dim);
        let key = start + line_1;
        four_0_1 = select(0.0, keys[(batch * seq + select(seq - 1, key, key < seq)) * keyStride + kvHead * dim + i_11], i_10 < dim);
        let i_12 = start_1 + 4 * quarter_1 + 1;
        let i_13 = select(dim - 1, i_12, i_12 < dim);
        let key_1 = start + line_1;
        four_1_1 = select(0.0, keys[(batch * seq + select(seq - 1, key_1, key_1 < seq)) * keyStride + kvHead * dim + i_13], i_12 < dim);
        let i_14 = start_1 + 4 * quarter_1 + 2;
        let i_15 = select(dim - 1, i_14, i_14 < dim);
        let key_2 = start + line_1;
        four_2_1 = select(0.0, keys[(batch * seq + select(seq - 1, key_2, key_2 < seq)) * keyStride + kvHead * dim + i_15], i_14 < dim);
        let i_16 = start_1 + 4 * quarter_1 + 3;
        let i_17 = select(dim - 1, i_16, i_16 < dim);
        let key_3 = start + line_1;
        four_3_1 = select(0.0, keys[(batch * seq + select(seq - 1, key_3, key_3 < seq)) * keyStride + kvHead * dim + i_17], i_16 < dim);
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
    let row_1 = i32(local_index) / 8;
    let column_1 = i32(local_index) % 8;
    let score = acc_0;
    scores[row_1 * 9 + column_1] = score * scale;
    var acc_0_1 = 0.0;
    for (var start_2 = 0; start_2 < dim; start_2 += 16) {
      for (var i_18 = i32(local_index); i_18 < 16; i_18 += 32) {
        let line_2 = i_18 >> 2u;
        let quarter_3 = i_18 & 3;
        let index_2 = line_2 * 5 + quarter_3;
        var four_0_2 = 0.0;
        var four_1_2 = 0.0;
        var four_2_2 = 0.0;
        var four_3_2 = 0.0;
        let i_19 = start_2 + 4 * quarter_3;
        let i_20 = select(dim - 1, i_19, i_19 < dim);
        let query_5 = firstQuery + line_2;
        let known_5 = select(queries - 1, query_5, query_5 < queries);
        let t_4 = known_5 / together;
        four_0_2 = select(0.0, g[(batch * seq + t_4) * gStride + (kvHead * together + known_5 - t_4 * together) * dim + i_20], i_19 < dim);
        let i_21 = start_2 + 4 * quarter_3 + 1;
        let i_22 = select(dim - 1, i_21, i_21 < dim);
        let query_6 = firstQuery + line_2;
        let known_6 = select(queries - 1, query_6, query_6 < queries);
        let t_5 = known_6 / together;
        four_1_2 = select(0.0, g[(batch * seq + t_5) * gStride + (kvHead * together + known_6 - t_5 * together) * dim + i_22], i_21 < dim);
        let i_23 = start_2 + 4 * quarter_3 + 2;
        let i_24 = select(dim - 1, i_23, i_23 < dim);
        let query_7 = firstQuery + line_2;
        let known_7 = select(queries - 1, query_7, query_7 < queries);
        let t_6 = known_7 / together;
        four_2_2 = select(0.0, g[(batch * seq + t_6) * gStride + (kvHead * together + known_7 - t_6 * together) * dim + i_24], i_23 < dim);
        let i_25 = start_2 + 4 * quarter_3 + 3;
        let i_26 = select(dim - 1, i_25, i_25 < dim);
        let query_8 = firstQuery + line_2;
        let known_8 = select(queries - 1, query_8, query_8 < queries);
        let t_7 = known_8 / together;
        four_3_2 = select(0.0, g[(batch * seq + t_7) * gStride + (kvHead * together + known_8 - t_7 * together) * dim + i_26], i_25 < dim);
        stagedRows_1[index_2] = vec4u(bitcast<u32>(four_0_2), bitcast<u32>(four_1_2), bitcast<u32>(four_2_2), bitcast<u32>(four_3_2));
      }
      for (var i_27 = i32(local_index); i_27 < 32; i_27 += 32) {
        let line_3 = i_27 >> 2u;
        let quarter_4 = i_27 & 3;
        let index_3 = line_3 * 5 + quarter_4;
        var four_0_3 = 0.0;
        var four_1_3 = 0.0;
        var four_2_3 = 0.0;
        var four_3_3 = 0.0;
        let i_28 = start_2 + 4 * quarter_4;
        let i_29 = select(dim - 1, i_28, i_28 < dim);
        let key_4 = start + line_3;
        four_0_3 = select(0.0, values[(batch * seq + select(seq - 1, key_4, key_4 < seq)) * valueStride + kvHead * dim + i_29], i_28 < dim);
        let i_30 = start_2 + 4 * quarter_4 + 1;
        let i_31 = select(dim - 1, i_30, i_30 < dim);
        let key_5 = start + line_3;
        four_1_3 = select(0.0, values[(batch * seq + select(seq - 1, key_5, key_5 < seq)) * valueStride + kvHead * dim + i_31], i_30 < dim);
        let i_32 = start_2 + 4 * quarter_4 + 2;
        let i_33 = select(dim - 1, i_32, i_32 < dim);
        let key_6 = start + line_3;
        four_2_3 = select(0.0, values[(batch * seq + select(seq - 1, key_6, key_6 < seq)) * valueStride + kvHead * dim + i_33], i_32 < dim);
        let i_34 = start_2 + 4 * quarter_4 + 3;
        let i_35 = select(dim - 1, i_34, i_34 < dim);
        let key_7 = start + line_3;
        four_3_3 = select(0.0, values[(batch * seq + select(seq - 1, key_7, key_7 < seq)) * valueStride + kvHead * dim + i_35], i_34 < dim);
        stagedColumns_1[index_3] = vec4u(bitcast<u32>(four_0_3), bitcast<u32>(four_1_3), bitcast<u32>(four_2_3), bitcast<u32>(four_3_3));
      }
      workgroupBarrier();
      let zero_1 = vec4u(0u, 0u, 0u, 0u);
      let row_2 = i32(local_index) / 8;
      let column_2 = i32(local_index) % 8;
      var rows_0_1 = zero_1;
      var columns_0_1 = zero_1;
      for (var quarter_5 = 0; quarter_5 < 4; quarter_5++) {
        rows_0_1 = stagedRows_1[row_2 * 5 + quarter_5];
        columns_0_1 = stagedColumns_1[column_2 * 5 + quarter_5];
        let left_4 = bitcast<f32>(rows_0_1.x);
        acc_0_1 += left_4 * bitcast<f32>(columns_0_1.x);
        let left_5 = bitcast<f32>(rows_0_1.y);
        acc_0_1 += left_5 * bitcast<f32>(columns_0_1.y);
        let left_6 = bitcast<f32>(rows_0_1.z);
        acc_0_1 += left_6 * bitcast<f32>(columns_0_1.z);
        let left_7 = bitcast<f32>(rows_0_1.w);
        acc_0_1 += left_7 * bitcast<f32>(columns_0_1.w);
      }
      workgroupBarrier();
    }
    let row_3 = i32(local_index) / 8;
    let column_3 = i32(local_index) % 8;
    let dp = acc_0_1;
    slopes[row_3 * 9 + column_3] = dp;
    workgroupBarrier();
    for (var query_9 = i32(local_index); query_9 < 4; query_9 += 32) {
      let from_ = query_9 * 9;
      let known_9 = select(queries - 1, firstQuery + query_9, firstQuery + query_9 < queries);
      let left_8 = known_9 / together + 1 - start;
      let count = select(8, left_8, left_8 < 8);
      let before = largest[query_9];
      let referenceBefore = references[query_9];
      var now = before;
      var reference = referenceBefore;
      for (var key_8 = 0; key_8 < count; key_8++) {
        if (scores[from_ + key_8] > now) {
          now = scores[from_ + key_8];
          reference = slopes[from_ + key_8];
        }
      }
      let exp = math_exp(before - now);
      let factor = exp;
      var sum = sums[query_9] * factor;
      var weighted = relative[query_9] * factor + sum * (referenceBefore - reference);
      for (var key_9 = 0; key_9 < count; key_9++) {
        let exp_1 = math_exp(scores[from_ + key_9] - now);
        let weight = exp_1;
        sum += weight;
        weighted += weight * (slopes[from_ + key_9] - reference);
      }
      largest[query_9] = now;
      sums[query_9] = sum;
      references[query_9] = reference;
      relative[query_9] = weighted;
    }
  }
  for (var query_10 = i32(local_index); query_10 < 4; query_10 += 32) {
    if (firstQuery + query_10 < queries) {
      let inverse = 1.0 / sums[query_10];
      let query_11 = firstQuery + query_10;
      let known_10 = select(queries - 1, query_11, query_11 < queries);
      let t_8 = known_10 / together;
      statistics[(batch * seq + t_8) * heads + (kvHead * together + known_10 - t_8 * together)] = vec4u(bitcast<u32>(largest[query_10]), bitcast<u32>(inverse), bitcast<u32>(references[query_10]), bitcast<u32>(relative[query_10] * inverse));
    }
  }
}
