struct Scalars {
  rows: i32,
  count: i32,
}

@group(0) @binding(0) var<storage, read> sums: array<vec4u>;
@group(0) @binding(1) var<storage, read_write> scales: array<u32>;
@group(0) @binding(2) var<uniform> scalars: Scalars;
var<workgroup> partials: array<u32, 160>;
var<workgroup> digits: array<u32, 5>;

// One scale from the sums of rows, which every row repeats.
@compute @workgroup_size(32)
fn absmeanTensorScale(@builtin(local_invocation_index) local_index: u32) {
  let rows = scalars.rows;
  let count = scalars.count;
  var largest = 0u;
  for (var i = i32(local_index); i < rows; i += 32) {
    let exponent = sums[i].x;
    largest = select(largest, exponent, exponent > largest);
  }
  let value = largest;
  let local = i32(local_index);
  partials[local] = value;
  workgroupBarrier();
  for (var distance = 16; distance > 0; distance = distance >> 1u) {
    if (local < distance) {
      let value_1 = partials[local];
      let value_2 = partials[local + distance];
      partials[local] = select(value_2, value_1, value_1 > value_2);
    }
    workgroupBarrier();
  }
  let total = partials[0];
  workgroupBarrier();
  largest = total;
  var digits_0 = 0u;
  var digits_1 = 0u;
  var digits_2 = 0u;
  var digits_3 = 0u;
  var digits_4 = 0u;
  for (var start = 0; start < rows; start += 2097152) {
    let end = select(start + 2097152, rows, rows - start < 2097152);
    for (var i_1 = start + i32(local_index); i_1 < end; i_1 += 32) {
      let value_3 = sums[i_1];
      let largest_1 = largest;
      let distance_1 = largest_1 - value_3.x;
      let far = distance_1 >= 32u;
      let upper = select(value_3.y, 0u, far);
      let lower = select(value_3.z, value_3.y, far);
      let shift = distance_1 & 31u;
      let low = (lower >> shift) | ((upper << 1u) << (31u - shift));
      let high = upper >> shift;
      if (distance_1 < 64u) {
        digits_0 += low & 65535u;
        digits_1 += low >> 16u;
        digits_2 += high & 65535u;
        digits_3 += high >> 16u;
      }
    }
    digits_1 += digits_0 >> 16u;
    digits_0 &= 65535u;
    digits_2 += digits_1 >> 16u;
    digits_1 &= 65535u;
    digits_3 += digits_2 >> 16u;
    digits_2 &= 65535u;
    digits_4 += digits_3 >> 16u;
    digits_3 &= 65535u;
  }
  let local_1 = i32(local_index);
  var count_1 = 1;
  let place = local_1;
  partials[place] = digits_0;
  partials[32 + place] = digits_1;
  partials[64 + place] = digits_2;
  partials[96 + place] = digits_3;
  partials[128 + place] = digits_4;
  workgroupBarrier();
  for (var distance_2 = 16; distance_2 > 0; distance_2 = distance_2 >> 1u) {
    if (local_1 < distance_2) {
      let at = place;
      partials[at] = partials[at] + partials[at + distance_2];
      let at_1 = 32 + place;
      partials[at_1] = partials[at_1] + partials[at_1 + distance_2];
      let at_2 = 64 + place;
      partials[at_2] = partials[at_2] + partials[at_2 + distance_2];
      let at_3 = 96 + place;
      partials[at_3] = partials[at_3] + partials[at_3 + distance_2];
      let at_4 = 128 + place;
      partials[at_4] = partials[at_4] + partials[at_4 + distance_2];
    }
    workgroupBarrier();
  }
  for (var o = local_1; o < 5; o += 32) {
    var sum = partials[o * 32];
    for (var part = 1; part < count_1; part++) {
      sum += partials[o * 32 + part];
    }
    let sum_1 = sum;
    digits[o] = sum_1;
  }
  workgroupBarrier();
  digits_0 = digits[0];
  digits_1 = digits[1];
  digits_2 = digits[2];
  digits_3 = digits[3];
  digits_4 = digits[4];
  digits_1 += digits_0 >> 16u;
  digits_0 &= 65535u;
  digits_2 += digits_1 >> 16u;
  digits_1 &= 65535u;
  digits_3 += digits_2 >> 16u;
  digits_2 &= 65535u;
  digits_4 += digits_3 >> 16u;
  digits_3 &= 65535u;
  var exponent_1 = largest;
  var beyond = digits_4;
  var high_1 = (digits_3 << 16u) | digits_2;
  var low_1 = (digits_1 << 16u) | digits_0;
  while (beyond > 0u) {
    low_1 = (low_1 >> 1u) | (high_1 << 31u);
    high_1 = (high_1 >> 1u) | (beyond << 31u);
    beyond = beyond >> 1u;
    exponent_1++;
  }
  let sum_2 = vec4u(exponent_1, high_1, low_1, 0u);
  let divisor = u32(count);
  var high_2 = sum_2.y;
  var low_2 = sum_2.z;
  var rest = 0u;
  var quotient = 0u;
  var steps = 0u;
  while (quotient < 0x02000000u && steps < 64u) {
    rest = (rest << 1u) | (high_2 >> 31u);
    high_2 = (high_2 << 1u) | (low_2 >> 31u);
    low_2 = low_2 << 1u;
    quotient = quotient << 1u;
    if (rest >= divisor) {
      rest -= divisor;
      quotient++;
    }
    steps++;
  }
  let more = select(1u, 0u, (rest | high_2 | low_2) == 0u);
  let up = (quotient >> 1u) & (quotient | (quotient >> 2u) | more) & 1u;
  let mean = ((sum_2.x + 26u - steps) << 23u) + ((quotient >> 2u) - 0x00800000u) + up;
  let isAbove = sum_2.x > 64u && mean > 0x3727c5acu;
  let scale = select(0x7fc00000u, select(0x3727c5acu, mean, isAbove), sum_2.x < 0x00010000u);
  for (var row = i32(local_index); row < rows; row += 32) {
    scales[row] = scale;
  }
}
