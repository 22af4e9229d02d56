#pragma once

#include <memory>
#include <string>

#include "driver_types.h"
#include "library.h"

namespace bitloom {

class Driver;

/** A function of the driver: called, it throws what the driver answers unless that is success. */
template <typename... Parameters>
class Function {
 public:
  /** @throws Failure OLD_DRIVER where the driver does not have it */
  Function(const Driver& driver, const char* symbol);

  /** @throws Failure named after the CUresult, such as CUDA_ERROR_OUT_OF_MEMORY */
  void operator()(Parameters... arguments) const;

  CUresult result(Parameters... arguments) const noexcept { return pointer_(arguments...); }

 private:
  const Driver& driver_;
  const char* symbol_;
  CUresult (*pointer_)(Parameters...);
};

/** NVIDIA's driver library, opened while the program runs: building needs no toolkit and loading no GPU. */
class Driver {
  Library library_;

 public:
  /**
   * @param path the library instead of the system's, unless empty
   * @throws Failure NO_LIBRARY, OLD_DRIVER, or what cuInit answers
   */
  static std::shared_ptr<const Driver> open(const std::string& path);

  explicit Driver(const std::string& path);
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  /** The newest CUDA it runs: 12040 for 12.4. */
  int version() const;
  int attribute(CUdevice device, int which) const;

  /** @throws Failure, of a call of `symbol` that answered with anything but success */
  [[noreturn]] void fail(CUresult result, const std::string& symbol) const;
  void* require(const char* symbol) const;

  const Function<int*> driverGetVersion{*this, "cuDriverGetVersion"};
  const Function<CUresult, const char**> getErrorName{*this, "cuGetErrorName"};
  const Function<CUresult, const char**> getErrorString{*this, "cuGetErrorString"};
  const Function<unsigned> init{*this, "cuInit"};

  const Function<int*> deviceGetCount{*this, "cuDeviceGetCount"};
  const Function<CUdevice*, int> deviceGet{*this, "cuDeviceGet"};
  const Function<char*, int, CUdevice> deviceGetName{*this, "cuDeviceGetName"};
  const Function<int*, int, CUdevice> deviceGetAttribute{*this, "cuDeviceGetAttribute"};
  const Function<std::size_t*, CUdevice> deviceTotalMem{*this, "cuDeviceTotalMem_v2"};

  const Function<CUcontext*, unsigned, CUdevice> ctxCreate{*this, "cuCtxCreate_v2"};
  const Function<CUcontext> ctxDestroy{*this, "cuCtxDestroy_v2"};
  const Function<CUcontext> ctxPushCurrent{*this, "cuCtxPushCurrent_v2"};
  const Function<CUcontext*> ctxPopCurrent{*this, "cuCtxPopCurrent_v2"};

  const Function<std::size_t*, std::size_t*> memGetInfo{*this, "cuMemGetInfo_v2"};
  const Function<CUdeviceptr*, std::size_t> memAlloc{*this, "cuMemAlloc_v2"};
  const Function<CUdeviceptr> memFree{*this, "cuMemFree_v2"};
  const Function<void**, std::size_t, unsigned> memHostAlloc{*this, "cuMemHostAlloc"};
  const Function<void*> memFreeHost{*this, "cuMemFreeHost"};
  const Function<CUdeviceptr, const void*, std::size_t, CUstream> memcpyHtoDAsync{*this, "cuMemcpyHtoDAsync_v2"};
  const Function<void*, CUdeviceptr, std::size_t, CUstream> memcpyDtoHAsync{*this, "cuMemcpyDtoHAsync_v2"};
  const Function<CUdeviceptr, unsigned char, std::size_t, CUstream> memsetD8Async{*this, "cuMemsetD8Async"};

  const Function<CUstream*, unsigned> streamCreate{*this, "cuStreamCreate"};
  const Function<CUstream> streamDestroy{*this, "cuStreamDestroy_v2"};
  const Function<CUstream> streamSynchronize{*this, "cuStreamSynchronize"};
  const Function<CUstream, int> streamBeginCapture{*this, "cuStreamBeginCapture_v2"};
  const Function<CUstream, CUgraph*> streamEndCapture{*this, "cuStreamEndCapture"};

  const Function<CUevent*, unsigned> eventCreate{*this, "cuEventCreate"};
  const Function<CUevent> eventDestroy{*this, "cuEventDestroy_v2"};
  const Function<CUevent, CUstream> eventRecord{*this, "cuEventRecord"};
  const Function<CUevent> eventSynchronize{*this, "cuEventSynchronize"};

  const Function<CUmodule*, const void*, unsigned, int*, void**> moduleLoadDataEx{*this, "cuModuleLoadDataEx"};
  const Function<CUmodule> moduleUnload{*this, "cuModuleUnload"};
  const Function<CUfunction*, CUmodule, const char*> moduleGetFunction{*this, "cuModuleGetFunction"};
  const Function<CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, void**,
                 void**>
      launchKernel{*this, "cuLaunchKernel"};

  const Function<CUgraphExec*, CUgraph, unsigned long long> graphInstantiate{*this, "cuGraphInstantiateWithFlags"};
  const Function<CUgraphExec, CUstream> graphLaunch{*this, "cuGraphLaunch"};
  const Function<CUgraph> graphDestroy{*this, "cuGraphDestroy"};
  const Function<CUgraphExec> graphExecDestroy{*this, "cuGraphExecDestroy"};
};

template <typename... Parameters>
Function<Parameters...>::Function(const Driver& driver, const char* symbol)
    : driver_(driver),
      symbol_(symbol),
      pointer_(reinterpret_cast<CUresult (*)(Parameters...)>(driver.require(symbol))) {}

template <typename... Parameters>
void Function<Parameters...>::operator()(Parameters... arguments) const {
  const CUresult result = pointer_(arguments...);
  if (result != CUDA_SUCCESS) driver_.fail(result, symbol_);
}

/** A card, as people know it. */
struct DeviceInfo {
  std::string name;
  /** Compute capability. */
  int major;
  int minor;
  int multiprocessors;
  std::size_t totalBytes;
};

/** The cards the driver knows, in its order; CUDA_VISIBLE_DEVICES chooses among them. */
int countDevices(const Driver& driver);
DeviceInfo describeDevice(const Driver& driver, int ordinal);

}  // namespace bitloom
