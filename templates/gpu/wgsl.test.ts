import { describe, expect, test } from "vitest";
import { renderWgsl } from "../../codegen/targets/wgsl/render.ts";
import { GpuHost } from "../../test/support/gpu-host.ts";
import { specializations, specializeGpu } from "../../test/support/kernels/gpu-specializations.ts";

const host = GpuHost.open();

describe.each(specializations)("$kernel", (specialization) => {
  const { kernel, small, large, reduces } = specialization;

  test("reads well", async () => {
    const { text } = renderWgsl(await specializeGpu(specialization, { ...small, subgroups: false }));
    await expect(text).toMatchFileSnapshot(`../../test/goldens/wgsl/${kernel}.wgsl`);
  });

  test.each(reduces ? [false, true] : [false])(
    "is valid within what WebGPU guarantees, subgroups %s",
    async (subgroups) => {
      for (const options of [small, { ...small, ...large }]) {
        // It throws beyond 8 buffers, 256 invocations or 16 KiB of shared memory.
        const module = renderWgsl(await specializeGpu(specialization, { ...options, subgroups }));
        expect(module.usesSubgroups).toBe(subgroups);
        await (await host).validate(module.text);
      }
    },
  );
});
