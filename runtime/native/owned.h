#pragma once

#include <memory>
#include <utility>

#include "driver.h"

namespace bitloom {

/** An object of the driver's, given back with `Release`, a function of the driver, while its context is current. */
template <typename T, auto Release>
class Owned {
 public:
  Owned() = default;
  Owned(const Driver& driver, T value) noexcept : driver_(&driver), value_(value) {}
  Owned(Owned&& other) noexcept : driver_(std::exchange(other.driver_, nullptr)), value_(other.value_) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(driver_, other.driver_);
    std::swap(value_, other.value_);
    return *this;
  }
  ~Owned() {
    // What a context that has failed answers here is of no use: destroying it gives everything back.
    if (driver_ != nullptr) (driver_->*Release).result(value_);
  }

  explicit operator bool() const noexcept { return driver_ != nullptr; }
  T get() const noexcept { return value_; }

 private:
  const Driver* driver_ = nullptr;
  T value_{};
};

using OwnedContext = Owned<CUcontext, &Driver::ctxDestroy>;
using OwnedStream = Owned<CUstream, &Driver::streamDestroy>;
using OwnedEvent = Owned<CUevent, &Driver::eventDestroy>;
using OwnedModule = Owned<CUmodule, &Driver::moduleUnload>;
using OwnedGraph = Owned<CUgraph, &Driver::graphDestroy>;
using OwnedGraphExec = Owned<CUgraphExec, &Driver::graphExecDestroy>;
using DeviceMemory = Owned<CUdeviceptr, &Driver::memFree>;
/** Memory of the host that does not move, so that the device copies it by itself. */
using PinnedMemory = Owned<void*, &Driver::memFreeHost>;

/** Makes a context the calling thread's own while this lives. */
class Current {
 public:
  Current(const Driver& driver, const OwnedContext& context) : driver_(driver) { driver.ctxPushCurrent(context.get()); }
  Current(const Current&) = delete;
  ~Current() {
    CUcontext popped = nullptr;
    driver_.ctxPopCurrent.result(&popped);
  }

 private:
  const Driver& driver_;
};

/** Creates an object with a function of the driver whose first parameter is where the object goes. */
template <typename Handle, typename Create, typename... Arguments>
auto create(const Driver& driver, const Create& function, Arguments... arguments) {
  decltype(std::declval<Handle>().get()) value{};
  function(&value, arguments...);
  return Handle(driver, value);
}

}  // namespace bitloom
