import { type MemoryParameter, memorySource, type ParameterSource } from "./source.ts";

/**
 * A source with parameters beside its own, or in their place. Closing it closes `base`.
 * @throws BitloomError INVALID_TENSOR for an array that is not what its dims and form say
 */
export function overlaySource(
  base: ParameterSource,
  parameters: ReadonlyMap<string, MemoryParameter>,
): ParameterSource {
  const over = memorySource(parameters);
  return {
    ...base,
    info: (path) => over.info(path) ?? base.info(path),
    paths: () => new Set([...base.paths(), ...over.paths()]),
    read: (path, byteOffset, into) => (parameters.has(path) ? over : base).read(path, byteOffset, into),
    close: () => base.close(),
  };
}
