/**
 * The CUDA target against the reference interpreter, op by op, as the other targets are: the emitted CUDA C runs on a
 * card where there is one, compiled by nvcc, and otherwise on the processor, compiled by g++
 * (test/support/cuda/cuda-host.h).
 */
import { afterAll, beforeAll, describe, test, vi } from "vitest";
import { missingPrograms } from "./support/cuda/host-library.ts";
import { cudaProperties } from "./support/cuda-properties.ts";
import { CudaHost } from "./support/run-cuda.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const missing = missingPrograms("g++");

describe.skipIf(missing !== undefined)(`kernels on the processor (${missing ?? "through g++"})`, () => {
  let host: CudaHost;
  beforeAll(async () => {
    host = await CudaHost.open();
  });
  afterAll(() => host?.close());

  describe.each(cudaProperties())("$name", ({ prepare, properties }) => {
    beforeAll(() => prepare?.(host));
    test.each(properties)("$name", ({ holds }) => holds(host));
  });
});
