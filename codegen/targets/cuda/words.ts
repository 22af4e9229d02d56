import { words } from "../c-like/names.ts";

/** Keywords and alternative tokens of C++20. */
const keywords = `
  alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class
  co_await co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype
  default delete do double dynamic_cast else enum explicit export extern false float for friend goto if inline
  int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public register
  reinterpret_cast requires return short signed sizeof static static_assert static_cast struct switch template
  this thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t
  while xor xor_eq
`;

/** What CUDA and the kernels' own text declare, and words that compilers define as macros. */
const predeclared = `
  blockDim blockIdx fabsf floorf gridDim i32 linux make_uint4 rintf threadIdx u32 uint4 unix warpSize
`;

/** What no name in a kernel's text may be. */
export const cudaWords = words(keywords, predeclared);
