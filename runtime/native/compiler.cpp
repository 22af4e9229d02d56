#include "compiler.h"

#include <cstddef>
#include <memory>

#include "failure.h"

namespace bitloom {

namespace {

// As in nvrtc.h of the toolkit.
using nvrtcResult = int;
using nvrtcProgram = struct _nvrtcProgram*;

/** Calls a function of the library. @throws Failure OLD_COMPILER where it has none, NVRTC_ERROR */
template <typename... Parameters>
void call(const Library& library, const char* symbol, Parameters... parameters) {
  const auto function = reinterpret_cast<nvrtcResult (*)(Parameters...)>(library.find(symbol));
  if (function == nullptr) throw Failure("OLD_COMPILER", library.name() + " has no " + symbol);
  const nvrtcResult result = function(parameters...);
  if (result == 0) return;
  const auto text = reinterpret_cast<const char* (*)(nvrtcResult)>(library.find("nvrtcGetErrorString"));
  throw Failure("NVRTC_ERROR", std::string(symbol) + ": " +
                                   (text == nullptr ? "error " + std::to_string(result) : std::string(text(result))));
}

/** What a pair of functions tells of a program, one its size and one its bytes. */
template <typename Bytes>
Bytes read(const Library& library, nvrtcProgram program, const char* getSize, const char* get) {
  std::size_t size = 0;
  call(library, getSize, program, &size);
  Bytes bytes(size, 0);
  call(library, get, program, reinterpret_cast<char*>(bytes.data()));
  return bytes;
}

}  // namespace

Compiler::Compiler(const std::vector<std::string>& names) : library_(names) {}

Compiler::Version Compiler::version() const {
  Version version{};
  call(library_, "nvrtcVersion", &version.major, &version.minor);
  return version;
}

std::vector<int> Compiler::architectures() const {
  int count = 0;
  call(library_, "nvrtcGetNumSupportedArchs", &count);
  std::vector<int> architectures(count);
  call(library_, "nvrtcGetSupportedArchs", architectures.data());
  return architectures;
}

std::vector<unsigned char> Compiler::compile(const std::string& source, const std::string& name,
                                             const std::vector<std::string>& options) const {
  nvrtcProgram created = nullptr;
  call(library_, "nvrtcCreateProgram", &created, source.c_str(), name.c_str(), 0,
       static_cast<const char* const*>(nullptr), static_cast<const char* const*>(nullptr));
  const auto destroy = [this](nvrtcProgram program) {
    try {
      call(library_, "nvrtcDestroyProgram", &program);
    } catch (const Failure&) {
      // A deleter may not throw, and there is nothing else to free.
    }
  };
  const std::unique_ptr<_nvrtcProgram, decltype(destroy)> program(created, destroy);

  std::vector<const char*> flags;
  for (const std::string& option : options) flags.push_back(option.c_str());
  try {
    call(library_, "nvrtcCompileProgram", program.get(), static_cast<int>(flags.size()),
         static_cast<const char* const*>(flags.data()));
  } catch (const Failure& failure) {
    const auto log = read<std::string>(library_, program.get(), "nvrtcGetProgramLogSize", "nvrtcGetProgramLog");
    throw Failure(failure.code(), std::string(failure.what()) + "\n" + log.c_str());
  }
  // A virtual architecture has PTX alone, and asking for its cubin is an error.
  std::size_t cubinSize = 0;
  call(library_, "nvrtcGetCUBINSize", program.get(), &cubinSize);
  using Image = std::vector<unsigned char>;
  return cubinSize > 0 ? read<Image>(library_, program.get(), "nvrtcGetCUBINSize", "nvrtcGetCUBIN")
                       : read<Image>(library_, program.get(), "nvrtcGetPTXSize", "nvrtcGetPTX");
}

}  // namespace bitloom
