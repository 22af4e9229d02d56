#include "session.h"

#include "failure.h"

namespace bitloom {

namespace {

/** Room for what the driver's compiler says about PTX. */
constexpr std::size_t logBytes = 8192;

/** @throws Failure INVALID_CALL: a caller's mistake must not become an access to memory that is not there */
void require(bool condition, const char* what) {
  if (!condition) throw Failure("INVALID_CALL", what);
}

}  // namespace

Session::Session(std::shared_ptr<const Driver> driver, int ordinal) : driver_(std::move(driver)) {
  CUdevice device = 0;
  driver_->deviceGet(&device, ordinal);
  context_ = create<OwnedContext>(*driver_, driver_->ctxCreate, 0u, device);
  // Creating a context makes it current too, and it is to be so only during calls.
  CUcontext popped = nullptr;
  driver_->ctxPopCurrent(&popped);
  const Entry entry(*this);
  contents_ = std::make_unique<Contents>(
      *driver_, create<OwnedStream>(*driver_, driver_->streamCreate, CU_STREAM_NON_BLOCKING));
}

Session::~Session() {
  if (driver_->ctxPushCurrent.result(context_.get()) != CUDA_SUCCESS) return;
  contents_.reset();
  CUcontext popped = nullptr;
  driver_->ctxPopCurrent.result(&popped);
}

MemoryInfo Session::memory() {
  const Entry entry(*this);
  MemoryInfo info{};
  driver_->memGetInfo(&info.freeBytes, &info.totalBytes);
  return info;
}

void Session::allocate(const std::vector<std::size_t>& sizes) {
  const Entry entry(*this);
  std::vector<Region> regions;
  for (const std::size_t bytes : sizes) {
    // The driver refuses to allocate nothing.
    const std::size_t allocated = bytes == 0 ? 1 : bytes;
    regions.push_back({bytes, create<DeviceMemory>(*driver_, driver_->memAlloc, allocated)});
    driver_->memsetD8Async(regions.back().memory.get(), 0, allocated, contents_->stream.get());
  }
  contents_->programs.clear();
  contents_->regions = std::move(regions);
}

std::size_t Session::addModule(const void* image) {
  const Entry entry(*this);
  std::string log(logBytes, '\0');
  int options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  // An option that is a number is passed as the pointer itself.
  void* values[] = {log.data(), reinterpret_cast<void*>(logBytes)};
  CUmodule module = nullptr;
  const CUresult result = driver_->moduleLoadDataEx.result(&module, image, 2u, options, values);
  if (result != CUDA_SUCCESS) {
    const std::string said = log.c_str();
    driver_->fail(result, "cuModuleLoadDataEx" + (said.empty() ? "" : " (" + said + ")"));
  }
  contents_->modules.emplace_back(*driver_, module);
  return contents_->modules.size() - 1;
}

std::size_t Session::addKernel(std::size_t module, const std::string& name, unsigned blockThreads) {
  const Entry entry(*this);
  require(module < contents_->modules.size(), "no such module");
  CUfunction function = nullptr;
  driver_->moduleGetFunction(&function, contents_->modules[module].get(), name.c_str());
  contents_->kernels.push_back({function, blockThreads});
  return contents_->kernels.size() - 1;
}

void Session::write(Place place, const void* bytes, std::size_t count) {
  const Entry entry(*this);
  contents_->staging.upload(address(place, count), bytes, count);
}

void Session::clear(std::size_t region) {
  const Entry entry(*this);
  const CUdeviceptr start = address({region, 0}, 0);
  driver_->memsetD8Async(start, 0, contents_->regions[region].bytes, contents_->stream.get());
}

std::size_t Session::addProgram(const std::vector<Step>& steps) {
  const Entry entry(*this);
  std::vector<Launch> launches;
  for (const auto& [kernel, grid, arguments] : steps) {
    require(kernel < contents_->kernels.size(), "no such kernel");
    Launch launch{contents_->kernels[kernel], grid, {}};
    for (const auto& [isPlace, place, bits] : arguments) launch.arguments.push_back(isPlace ? address(place, 0) : bits);
    launches.push_back(std::move(launch));
  }
  const std::size_t program = contents_->nextProgram++;
  contents_->programs.emplace(std::piecewise_construct, std::forward_as_tuple(program),
                              std::forward_as_tuple(*driver_, std::move(launches)));
  return program;
}

void Session::removeProgram(std::size_t program) {
  const Entry entry(*this);
  contents_->programs.erase(program);
}

void Session::run(std::size_t program, const std::vector<Output>& outputs) {
  const Entry entry(*this);
  const auto found = contents_->programs.find(program);
  require(found != contents_->programs.end(), "no such program");
  std::vector<Download> downloads;
  for (const auto& [place, bytes, to] : outputs) downloads.push_back({address(place, bytes), to, bytes});
  found->second.run(contents_->stream.get());
  contents_->staging.download(downloads);
}

CUdeviceptr Session::address(Place place, std::size_t bytes) const {
  require(place.region < contents_->regions.size(), "no such region");
  const auto& [size, memory] = contents_->regions[place.region];
  require(place.offset <= size && bytes <= size - place.offset, "outside of the region");
  return memory.get() + place.offset;
}

}  // namespace bitloom
