/** What a step of the benchmark has found, one line of JSON on its standard output each. */
export type Finding =
  /** Copying device memory: bytes read and written a second. */
  | { readonly kind: "copy"; readonly by: string; readonly bytesPerSecond: number }
  /** A launch of a captured graph that does nothing. */
  | { readonly kind: "launch"; readonly microseconds: number }
  /** A product of ternary weights [n, k]; `bytesPerSecond` counts its codes. */
  | (Product & { readonly kind: "ternary"; readonly bytesPerSecond: number })
  /** The same product by PyTorch: int8 by cuBLAS, or bf16. */
  | (Product & { readonly kind: "int_mm" | "linear_bf16" })
  | {
      readonly kind: "model";
      readonly device: "cuda" | "webgpu";
      readonly head: string;
      readonly description: string;
      readonly prefillTokens: number;
      readonly prefillTokensPerSecond: number;
      readonly decodeTokensPerSecond: number;
      /** Bytes of weights that every decoded token reads. */
      readonly weightBytes: number;
    }
  | { readonly kind: "check"; readonly name: string; readonly passed: boolean; readonly detail?: string }
  /** What is missing here, or was left out. */
  | { readonly kind: "note"; readonly text: string };

interface Product {
  readonly rows: number;
  readonly n: number;
  readonly k: number;
  readonly microseconds: number;
}

export function report(finding: Finding): void {
  process.stdout.write(`${JSON.stringify(finding)}\n`);
}
