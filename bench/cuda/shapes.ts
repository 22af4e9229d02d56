/** A weight, and the products with it. */
export interface Shape {
  readonly n: number;
  readonly k: number;
}

export interface Shapes {
  /** Bytes of each of the two pieces of memory between which is copied. */
  readonly copyBytes: number;
  /** Bytes of codes that products rotate among, several times the largest cache. */
  readonly rotatedBytes: number;
  readonly gemv: readonly Shape[];
  readonly gemm: readonly Shape[];
  /** Rows of the products with `gemm`. */
  readonly rows: readonly number[];
}

/** o; q, k and v; gate and up; down. */
const layer: readonly Shape[] = [
  { n: 13824, k: 2560 },
  { n: 2560, k: 6912 },
  { n: 3840, k: 2560 },
  { n: 2560, k: 2560 },
];

const full: Shapes = {
  copyBytes: 2 ** 30,
  rotatedBytes: 2 ** 28,
  // Eight of the largest in one launch tell what launches cost.
  gemv: [...layer, { n: 8 * 13824, k: 2560 }],
  gemm: layer,
  rows: [512, 2048],
};

/** To try the programs where there is no card. */
const small: Shapes = {
  copyBytes: 2 ** 19,
  rotatedBytes: 2 ** 12,
  gemv: [{ n: 64, k: 128 }],
  gemm: [{ n: 128, k: 64 }],
  rows: [20, 40],
};

export const shapesOf = (isSmall: boolean): Shapes => (isSmall ? small : full);
