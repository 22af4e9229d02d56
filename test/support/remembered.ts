type Maker =
  | "createShaderModule"
  | "createBindGroupLayout"
  | "createPipelineLayout"
  | "createComputePipelineAsync";

/**
 * A device's methods that compile, which give the same object for the same description: a software GPU takes
 * seconds for what many tests ask of it.
 */
export function remembered(device: GPUDevice): Pick<GPUDevice, Maker> {
  const made = new Map<string, unknown>();
  const names = new Map<unknown, string>();
  const remember = (method: Maker) => (descriptor: object) => {
    const described = JSON.stringify(descriptor, (key, value) =>
      key === "label" ? undefined : (names.get(value) ?? value),
    );
    const key = `${method} ${described}`;
    const object =
      made.get(key) ?? (device[method] as (descriptor: object) => unknown).call(device, descriptor);
    made.set(key, object);
    names.set(object, key);
    return object as never;
  };
  return {
    createShaderModule: remember("createShaderModule"),
    createBindGroupLayout: remember("createBindGroupLayout"),
    createPipelineLayout: remember("createPipelineLayout"),
    createComputePipelineAsync: remember("createComputePipelineAsync"),
  };
}
