/** Names of a module, or with `outer` of one function in it. A function's names never hide its module's. */
export class Names {
  readonly #reserved: ReadonlySet<string>;
  readonly #outer: Names | undefined;
  readonly #declared = new Set<string>();
  /** For a module: names inside its functions too, since it may get names after they did. */
  readonly #inside = new Set<string>();

  /** @param reserved what no name may be: the language's own words, and what it predeclares */
  constructor(reserved: ReadonlySet<string>, outer?: Names) {
    this.#reserved = reserved;
    this.#outer = outer;
  }

  /** Names of a function in this module. */
  inner(): Names {
    return new Names(this.#reserved, this);
  }

  /** The name itself where it is free, else with underscores added. */
  declare(name: string): string {
    // Leading underscores are reserved: two of them in C, and in WGSL one alone is a placeholder.
    let free = name.replaceAll(/\W/g, "_").replace(/^_+/, "") || "value";
    while (this.#reserved.has(free) || this.#inside.has(free) || this.#has(free)) free += "_";
    this.#declared.add(free);
    if (this.#outer !== undefined) this.#outer.#inside.add(free);
    return free;
  }

  #has(name: string): boolean {
    if (this.#declared.has(name)) return true;
    return this.#outer === undefined ? false : this.#outer.#has(name);
  }
}

/** The words of a text as a set. */
export function words(...texts: readonly string[]): ReadonlySet<string> {
  return new Set(texts.join(" ").trim().split(/\s+/));
}
