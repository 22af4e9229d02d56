/** What ptxas says a kernel takes of a multiprocessor. */
export interface Resources {
  readonly kernel: string;
  readonly registers: number;
  /** Bytes of local memory: of arrays that are indexed at run time, and of registers that there were not enough of. */
  readonly stackBytes: number;
  readonly spillBytes: number;
  readonly sharedBytes: number;
}

/** Reads what nvcc says with `-Xptxas -v`, by kernel. */
export function readResources(said: string): Resources[] {
  const sections = said.split(/Compiling entry function '/).slice(1);
  const number = (section: string, pattern: RegExp) => Number(pattern.exec(section)?.[1] ?? 0);
  return sections
    .map((section) => ({
      kernel: section.slice(0, section.indexOf("'")),
      registers: number(section, /Used (\d+) registers/),
      stackBytes: number(section, /(\d+) bytes stack frame/),
      spillBytes: number(section, /(\d+) bytes spill stores/),
      sharedBytes: number(section, /(\d+) bytes smem/),
    }))
    .sort((a, b) => (a.kernel < b.kernel ? -1 : 1));
}
