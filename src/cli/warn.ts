/** Tells a person, on stderr, of something that works but may not be what they meant. */
export function warn(message: string): void {
  process.stderr.write(`warning: ${message}\n`);
}
