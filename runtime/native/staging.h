#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "owned.h"

namespace bitloom {

/** Bytes of device memory and where they go on the host. */
struct Download {
  CUdeviceptr from;
  void* to;
  std::size_t bytes;
};

/**
 * Copies between the host and the device by way of pinned memory. Uploads go through slots in turn: a caller
 * goes on as soon as its bytes are in a slot, and waits only while every slot is on its way.
 */
class Staging {
 public:
  Staging(const Driver& driver, CUstream stream);

  /** Copies bytes to the device after what the stream already does; they may change once this returns. */
  void upload(CUdeviceptr to, const void* from, std::size_t bytes);

  /** Copies to the host, and returns when all that the stream does is done. */
  void download(const std::vector<Download>& downloads);

 private:
  static constexpr std::size_t slotBytes = 4 << 20;
  static constexpr std::size_t slots = 4;
  static constexpr std::size_t totalBytes = slots * slotBytes;

  const Driver& driver_;
  CUstream stream_;
  PinnedMemory memory_;
  /** Of each slot, that its bytes have arrived. */
  std::array<OwnedEvent, slots> arrivals_;
  std::size_t next_ = 0;
};

}  // namespace bitloom
