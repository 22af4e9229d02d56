struct Scalars {
  rows: i32,
  vocabulary: i32,
  width: i32,
  gStride: i32,
}

@group(0) @binding(0) var<storage, read> g: array<f32>;
@group(0) @binding(1) var<storage, read> ids: array<i32>;
@group(0) @binding(2) var<storage, read> links: array<i32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<uniform> scalars: Scalars;

// Row ids[r] of a table = the sum of all rows r of g with that id, in ascending order.
@compute @workgroup_size(32)
fn embeddingGradient(
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(num_workgroups) num_workgroups: vec3u,
  @builtin(local_invocation_index) local_index: u32,
) {
  let rows = scalars.rows;
  let vocabulary = scalars.vocabulary;
  let width = scalars.width;
  let gStride = scalars.gStride;
  for (var row = i32(workgroup_id.x); row < rows; row += i32(num_workgroups.x)) {
    if (links[2 * row] < 0) {
      let id = ids[row];
      let to = select(0, id, id >= 0 && id < vocabulary) * width;
      for (var i = i32(local_index); i < width; i += 32) {
        var sum = 0.0;
        var from_ = row;
        while (from_ < rows) {
          let id_1 = ids[from_];
          let term = bitcast<u32>(g[from_ * gStride + i]);
          sum += bitcast<f32>(select(0x7fc00000u, term, id_1 >= 0 && id_1 < vocabulary));
          from_ = links[2 * from_ + 1];
        }
        out[to + i] = sum;
      }
    }
  }
}
