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
@group(0) @binding(4) var<storage, read> statistics: array<vec4u>;
@group(0) @binding(5) var<storage, read_write> dk: array<f32>;
@group(0) @binding(6) var<storage, read_write> dv: array<f32>;
@group(0) @binding(7) var<uniform> scalars: Scalars;
var<workgroup> scores: array<f32, 36>;
var<workgroup> slopes: array<f32, 36>;
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

// dk = sum ds * q and dv = sum p * g over the queries that see a key.
@compute @workgroup_size(32)
fn attentionKeyGradient(
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
  let firstKey = i32(workgroup_id.x) * 8;
  var keySums_0 = 0.0;
  var keySums_1 = 0.0;
  var keySums_2 = 0.0;
  var keySums_3 = 0.0;
  var keySums_4 = 0.0;
  var keySums_5 = 0.0;
  var keySums_6 = 0.0;
  var keySums_7 = 0.0;
  var valueSums_0 = 0.0;
  var valueSums_1 = 0.0;
  var valueSums_2 = 0.0;
  var valueSums_3 = 0.0;
  var valueSums_4 = 0.0;
  var valueSums_5 = 0.0;
  var valueSums_6 = 0.0;
  var valueSums_7 = 0.0;
  for (var start = firstKey * together; start < queries; start += 4) {
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
        let query = start + line;
        let known = select(queries - 1, query, query < queries);
        let t = known / together;
        four_0 = select(0.0, q[(batch * seq + t) * qStride + (kvHead * together + known - t * together) * dim + i_2], i_1 < dim);
        let i_3 = start_1 + 4 * quarter + 1;
        let i_4 = select(dim - 1, i_3, i_3 < dim);
        let query_1 = start + line;
        let known_1 = select(queries - 1, query_1, query_1 < queries);
        let t_1 = known_1 / together;
        four_1 = select(0.0, q[(batch * seq + t_1) * qStride + (kvHead * together + known_1 - t_1 * together) * dim + i_4], i_3 < dim);
        let i_5 = start_1 + 4 * quarter + 2;
        let i_6 = select(dim - 1, i_5, i_5 < dim);
        let query_2 = start + line;
        let known_2 = select(queries - 1, query_2, query_2 < queries);
        let t_2 = known_2 / together;
        four_2 = select(0.0, q[(batch * seq + t_2) * qStride + (kvHead * together + known_2 - t_2 * together) * dim + i_6], i_5 < dim);
        let i_7 = start_1 + 4 * quarter + 3;
        let i_8 = select(dim - 1, i_7, i_7 < dim);
        let query_3 = start + line;
        let known_3 = select(queries - 1, query_3, query_3 < queries);
        let t_3 = known_3 / together;
        four_3 = select(0.0, q[(batch * seq + t_3) * qStride + (kvHead * together + known_3 - t_3 * together) * dim + i_8], i_7 < dim);
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
        let key = firstKey + line_1;
        four_0_1 = select(0.0, keys[(batch * seq + select(seq - 1, key, key < seq)) * keyStride + kvHead * dim + i_11], i_10 < dim);
        let i_12 = start_1 + 4 * quarter_1 + 1;
        let i_13 = select(dim - 1, i_12, i_12 < dim);
        let key_1 = firstKey + line_1;
        four_1_1 = select(0.0, keys[(batch * seq + select(seq - 1, key_1, key_1 < seq)) * keyStride + kvHead * dim + i_13], i_12 < dim);
        let i_14 = start_1 + 4 * quarter_1 + 2;
        let i_15 = select(dim - 1, i_14, i_14 < dim);
        let key_2 = firstKey + line_1;
        four_2_1 = select(0.0, keys[(batch * seq + select(seq - 1, key_2, key_2 < seq)) * keyStride + kvHead * dim + i_15], i_14 < dim);
        let i_16 = start_1 + 4 * quarter_1 + 3;
        let i_17 = select(dim - 1, i_16, i_16 < dim);
        let key_3 = firstKey + line_1;
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
        let query_4 = start + line_2;
        let known_4 = select(queries - 1, query_4, query_4 < queries);
        let t_4 = known_4 / together;
        four_0_2 = select(0.0, g[(batch * seq + t_4) * gStride + (kvHead * together + known_4 - t_4 * together) * dim + i_20], i_19 < dim);
        let i_21 = start_2 + 4 * quarter_3 + 1;
        let i_22 = select(dim - 1, i_21, i_21 < dim);
        let query_5 = start + line_2;
        let known_5 = select(queries - 1, query_5, query_5 < queries);
        let t_5 = known_5 / together;
        four_1_2 = select(0.0, g[(batch * seq + t_5) * gStride + (kvHead * together + known_5 - t_5 * together) * dim + i_22], i_21 < dim);
        let i_23 = start_2 + 4 * quarter_3 + 2;
        let i_24 = select(dim - 1, i_23, i_23 < dim);
        let query_6 = start + line_2;
        let known_6 = select(queries - 1, query_6, query_6 < queries);
        let t_6 = known_6 / together;
        four_2_2 = select(0.0, g[(batch * seq + t_6) * gStride + (kvHead * together + known_6 - t_6 * together) * dim + i_24], i_23 < dim);
        let i_25 = start_2 + 4 * quarter_3 + 3;
        let i_26 = select(dim - 1, i_25, i_25 < dim);
        let query_7 = start + line_2;
        let known_7 = select(queries - 1, query_7, query_7 < queries);
        let t_7 = known_7 / together;
        four_3_2 = select(0.0, g[(batch * seq + t_7) * gStride + (kvHead * together + known_7 - t_7 * together) * dim + i_26], i_25 < dim);
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
        let key_4 = firstKey + line_3;
        four_0_3 = select(0.0, values[(batch * seq + select(seq - 1, key_4, key_4 < seq)) * valueStride + kvHead * dim + i_29], i_28 < dim);
        let i_30 = start_2 + 4 * quarter_4 + 1;
        let i_31 = select(dim - 1, i_30, i_30 < dim);
        let key_5 = firstKey + line_3;
        four_1_3 = select(0.0, values[(batch * seq + select(seq - 1, key_5, key_5 < seq)) * valueStride + kvHead * dim + i_31], i_30 < dim);
        let i_32 = start_2 + 4 * quarter_4 + 2;
        let i_33 = select(dim - 1, i_32, i_32 < dim);
        let key_6 = firstKey + line_3;
        four_2_3 = select(0.0, values[(batch * seq + select(seq - 1, key_6, key_6 < seq)) * valueStride + kvHead * dim + i_33], i_32 < dim);
        let i_34 = start_2 + 4 * quarter_4 + 3;
        let i_35 = select(dim - 1, i_34, i_34 < dim);
        let key_7 = firstKey + line_3;
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
    for (var pair = i32(local_index); pair < 32; pair += 32) {
      let query_8 = start + pair / 8;
      let key_8 = firstKey + pair % 8;
      let place = pair / 8 * 9 + pair % 8;
      let known_8 = select(queries - 1, query_8, query_8 < queries);
      let t_8 = known_8 / together;
      let known_9 = statistics[(batch * seq + t_8) * heads + (kvHead * together + known_8 - t_8 * together)];
      let exp = math_exp(scores[place] - bitcast<f32>(known_9.x));
      let p = exp * bitcast<f32>(known_9.y);
      let ds = scale * (p * (slopes[place] - bitcast<f32>(known_9.z) - bitcast<f32>(known_9.w)));
      let seen = query_8 < queries && key_8 <= query_8 / together;
      scores[place] = select(0.0, p, seen);
      slopes[place] = select(0.0, ds, seen);
    }
    workgroupBarrier();
    let count = select(4, queries - start, queries - start < 4);
    for (var query_9 = 0; query_9 < count; query_9++) {
      let query_10 = start + query_9;
      let known_10 = select(queries - 1, query_10, query_10 < queries);
      let t_9 = known_10 / together;
      let fromQuery = (batch * seq + t_9) * qStride + (kvHead * together + known_10 - t_9 * together) * dim;
      let query_11 = start + query_9;
      let known_11 = select(queries - 1, query_11, query_11 < queries);
      let t_10 = known_11 / together;
      let fromGradient = (batch * seq + t_10) * gStride + (kvHead * together + known_11 - t_10 * together) * dim;
      let i_36 = i32(local_index);
      let value = q[fromQuery + select(dim - 1, i_36, i_36 < dim)];
      let gradient = g[fromGradient + select(dim - 1, i_36, i_36 < dim)];
      keySums_0 += slopes[query_9 * 9] * value;
      valueSums_0 += scores[query_9 * 9] * gradient;
      keySums_1 += slopes[query_9 * 9 + 1] * value;
      valueSums_1 += scores[query_9 * 9 + 1] * gradient;
      keySums_2 += slopes[query_9 * 9 + 2] * value;
      valueSums_2 += scores[query_9 * 9 + 2] * gradient;
      keySums_3 += slopes[query_9 * 9 + 3] * value;
      valueSums_3 += scores[query_9 * 9 + 3] * gradient;
      keySums_4 += slopes[query_9 * 9 + 4] * value;
      valueSums_4 += scores[query_9 * 9 + 4] * gradient;
      keySums_5 += slopes[query_9 * 9 + 5] * value;
      valueSums_5 += scores[query_9 * 9 + 5] * gradient;
      keySums_6 += slopes[query_9 * 9 + 6] * value;
      valueSums_6 += scores[query_9 * 9 + 6] * gradient;
      keySums_7 += slopes[query_9 * 9 + 7] * value;
      valueSums_7 += scores[query_9 * 9 + 7] * gradient;
    }
  }
  if (firstKey < seq) {
    let stride = kvHeads * dim;
    let to = (batch * seq + select(seq - 1, firstKey, firstKey < seq)) * stride + kvHead * dim;
    let i_37 = i32(local_index);
    if (i_37 < dim) {
      dk[to + i_37] = keySums_0;
      dv[to + i_37] = valueSums_0;
    }
  }
  if (firstKey + 1 < seq) {
    let key_9 = firstKey + 1;
    let stride_1 = kvHeads * dim;
    let to_1 = (batch * seq + select(seq - 1, key_9, key_9 < seq)) * stride_1 + kvHead * dim;
    let i_38 = i32(local_index);
    if (i_38 < dim) {
      dk[to_1 + i_38] = keySums_1;
      dv[to_1 + i_38] = valueSums_1;
    }
  }
  if (firstKey + 2 < seq) {
    let key_10 = firstKey + 2;
    let stride_2 = kvHeads * dim;
    let to_2 = (batch * seq + select(seq - 1, key_10, key_10 < seq)) * stride_2 + kvHead * dim;
    let i_39 = i32(local_index);
    if (i_39 < dim) {
      dk[to_2 + i_39] = keySums_2;
      dv[to_2 + i_39] = valueSums_2;
    }
  }
  if (firstKey + 3 < seq) {
    let key_11 = firstKey + 3;
    let stride_3 = kvHeads * dim;
    let to_3 = (batch * seq + select(seq - 1, key_11, key_11 < seq)) * stride_3 + kvHead * dim;
    let i_40 = i32(local_index);
    if (i_40 < dim) {
      dk[to_3 + i_40] = keySums_3;
      dv[to_3 + i_40] = valueSums_3;
    }
  }
  if (firstKey + 4 < seq) {
    let key_12 = firstKey + 4;
    let stride_4 = kvHeads * dim;
    let to_4 = (batch * seq + select(seq - 1, key_12, key_12 < seq)) * stride_4 + kvHead * dim;
    let i_41 = i32(local_index);
    if (i_41 < dim) {
      dk[to_4 + i_41] = keySums_4;
      dv[to_4 + i_41] = valueSums_4;
    }
  }
  if (firstKey + 5 < seq) {
    let key_13 = firstKey + 5;
    let stride_5 = kvHeads * dim;
    let to_5 = (batch * seq + select(seq - 1, key_13, key_13 < seq)) * stride_5 + kvHead * dim;
    let i_42 = i32(local_index);
    if (i_42 < dim) {
      dk[to_5 + i_42] = keySums_5;
      dv[to_5 + i_42] = valueSums_5;
    }
  }
  if (firstKey + 6 < seq) {
    let key_14 = firstKey + 6;
    let stride_6 = kvHeads * dim;
    let to_6 = (batch * seq + select(seq - 1, key_14, key_14 < seq)) * stride_6 + kvHead * dim;
    let i_43 = i32(local_index);
    if (i_43 < dim) {
      dk[to_6 + i_43] = keySums_6;
      dv[to_6 + i_43] = valueSums_6;
    }
  }
  if (firstKey + 7 < seq) {
    let key_15 = firstKey + 7;
    let stride_7 = kvHeads * dim;
    let to_7 = (batch * seq + select(seq - 1, key_15, key_15 < seq)) * stride_7 + kvHead * dim;
    let i_44 = i32(local_index);
    if (i_44 < dim) {
      dk[to_7 + i_44] = keySums_7;
      dv[to_7 + i_44] = valueSums_7;
    }
  }
}
