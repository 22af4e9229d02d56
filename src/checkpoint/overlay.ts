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

/** A source with another's parameters besides, a prefix before their paths. Closing it closes both. */
export function sourceBeside(base: ParameterSource, prefix: string, other: ParameterSource): ParameterSource {
  const inOther = (path: string) => (path.startsWith(prefix) ? path.slice(prefix.length) : undefined);
  return {
    ...base,
    info(path) {
      const own = inOther(path);
      return own === undefined ? base.info(path) : other.info(own);
    },
    *paths() {
      yield* base.paths();
      for (const path of other.paths()) yield `${prefix}${path}`;
    },
    read(path, byteOffset, into) {
      const own = inOther(path);
      return own === undefined ? base.read(path, byteOffset, into) : other.read(own, byteOffset, into);
    },
    async close() {
      await Promise.all([base.close(), other.close()]);
    },
  };
}
