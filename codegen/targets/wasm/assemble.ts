import { BitloomError } from "../../../errors/index.ts";

type Assembler = Awaited<ReturnType<typeof import("wabt")>>;
let assembler: Promise<Assembler> | undefined;

const features = {
  simd: true,
  relaxed_simd: true,
  threads: true,
  bulk_memory: true,
  sat_float_to_int: true,
  sign_extension: true,
  mutable_globals: true,
};

/**
 * Assembles WebAssembly text and validates the module.
 * @throws ASSEMBLE_FAILED with the text around the fault; OUT_OF_MEMORY where there is none for the assembler.
 */
export async function assemble(name: string, wat: string): Promise<Uint8Array<ArrayBuffer>> {
  // wabt is a megabyte of compiled C++: only builds pay for it.
  assembler ??= import("wabt").then(({ default: open }) => open());
  const wabt = await assembler.catch((cause) => {
    assembler = undefined;
    throw new BitloomError("OUT_OF_MEMORY", "The assembler of WebAssembly cannot start", {
      received: String(cause),
      hint: "Close other programs, or raise the limit on the process's memory.",
      cause,
    });
  });
  let module: ReturnType<Assembler["parseWat"]> | undefined;
  try {
    module = wabt.parseWat(`${name}.wat`, wat, features);
    module.resolveNames();
    // The declared type lacks the parameter, but without it the validator rejects every feature.
    (module.validate as (accepted: typeof features) => void)(features);
    return new Uint8Array(module.toBinary({}).buffer);
  } catch (cause) {
    throw describeFailure(name, wat, cause);
  } finally {
    module?.destroy();
  }
}

function describeFailure(name: string, wat: string, cause: unknown): BitloomError {
  const message = cause instanceof Error ? cause.message : String(cause);
  const line = Number(/\.wat:(\d+):/.exec(message)?.[1] ?? Number.NaN);
  const lines = wat.split("\n");
  const around = Number.isNaN(line)
    ? ""
    : lines
        .slice(Math.max(0, line - 4), line + 3)
        .map((text, i) => `${String(Math.max(1, line - 3) + i).padStart(6)} ${text}`)
        .join("\n");
  return new BitloomError("ASSEMBLE_FAILED", `the assembler refused ${name}.wat:\n${message}\n${around}`, {
    ...(Number.isNaN(line) ? {} : { location: `${name}.wat:${line}` }),
    cause,
  });
}
