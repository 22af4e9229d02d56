/** Whether a call that asks for these outputs needs a step that serves those; every call needs it if absent. */
export function isFor(serves: readonly string[] | undefined, outputs: readonly string[]): boolean {
  return serves === undefined || outputs.some((name) => serves.includes(name));
}
