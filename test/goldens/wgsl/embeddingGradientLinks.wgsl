struct Scalars {
  rows: i32,
  vocabulary: i32,
}

@group(0) @binding(0) var<storage, read> ids: array<i32>;
@group(0) @binding(1) var<storage, read_write> links: array<i32>;
@group(0) @binding(2) var<uniform> scalars: Scalars;

// Links the rows of g that add to the same row of a table, in ascending order, so that {@link
// embeddingGradient} adds them without atomic operations and in an order that the ids alone decide.
@compute @workgroup_size(32)
fn embeddingGradientLinks(
  @builtin(num_workgroups) num_workgroups: vec3u,
  @builtin(workgroup_id) workgroup_id: vec3u,
  @builtin(local_invocation_index) local_index: u32,
) {
  let rows = scalars.rows;
  let vocabulary = scalars.vocabulary;
  let stride = i32(num_workgroups.x) * 32;
  for (var row = i32(workgroup_id.x) * 32 + i32(local_index); row < rows; row += stride) {
    let id = ids[row];
    let own = select(0, id, id >= 0 && id < vocabulary);
    var earlier = row - 1;
    loop {
      var condition = earlier >= 0;
      if (condition) {
        let id_1 = ids[earlier];
        condition = select(0, id_1, id_1 >= 0 && id_1 < vocabulary) != own;
      }
      if (!condition) {
        break;
      }
      earlier--;
    }
    var later = row + 1;
    loop {
      var condition_1 = later < rows;
      if (condition_1) {
        let id_2 = ids[later];
        condition_1 = select(0, id_2, id_2 >= 0 && id_2 < vocabulary) != own;
      }
      if (!condition_1) {
        break;
      }
      later++;
    }
    links[2 * row] = earlier;
    links[2 * row + 1] = later;
  }
}
