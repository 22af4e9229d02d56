#include "staging.h"

#include <algorithm>
#include <cstring>

namespace bitloom {

Staging::Staging(const Driver& driver, CUstream stream)
    : driver_(driver), stream_(stream), memory_(create<PinnedMemory>(driver, driver.memHostAlloc, totalBytes, 0u)) {
  for (OwnedEvent& arrival : arrivals_) {
    arrival = create<OwnedEvent>(driver, driver.eventCreate, CU_EVENT_DISABLE_TIMING);
  }
}

void Staging::upload(CUdeviceptr to, const void* from, std::size_t bytes) {
  for (std::size_t done = 0; done < bytes;) {
    const std::size_t size = std::min(slotBytes, bytes - done);
    char* slot = static_cast<char*>(memory_.get()) + next_ * slotBytes;
    const CUevent arrival = arrivals_[next_].get();
    driver_.eventSynchronize(arrival);
    std::memcpy(slot, static_cast<const char*>(from) + done, size);
    driver_.memcpyHtoDAsync(to + done, slot, size, stream_);
    driver_.eventRecord(arrival, stream_);
    next_ = (next_ + 1) % slots;
    done += size;
  }
}

void Staging::download(const std::vector<Download>& downloads) {
  // The stream is past every upload before it writes here, so the slots serve as one piece.
  char* const staged = static_cast<char*>(memory_.get());
  std::vector<Download> arriving;
  std::size_t used = 0;
  const auto finish = [&] {
    driver_.streamSynchronize(stream_);
    const char* from = staged;
    for (const auto& [source, to, bytes] : arriving) {
      std::memcpy(to, from, bytes);
      from += bytes;
    }
    arriving.clear();
    used = 0;
  };
  for (auto [from, to, bytes] : downloads) {
    while (bytes > 0) {
      const std::size_t size = std::min(totalBytes - used, bytes);
      driver_.memcpyDtoHAsync(staged + used, from, size, stream_);
      arriving.push_back({from, to, size});
      used += size;
      from += size;
      to = static_cast<char*>(to) + size;
      bytes -= size;
      if (used == totalBytes) finish();
    }
  }
  finish();
}

}  // namespace bitloom
