const WIDTH = 400;

/**
 * JSON with a step or a tensor a line: what fits on a line stays on it. People read manifests, and a big
 * model's has thousands of steps.
 */
export function formatManifest(value: unknown, indent = ""): string {
  const compact = JSON.stringify(value);
  if (indent !== "" && indent.length + compact.length <= WIDTH) return compact;
  if (typeof value !== "object" || value === null) return compact;
  const inner = `${indent}  `;
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const items = Array.isArray(value)
    ? value.map((item) => inner + formatManifest(item, inner))
    : Object.entries(value)
        .filter(([, item]) => item !== undefined)
        .map(([key, item]) => `${inner}${JSON.stringify(key)}: ${formatManifest(item, inner)}`);
  return `${open}\n${items.join(",\n")}\n${indent}${close}`;
}
