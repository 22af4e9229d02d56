/** Tells a person, on stderr, of something that works but may not be what they meant. */
export function warn(message: string): void {
  process.stderr.write(`warning: ${message}\n`);
}

/** Tells of a coded warning. */
export function warnOf({ code, message }: { readonly code: string; readonly message: string }): void {
  warn(`${message.replace(/\.$/, "")} [${code}]`);
}
