#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "owned.h"

namespace bitloom {

/** A kernel ready to be launched; what memory its blocks share, it says itself. */
struct Kernel {
  CUfunction function;
  unsigned blockThreads;
};

/** One launch, with all that depends on symbols worked out. */
struct Launch {
  Kernel kernel;
  std::array<unsigned, 3> grid;
  /** A value each: an address, or four bytes in the low half. */
  std::vector<std::uint64_t> arguments;
};

/**
 * Launches in order. A program that runs again, as decoding does for every token, is captured as a graph and
 * replayed: one call of the driver instead of one a kernel.
 */
class Program {
 public:
  Program(const Driver& driver, std::vector<Launch> launches);

  /** Enqueues every launch. */
  void run(CUstream stream);

 private:
  void launchAll(CUstream stream);
  void capture(CUstream stream);

  const Driver& driver_;
  std::vector<Launch> launches_;
  bool hasRun_ = false;
  OwnedGraphExec graph_;
};

}  // namespace bitloom
