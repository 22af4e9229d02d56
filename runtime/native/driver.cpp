#include "driver.h"

#include "failure.h"

namespace bitloom {

namespace {

std::vector<std::string> libraryNames(const std::string& path) {
  if (!path.empty()) return {path};
#ifdef _WIN32
  return {"nvcuda.dll"};
#else
  return {"libcuda.so.1"};
#endif
}

std::string versionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace

std::shared_ptr<const Driver> Driver::open(const std::string& path) {
  auto driver = std::make_shared<const Driver>(path);
  driver->init(0);
  return driver;
}

Driver::Driver(const std::string& path) : library_(libraryNames(path)) {}

int Driver::version() const {
  int version = 0;
  driverGetVersion(&version);
  return version;
}

int Driver::attribute(CUdevice device, int which) const {
  int value = 0;
  deviceGetAttribute(&value, which, device);
  return value;
}

void Driver::fail(CUresult result, const std::string& symbol) const {
  const char* name = nullptr;
  const char* text = nullptr;
  const bool isKnown = getErrorName.result(result, &name) == CUDA_SUCCESS &&
                       getErrorString.result(result, &text) == CUDA_SUCCESS && name != nullptr && text != nullptr;
  if (!isKnown) throw Failure("CUDA_ERROR_" + std::to_string(result), symbol + " failed");
  throw Failure(name, symbol + ": " + text + " (" + name + ")");
}

void* Driver::require(const char* symbol) const {
  void* address = library_.find(symbol);
  if (address != nullptr) return address;
  int version = 0;
  // The first function that is looked for, and as old as the driver's interface.
  const auto getVersion = reinterpret_cast<CUresult (*)(int*)>(library_.find("cuDriverGetVersion"));
  const bool isDriver = getVersion != nullptr && getVersion(&version) == CUDA_SUCCESS;
  throw Failure("OLD_DRIVER", library_.name() + (isDriver ? ", a driver for CUDA " + versionText(version) + "," : "") +
                                  " has no " + symbol);
}

int countDevices(const Driver& driver) {
  int count = 0;
  driver.deviceGetCount(&count);
  return count;
}

DeviceInfo describeDevice(const Driver& driver, int ordinal) {
  CUdevice device = 0;
  driver.deviceGet(&device, ordinal);
  char name[256] = {};
  driver.deviceGetName(name, sizeof name - 1, device);
  std::size_t totalBytes = 0;
  driver.deviceTotalMem(&totalBytes, device);
  return {name,
          driver.attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
          driver.attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
          driver.attribute(device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
          totalBytes};
}

}  // namespace bitloom
