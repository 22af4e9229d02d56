/**
 * Functions that rendered modules carry where WGSL's own differ from what the kernel IR means, or where a
 * device may lack them. Each is emitted only where it is used.
 */

/** Tests on bits hold even where the device assumes that there are no NaNs. */
const isNan = `fn is_nan(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}`;

export const snippets = {
  is_nan: { needs: [], text: isNan },
  maximum: {
    needs: ["is_nan"],
    text: `// The larger; NaN if either is.
fn maximum(a: f32, b: f32) -> f32 {
  return select(max(a, b), a + b, is_nan(a) || is_nan(b));
}`,
  },
  minimum: {
    needs: ["is_nan"],
    text: `// The smaller; NaN if either is.
fn minimum(a: f32, b: f32) -> f32 {
  return select(min(a, b), a + b, is_nan(a) || is_nan(b));
}`,
  },
  f32_to_i32: {
    needs: ["is_nan"],
    text: `// Truncates toward zero and saturates; NaN gives 0.
fn f32_to_i32(x: f32) -> i32 {
  let whole = i32(max(min(x, 2147483520.0), -2147483648.0));
  return select(select(whole, 2147483647, x >= 2147483648.0), 0, is_nan(x));
}`,
  },
  f32_to_u32: {
    needs: ["is_nan"],
    text: `// Truncates toward zero and saturates; NaN gives 0.
fn f32_to_u32(x: f32) -> u32 {
  let whole = u32(max(min(x, 4294967040.0), 0.0));
  return select(select(whole, 4294967295u, x >= 4294967296.0), 0u, is_nan(x));
}`,
  },
  dot4_i8: {
    needs: [],
    text: `// dot4I8Packed on a device without it: four products of signed bytes, summed.
fn dot4_i8(a: u32, b: u32) -> i32 {
  let left_aligned = vec4u(24u, 16u, 8u, 0u);
  let x = bitcast<vec4i>(vec4u(a) << left_aligned) >> vec4u(24u);
  let y = bitcast<vec4i>(vec4u(b) << left_aligned) >> vec4u(24u);
  return dot(x, y);
}`,
  },
} as const satisfies Record<string, { readonly needs: readonly string[]; readonly text: string }>;

export type Snippet = keyof typeof snippets;

/** The snippets' texts, each after those it needs. */
export function snippetTexts(used: ReadonlySet<Snippet>): string[] {
  const all = new Set<Snippet>();
  const add = (name: Snippet): void => {
    for (const needed of snippets[name].needs) add(needed);
    all.add(name);
  };
  for (const name of used) add(name);
  return [...all].map((name) => snippets[name].text);
}
