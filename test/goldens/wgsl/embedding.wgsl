struct Scalars {
  rows: i32,
  vocab: i32,
  width: i32,
  firstId: i32,
  count: i32,
}

@group(0) @binding(0) var<storage, read> weights: array<u32>;
@group(0) @binding(1) var<storage, read> scales: array<f32>;
@group(0) @binding(2) var<storage, read> ids: array<i32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<uniform> scalars: Scalars;

// Row lookup out[row] = table[ids[row]], decoded to f32.
@compute @workgroup_size(32)
fn embedding(
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(num_workgroups) num_workgroups: vec3u,
  @builtin(local_invocation_index) local_index: u32,
) {
  let rows = scalars.rows;
  let vocab = scalars.vocab;
  let width = scalars.width;
  let firstId = scalars.firstId;
  let count = scalars.count;
  let groupLength = width;
  let groupBlocks = (groupLength + 63) >> 6u;
  let blocks = (width + 63) >> 6u;
  for (var row = i32(workgroup_id.x); row < rows; row += i32(num_workgroups.x)) {
    let id = ids[row];
    let known = id >= 0 && id < vocab;
    if (!known || (id >= firstId && id < firstId + count)) {
      for (var i = i32(local_index); i < width; i += 32) {
        let id_1 = select(0, id - firstId, known);
        let index = id_1 * width + i;
        let word = weights[index >> 2u];
        let e = index & 3;
        let w = f32((i32(word) << u32(24 - 8 * e)) >> 24u);
        let found = bitcast<u32>(w * scales[id_1]);
        out[row * width + i] = bitcast<f32>(select(0x7fc00000u, found, known));
      }
    }
  }
}
