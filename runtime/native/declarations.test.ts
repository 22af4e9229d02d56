import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const folder = fileURLToPath(new URL("./", import.meta.url));
const found = (file: string, pattern: RegExp) => [
  ...readFileSync(join(folder, file), "utf8").matchAll(pattern),
];

const comparison = `
#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>
#include <type_traits>
#include "driver.h"

/** Whether values are passed alike: an enumeration is an int, and one pointer as good as another. */
template <typename Ours, typename Theirs>
constexpr bool isAlike = sizeof(Ours) == sizeof(Theirs) && std::is_pointer_v<Ours> == std::is_pointer_v<Theirs>;

template <typename Ours, typename Theirs>
constexpr bool isSameCall = false;
template <typename... Ours, typename... Theirs>
constexpr bool isSameCall<const bitloom::Function<Ours...>, CUresult(Theirs...)> = [] {
  if constexpr (sizeof...(Ours) == sizeof...(Theirs)) return (isAlike<Ours, Theirs> && ...);
  return false;
}();
`;

const hasToolkit = spawnSync("nvcc", ["--version"]).error === undefined;

it.skipIf(!hasToolkit)(`agree with cuda.h ${hasToolkit ? "of the toolkit" : "(no nvcc here)"}`, () => {
  const functions = found("driver.h", /(\w+)\{\*this, "(\w+)"\}/g).map(
    ([, name, symbol]) =>
      `static_assert(isSameCall<decltype(bitloom::Driver::${name}), decltype(${symbol})>, "${symbol}");`,
  );
  const constants = found("driver_types.h", /constexpr \w+ (CU\w+) =/g).map(
    ([, name]) => `static_assert(int(bitloom::${name}) == int(::${name}), "${name}");`,
  );
  expect(functions.length).toBeGreaterThan(30);
  expect(constants.length).toBeGreaterThan(5);
  const work = mkdtempSync(join(tmpdir(), "bitloom-declarations-"));
  try {
    const file = join(work, "comparison.cpp");
    writeFileSync(file, [comparison, ...functions, ...constants, ""].join("\n"));
    execFileSync("nvcc", ["-std=c++17", "-I", folder, "-c", file, "-o", join(work, "comparison.o")]);
  } finally {
    rmSync(work, { recursive: true });
  }
});
