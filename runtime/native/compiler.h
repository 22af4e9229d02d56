#pragma once

#include <string>
#include <vector>

#include "library.h"

namespace bitloom {

/** NVRTC, NVIDIA's compiler of CUDA C as a library, opened while the program runs. */
class Compiler {
 public:
  /** @param names of the library, of which the first that is there is taken @throws Failure NO_LIBRARY */
  explicit Compiler(const std::vector<std::string>& names);

  struct Version {
    int major;
    int minor;
  };
  Version version() const;
  /** Compute capabilities it compiles for, such as 90, in ascending order. */
  std::vector<int> architectures() const;
  const std::string& name() const noexcept { return library_.name(); }

  /**
   * @param name of the source, for messages
   * @param options such as `--gpu-architecture=sm_90`, or `compute_90`
   * @returns a cubin for a real architecture, PTX for a virtual one
   * @throws Failure NVRTC_ERROR with the compiler's log
   */
  std::vector<unsigned char> compile(const std::string& source, const std::string& name,
                                     const std::vector<std::string>& options) const;

 private:
  Library library_;
};

}  // namespace bitloom
