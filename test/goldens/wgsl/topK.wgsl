struct Scalars {
  rows: i32,
  candidates: i32,
  stride: i32,
  chunk: i32,
  count: i32,
}

@group(0) @binding(0) var<storage, read> values: array<f32>;
@group(0) @binding(1) var<storage, read_write> outValues: array<f32>;
@group(0) @binding(2) var<storage, read_write> outIndices: array<i32>;
@group(0) @binding(3) var<uniform> scalars: Scalars;
var<workgroup> keys: array<u32, 32>;
var<workgroup> ids: array<i32, 32>;

// The `count` largest of each chunk of a row's candidates, in descending order, the lower index
// first of equals (0 and -0 are equal) and NaN above all; count 1 is argmax.
@compute @workgroup_size(32)
fn topK(
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(num_workgroups) num_workgroups: vec3u,
  @builtin(local_invocation_index) local_index: u32,
) {
  let rows = scalars.rows;
  let candidates = scalars.candidates;
  let stride = scalars.stride;
  let chunk = scalars.chunk;
  let count = scalars.count;
  let chunks = (candidates + chunk - 1) / chunk;
  for (var item = i32(workgroup_id.x); item < rows * chunks; item += i32(num_workgroups.x)) {
    let row = item / chunks;
    let first = item % chunks * chunk;
    let last = select(candidates, first + chunk, first + chunk < candidates);
    let out = item * count;
    var winnerKey = 0xffffffffu;
    var winnerIndex = -1;
    var bestKey = 0u;
    var bestIndex = 0;
    var stale = true;
    for (var round_ = 0; round_ < count; round_++) {
      if (stale) {
        bestKey = 0u;
        bestIndex = 2147483647;
        for (var at = first + i32(local_index); at < last; at += 32) {
          let value = values[row * stride + at];
          let word = bitcast<u32>(value);
          let magnitude = word & 0x7fffffffu;
          let negative = word > 0x80000000u;
          let key = select((magnitude | 0x80000000u), 0xffffffffu - word, negative);
          let key_1 = select(key, 0xffffffffu, magnitude > 0x7f800000u);
          let index = at;
          let left = key_1 < winnerKey || (key_1 == winnerKey && index > winnerIndex);
          let better = key_1 > bestKey || (key_1 == bestKey && index < bestIndex);
          if (index >= 0 && left && better) {
            bestKey = key_1;
            bestIndex = index;
          }
        }
      }
      let value_1 = bestKey;
      let local = i32(local_index);
      keys[local] = value_1;
      workgroupBarrier();
      for (var distance = 16; distance > 0; distance = distance >> 1u) {
        if (local < distance) {
          let value_2 = keys[local];
          let value_3 = keys[local + distance];
          keys[local] = select(value_3, value_2, value_2 > value_3);
        }
        workgroupBarrier();
      }
      let total = keys[0];
      workgroupBarrier();
      winnerKey = total;
      let mine = select(-2147483648, -bestIndex, bestKey == winnerKey);
      let local_1 = i32(local_index);
      ids[local_1] = mine;
      workgroupBarrier();
      for (var distance_1 = 16; distance_1 > 0; distance_1 = distance_1 >> 1u) {
        if (local_1 < distance_1) {
          let value_4 = ids[local_1];
          let value_5 = ids[local_1 + distance_1];
          ids[local_1] = select(value_5, value_4, value_4 > value_5);
        }
        workgroupBarrier();
      }
      let total_1 = ids[0];
      workgroupBarrier();
      winnerIndex = -total_1;
      stale = bestKey == winnerKey && bestIndex == winnerIndex;
      if (i32(local_index) == 0) {
        let found = winnerKey != 0u;
        outIndices[out + round_] = select(-1, winnerIndex, found);
        let key_2 = winnerKey;
        outValues[out + round_] = bitcast<f32>(select(0u, select(0xffffffffu - key_2, (key_2 & 0x7fffffffu), key_2 >= 0x80000000u), found));
      }
    }
  }
}
