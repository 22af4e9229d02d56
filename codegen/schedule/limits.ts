/** What one kernel of a target may have; rules cut larger work into several steps. */
export interface TargetLimits {
  /** Buffers that a kernel reads or writes. */
  readonly buffers: number;
  /** Bytes of one of them. */
  readonly bufferBytes: number;
  /** Workgroups along the first axis of a grid. */
  readonly workgroups: number;
  /** And along the second. */
  readonly workgroupsY: number;
  /** Bytes of memory that a workgroup shares. */
  readonly sharedBytes: number;
  /** Whether a kernel may be given memory that it writes more than once. */
  readonly aliases: boolean;
}

const any = Number.POSITIVE_INFINITY;

export const noLimits: TargetLimits = {
  buffers: any,
  bufferBytes: any,
  workgroups: any,
  workgroupsY: any,
  sharedBytes: any,
  aliases: true,
};

/** What WebGPU guarantees. */
export const webgpuLimits: TargetLimits = {
  buffers: 8,
  bufferBytes: 128 * 2 ** 20,
  workgroups: 65_535,
  workgroupsY: 65_535,
  sharedBytes: 16_384,
  aliases: false,
};

/** CUDA's: pointers are `__restrict__`, parameters share 4 KiB, kernels count elements and columns in i32, static shared memory has 48 KiB. */
export const cudaLimits: TargetLimits = {
  buffers: 256,
  bufferBytes: 2 ** 31 - 2 ** 20,
  workgroups: 2 ** 31 - 1,
  workgroupsY: 65_535,
  sharedBytes: 48 * 1024,
  aliases: false,
};
