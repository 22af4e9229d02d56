/**
 * A CUDA driver that is none: the functions of libcuda.so.1 and libnvrtc.so that runtime/native calls, over the
 * memory of the host. Its cubins are shared libraries of `cuda-host.h`, and its cards have as much memory, and as
 * many faults, as a test wants.
 *
 * It is strict where a real driver is forgiving, or only sometimes not. Streams do nothing until somebody waits for
 * them, so that what is read or changed too early shows. Memory starts as 0xcd. Copies outside of an allocation,
 * handles that are not or no longer alive, and calls without a current context are errors. A kernel that fails
 * breaks its context.
 *
 * It is an addon too, `fake-driver.ts` its other side: Node loads the same file, and tests set and read its state.
 */
#include <dlfcn.h>
#include <node_api.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace {

using Result = int;
constexpr Result OK = 0;
constexpr Result INVALID_VALUE = 1;
constexpr Result OUT_OF_MEMORY = 2;
constexpr Result NOT_INITIALIZED = 3;
constexpr Result NO_DEVICE = 100;
constexpr Result INVALID_DEVICE = 101;
constexpr Result INVALID_IMAGE = 200;
constexpr Result INVALID_CONTEXT = 201;
constexpr Result NO_BINARY_FOR_GPU = 209;
constexpr Result INVALID_HANDLE = 400;
constexpr Result NOT_FOUND = 500;
constexpr Result LAUNCH_FAILED = 719;
constexpr Result CAPTURE_INVALIDATED = 901;

struct Error {
  const char *name;
  const char *text;
};
const std::map<Result, Error> errors = {
    {INVALID_VALUE, {"CUDA_ERROR_INVALID_VALUE", "invalid argument"}},
    {OUT_OF_MEMORY, {"CUDA_ERROR_OUT_OF_MEMORY", "out of memory"}},
    {NOT_INITIALIZED, {"CUDA_ERROR_NOT_INITIALIZED", "initialization error"}},
    {NO_DEVICE, {"CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"}},
    {INVALID_DEVICE, {"CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"}},
    {INVALID_IMAGE, {"CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"}},
    {INVALID_CONTEXT, {"CUDA_ERROR_INVALID_CONTEXT", "invalid device context"}},
    {NO_BINARY_FOR_GPU, {"CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"}},
    {INVALID_HANDLE, {"CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"}},
    {NOT_FOUND, {"CUDA_ERROR_NOT_FOUND", "named symbol not found"}},
    {LAUNCH_FAILED, {"CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"}},
    {CAPTURE_INVALIDATED, {"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"}},
};

/** What a test sets. */
struct Settings {
  int version = 13000;
  int devices = 1;
  int computeCapability = 90;
  std::size_t memoryBytes = std::size_t(1) << 30;
  /** The kernel that faults. */
  std::string faultyKernel;
  /** A function that answers with this instead of doing anything. */
  std::string failingFunction;
  Result failure = OK;
  /** The cubin that NVRTC gives, or empty: then it fails with the log. */
  std::string compiled;
  std::string compilerLog;
};

/** What happened, and what is alive. */
struct Counts {
  long launches = 0;
  long graphLaunches = 0;
  long synchronizations = 0;
};

struct Context {
  Result broken = OK;
};

/** Bytes of the device or pinned ones of the host. */
struct Allocation {
  Context *context;
  std::size_t bytes;
};

using LaunchKernel = int (*)(const char *, const unsigned *, const unsigned *, void **, char *, std::size_t);
using KernelParameters = unsigned (*)(const char *, const std::size_t **);

struct Module {
  void *library;
  std::map<std::string, struct KernelHandle *> kernels;
};

struct KernelHandle {
  std::string name;
  LaunchKernel launch;
  std::vector<std::size_t> parameters;
};

struct Launch {
  KernelHandle *kernel;
  unsigned grid[3];
  unsigned block[3];
  std::vector<std::vector<char>> arguments;
};

struct Graph {
  std::vector<Launch> launches;
};

/** Compute capabilities that NVRTC knows. */
constexpr std::array<int, 4> architectures{80, 86, 90, 100};

/** A program of NVRTC. */
struct Compilation {
  std::string source;
  /** Empty where it is refused. */
  std::string image;
  std::string log;
  /** For a virtual architecture: the image is PTX. */
  bool isPtx = false;
};

struct Stream {
  Context *context;
  std::deque<std::function<Result()>> work;
  /** Pieces of work ever enqueued and ever done. */
  std::uint64_t enqueued = 0;
  std::uint64_t done = 0;
  std::unique_ptr<Graph> capture;
};

struct Event {
  Stream *stream = nullptr;
  /** Of the stream's work, what has to be done. */
  std::uint64_t after = 0;
};

std::recursive_mutex mutex;
Settings settings;
Counts counts;
bool initialized = false;
std::set<Context *> contexts;
std::set<Stream *> streams;
std::set<Event *> events;
std::set<Module *> modules;
std::set<Graph *> graphs;
std::set<Graph *> instances;
std::map<std::uint64_t, Allocation> deviceMemory;
std::map<std::uint64_t, Allocation> pinnedMemory;
std::string lastCompilation;
std::vector<std::string> lastOptions;
thread_local std::vector<Context *> current;
/** Of all threads: a call that leaves a context current has forgotten it. */
std::size_t currentContexts = 0;

std::size_t allocatedBytes() {
  std::size_t sum = 0;
  for (const auto &[address, allocation] : deviceMemory) sum += allocation.bytes;
  return sum;
}

/** Whether the bytes lie in one allocation of the current context. */
bool isWithin(const std::map<std::uint64_t, Allocation> &memory, std::uint64_t address, std::size_t bytes) {
  auto after = memory.upper_bound(address);
  if (after == memory.begin()) return false;
  const auto &[start, allocation] = *--after;
  return allocation.context == current.back() && address - start <= allocation.bytes &&
         bytes <= allocation.bytes - (address - start);
}

/** What every function asks first: that the test lets it work, and that a context is current that is whole. */
Result enter(const char *function, bool needsContext) {
  if (settings.failingFunction == function) return settings.failure;
  if (!initialized) return NOT_INITIALIZED;
  if (!needsContext) return OK;
  if (current.empty() || contexts.count(current.back()) == 0) return INVALID_CONTEXT;
  return current.back()->broken;
}

#define IN_DRIVER                                           \
  const std::lock_guard<std::recursive_mutex> lock(mutex); \
  if (const Result entered = enter(__func__, false)) return entered
#define IN_CONTEXT                                          \
  const std::lock_guard<std::recursive_mutex> lock(mutex); \
  if (const Result entered = enter(__func__, true)) return entered

Result run(const Launch &launch) {
  counts.launches++;
  if (launch.kernel->name == settings.faultyKernel) return LAUNCH_FAILED;
  std::vector<std::vector<char>> values = launch.arguments;
  std::vector<void *> arguments;
  for (auto &value : values) arguments.push_back(value.data());
  char message[512] = "";
  const int status =
      launch.kernel->launch(launch.kernel->name.c_str(), launch.grid, launch.block, arguments.data(), message, sizeof message);
  if (status != 0) fprintf(stderr, "fake driver: %s\n", message);
  return status == 0 ? OK : LAUNCH_FAILED;
}

/** Does a stream's work until so many pieces are done. */
Result drain(Stream *stream, std::uint64_t until) {
  while (stream->done < until) {
    const auto work = std::move(stream->work.front());
    stream->work.pop_front();
    stream->done++;
    if (stream->context->broken == OK) stream->context->broken = work();
  }
  return stream->context->broken;
}

Result enqueue(Stream *stream, std::function<Result()> work) {
  if (streams.count(stream) == 0) return INVALID_HANDLE;
  // Nothing but launches is captured here.
  if (stream->capture) return CAPTURE_INVALIDATED;
  stream->work.push_back(std::move(work));
  stream->enqueued++;
  return OK;
}

template <typename T>
Result destroy(std::set<T *> &known, T *handle) {
  if (known.erase(handle) == 0) return INVALID_HANDLE;
  delete handle;
  return OK;
}

/** What a program makes of a source; nothing where it fails. */
std::string compileWith(const std::string &compiler, const std::string &source) {
  char folder[] = "/tmp/fake-nvrtc-XXXXXX";
  if (mkdtemp(folder) == nullptr) return "";
  const std::string input = std::string(folder) + "/kernels.cu", output = std::string(folder) + "/image";
  std::ofstream(input) << source;
  std::string image;
  if (system(("'" + compiler + "' " + input + " " + output).c_str()) == 0) {
    std::ifstream file(output, std::ios::binary);
    image.assign(std::istreambuf_iterator<char>(file), {});
  }
  unlink(input.c_str());
  unlink(output.c_str());
  rmdir(folder);
  return image;
}

void unload(Module *module) {
  for (const auto &[name, kernel] : module->kernels) delete kernel;
  dlclose(module->library);
}

}  // namespace

extern "C" {

Result cuInit(unsigned) {
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  initialized = true;
  return enter(__func__, false);
}

Result cuDriverGetVersion(int *version) {
  *version = settings.version;
  return OK;
}

Result cuGetErrorName(Result result, const char **name) {
  const auto found = errors.find(result);
  if (found == errors.end()) return INVALID_VALUE;
  *name = found->second.name;
  return OK;
}

Result cuGetErrorString(Result result, const char **text) {
  const auto found = errors.find(result);
  if (found == errors.end()) return INVALID_VALUE;
  *text = found->second.text;
  return OK;
}

Result cuDeviceGetCount(int *count) {
  IN_DRIVER;
  *count = settings.devices;
  return OK;
}

Result cuDeviceGet(int *device, int ordinal) {
  IN_DRIVER;
  if (ordinal < 0 || ordinal >= settings.devices) return INVALID_DEVICE;
  *device = ordinal;
  return OK;
}

Result cuDeviceGetName(char *name, int size, int) {
  IN_DRIVER;
  snprintf(name, std::size_t(size), "Fake GPU");
  return OK;
}

Result cuDeviceGetAttribute(int *value, int attribute, int) {
  IN_DRIVER;
  const std::map<int, int> values = {
      {16, 132}, {75, settings.computeCapability / 10}, {76, settings.computeCapability % 10}};
  const auto found = values.find(attribute);
  if (found == values.end()) return INVALID_VALUE;
  *value = found->second;
  return OK;
}

Result cuDeviceTotalMem_v2(std::size_t *bytes, int) {
  IN_DRIVER;
  *bytes = settings.memoryBytes;
  return OK;
}

Result cuCtxCreate_v2(Context **context, unsigned, int) {
  IN_DRIVER;
  *context = new Context;
  contexts.insert(*context);
  current.push_back(*context);
  currentContexts++;
  return OK;
}

Result cuCtxDestroy_v2(Context *context) {
  IN_DRIVER;
  return destroy(contexts, context);
}

Result cuCtxPushCurrent_v2(Context *context) {
  IN_DRIVER;
  if (contexts.count(context) == 0) return INVALID_CONTEXT;
  current.push_back(context);
  currentContexts++;
  return OK;
}

Result cuCtxPopCurrent_v2(Context **context) {
  IN_DRIVER;
  if (current.empty()) return INVALID_CONTEXT;
  *context = current.back();
  current.pop_back();
  currentContexts--;
  return OK;
}

Result cuMemGetInfo_v2(std::size_t *free, std::size_t *total) {
  IN_CONTEXT;
  *total = settings.memoryBytes;
  *free = settings.memoryBytes - allocatedBytes();
  return OK;
}

Result cuMemAlloc_v2(std::uint64_t *address, std::size_t bytes) {
  IN_CONTEXT;
  if (bytes == 0) return INVALID_VALUE;
  if (bytes > settings.memoryBytes - allocatedBytes()) return OUT_OF_MEMORY;
  void *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (memory == nullptr) return OUT_OF_MEMORY;
  memset(memory, 0xcd, bytes);
  *address = reinterpret_cast<std::uint64_t>(memory);
  deviceMemory[*address] = {current.back(), bytes};
  return OK;
}

/** Frees even what a broken context has, so that what is left alive was forgotten. */
Result cuMemFree_v2(std::uint64_t address) {
  IN_DRIVER;
  if (deviceMemory.erase(address) == 0) return INVALID_VALUE;
  free(reinterpret_cast<void *>(address));
  return OK;
}

Result cuMemHostAlloc(void **memory, std::size_t bytes, unsigned) {
  IN_CONTEXT;
  *memory = malloc(bytes);
  memset(*memory, 0xcd, bytes);
  pinnedMemory[reinterpret_cast<std::uint64_t>(*memory)] = {current.back(), bytes};
  return OK;
}

Result cuMemFreeHost(void *memory) {
  IN_DRIVER;
  if (pinnedMemory.erase(reinterpret_cast<std::uint64_t>(memory)) == 0) return INVALID_VALUE;
  free(memory);
  return OK;
}

Result cuMemcpyHtoDAsync_v2(std::uint64_t to, const void *from, std::size_t bytes, Stream *stream) {
  IN_CONTEXT;
  const bool isPinned = isWithin(pinnedMemory, reinterpret_cast<std::uint64_t>(from), bytes);
  if (!isPinned || !isWithin(deviceMemory, to, bytes)) return INVALID_VALUE;
  return enqueue(stream, [=] {
    memcpy(reinterpret_cast<void *>(to), from, bytes);
    return OK;
  });
}

Result cuMemcpyDtoHAsync_v2(void *to, std::uint64_t from, std::size_t bytes, Stream *stream) {
  IN_CONTEXT;
  const bool isPinned = isWithin(pinnedMemory, reinterpret_cast<std::uint64_t>(to), bytes);
  if (!isPinned || !isWithin(deviceMemory, from, bytes)) return INVALID_VALUE;
  return enqueue(stream, [=] {
    memcpy(to, reinterpret_cast<void *>(from), bytes);
    return OK;
  });
}

Result cuMemsetD8Async(std::uint64_t to, unsigned char value, std::size_t bytes, Stream *stream) {
  IN_CONTEXT;
  if (!isWithin(deviceMemory, to, bytes)) return INVALID_VALUE;
  return enqueue(stream, [=] {
    memset(reinterpret_cast<void *>(to), value, bytes);
    return OK;
  });
}

Result cuStreamCreate(Stream **stream, unsigned) {
  IN_CONTEXT;
  *stream = new Stream;
  (*stream)->context = current.back();
  streams.insert(*stream);
  return OK;
}

Result cuStreamDestroy_v2(Stream *stream) {
  IN_DRIVER;
  return destroy(streams, stream);
}

Result cuStreamSynchronize(Stream *stream) {
  IN_CONTEXT;
  if (streams.count(stream) == 0) return INVALID_HANDLE;
  counts.synchronizations++;
  return drain(stream, stream->enqueued);
}

Result cuStreamBeginCapture_v2(Stream *stream, int) {
  IN_CONTEXT;
  if (streams.count(stream) == 0) return INVALID_HANDLE;
  stream->capture = std::make_unique<Graph>();
  return OK;
}

Result cuStreamEndCapture(Stream *stream, Graph **graph) {
  IN_CONTEXT;
  if (streams.count(stream) == 0 || !stream->capture) return INVALID_HANDLE;
  *graph = stream->capture.release();
  graphs.insert(*graph);
  return OK;
}

Result cuEventCreate(Event **event, unsigned) {
  IN_CONTEXT;
  *event = new Event;
  events.insert(*event);
  return OK;
}

Result cuEventDestroy_v2(Event *event) {
  IN_DRIVER;
  return destroy(events, event);
}

Result cuEventRecord(Event *event, Stream *stream) {
  IN_CONTEXT;
  if (events.count(event) == 0 || streams.count(stream) == 0) return INVALID_HANDLE;
  *event = {stream, stream->enqueued};
  return OK;
}

Result cuEventSynchronize(Event *event) {
  IN_CONTEXT;
  if (events.count(event) == 0) return INVALID_HANDLE;
  return event->stream == nullptr ? OK : drain(event->stream, event->after);
}

Result cuModuleLoadDataEx(Module **module, const void *image, unsigned, const int *, void **values) {
  IN_CONTEXT;
  // The size of an ELF file that ends in its section headers, as these do.
  const auto *bytes = static_cast<const unsigned char *>(image);
  if (memcmp(bytes, "\177ELF", 4) != 0) {
    snprintf(static_cast<char *>(values[0]), reinterpret_cast<std::size_t>(values[1]), "fatal: no ELF file");
    return INVALID_IMAGE;
  }
  std::uint64_t headers;
  std::uint16_t size, count;
  memcpy(&headers, bytes + 40, sizeof headers);
  memcpy(&size, bytes + 58, sizeof size);
  memcpy(&count, bytes + 60, sizeof count);
  char path[] = "/tmp/fake-cubin-XXXXXX";
  const int file = mkstemp(path);
  const std::size_t total = headers + std::size_t(size) * count;
  const bool isWritten = write(file, bytes, total) == ssize_t(total);
  close(file);
  void *library = isWritten ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
  unlink(path);
  if (library == nullptr) return INVALID_IMAGE;
  *module = new Module{library, {}};
  modules.insert(*module);
  return OK;
}

Result cuModuleUnload(Module *module) {
  IN_DRIVER;
  if (modules.count(module) == 0) return INVALID_HANDLE;
  unload(module);
  return destroy(modules, module);
}

Result cuModuleGetFunction(KernelHandle **kernel, Module *module, const char *name) {
  IN_CONTEXT;
  if (modules.count(module) == 0) return INVALID_HANDLE;
  using KernelName = const char *(*)(unsigned);
  const auto kernelName = reinterpret_cast<KernelName>(dlsym(module->library, "cuda_host_kernel"));
  unsigned index = 0;
  while (kernelName(index) != nullptr && strcmp(kernelName(index), name) != 0) index++;
  if (kernelName(index) == nullptr) return NOT_FOUND;
  const std::size_t *sizes = nullptr;
  const auto parameters = reinterpret_cast<KernelParameters>(dlsym(module->library, "cuda_host_parameters"));
  const unsigned count = parameters(name, &sizes);
  KernelHandle *&known = module->kernels[name];
  if (known == nullptr) {
    known = new KernelHandle{name, reinterpret_cast<LaunchKernel>(dlsym(module->library, "cuda_host_launch")),
                             {sizes, sizes + count}};
  }
  *kernel = known;
  return OK;
}

Result cuLaunchKernel(KernelHandle *kernel, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,
                      unsigned blockY, unsigned blockZ, unsigned, Stream *stream, void **parameters, void **) {
  IN_CONTEXT;
  if (streams.count(stream) == 0) return INVALID_HANDLE;
  if (gridX == 0 || gridY == 0 || gridZ == 0 || gridY > 65535 || gridZ > 65535) return INVALID_VALUE;
  Launch launch{kernel, {gridX, gridY, gridZ}, {blockX, blockY, blockZ}, {}};
  for (std::size_t i = 0; i < kernel->parameters.size(); i++) {
    const char *value = static_cast<const char *>(parameters[i]);
    launch.arguments.emplace_back(value, value + kernel->parameters[i]);
  }
  if (stream->capture) {
    stream->capture->launches.push_back(std::move(launch));
    return OK;
  }
  return enqueue(stream, [launch = std::move(launch)] { return run(launch); });
}

Result cuGraphInstantiateWithFlags(Graph **instance, Graph *graph, unsigned long long) {
  IN_CONTEXT;
  if (graphs.count(graph) == 0) return INVALID_HANDLE;
  *instance = new Graph(*graph);
  instances.insert(*instance);
  return OK;
}

Result cuGraphLaunch(Graph *instance, Stream *stream) {
  IN_CONTEXT;
  if (instances.count(instance) == 0) return INVALID_HANDLE;
  counts.graphLaunches++;
  return enqueue(stream, [instance] {
    for (const Launch &launch : instance->launches) {
      if (const Result result = run(launch)) return result;
    }
    return OK;
  });
}

Result cuGraphDestroy(Graph *graph) {
  IN_DRIVER;
  return destroy(graphs, graph);
}

Result cuGraphExecDestroy(Graph *instance) {
  IN_DRIVER;
  return destroy(instances, instance);
}

// NVRTC. What compiles is a program that the environment names, if any: it takes the paths of source and image.

Result nvrtcVersion(int *major, int *minor) {
  *major = settings.version / 1000;
  *minor = settings.version % 1000 / 10;
  return OK;
}

const char *nvrtcGetErrorString(Result) { return "NVRTC_ERROR_COMPILATION"; }

Result nvrtcCreateProgram(Compilation **program, const char *source, const char *, int, const char *const *,
                          const char *const *) {
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  lastCompilation = source;
  *program = new Compilation{source, settings.compiled, settings.compilerLog};
  return OK;
}

Result nvrtcDestroyProgram(Compilation **program) {
  delete *program;
  *program = nullptr;
  return OK;
}

Result nvrtcCompileProgram(Compilation *program, int count, const char *const *options) {
  {
    const std::lock_guard<std::recursive_mutex> lock(mutex);
    lastOptions.assign(options, options + count);
  }
  program->isPtx = count > 0 && std::string(options[0]).find("=compute_") != std::string::npos;
  if (const char *compiler = getenv("BITLOOM_FAKE_COMPILER")) program->image = compileWith(compiler, program->source);
  return program->image.empty() ? 6 : OK;
}

Result nvrtcGetProgramLogSize(Compilation *program, std::size_t *size) {
  *size = program->log.size() + 1;
  return OK;
}

Result nvrtcGetProgramLog(Compilation *program, char *log) {
  memcpy(log, program->log.c_str(), program->log.size() + 1);
  return OK;
}

Result nvrtcGetCUBINSize(Compilation *program, std::size_t *size) {
  *size = program->isPtx ? 0 : program->image.size();
  return OK;
}

Result nvrtcGetPTXSize(Compilation *program, std::size_t *size) {
  *size = program->image.size();
  return OK;
}

Result nvrtcGetCUBIN(Compilation *program, char *cubin) {
  if (program->isPtx) return 4;
  memcpy(cubin, program->image.data(), program->image.size());
  return OK;
}

Result nvrtcGetPTX(Compilation *program, char *ptx) {
  memcpy(ptx, program->image.data(), program->image.size());
  return OK;
}

Result nvrtcGetNumSupportedArchs(int *count) {
  *count = static_cast<int>(architectures.size());
  return OK;
}

Result nvrtcGetSupportedArchs(int *known) {
  std::copy(architectures.begin(), architectures.end(), known);
  return OK;
}
}

namespace {

napi_value undefined(napi_env env) {
  napi_value value;
  napi_get_undefined(env, &value);
  return value;
}

/** A property, or null where there is none. */
napi_value get(napi_env env, napi_value object, const char *name) {
  bool has = false;
  napi_has_named_property(env, object, name, &has);
  napi_value value = nullptr;
  if (has) napi_get_named_property(env, object, name, &value);
  return value;
}

template <typename T>
void readNumber(napi_env env, napi_value object, const char *name, T &into) {
  double number = 0;
  const napi_value value = get(env, object, name);
  if (value != nullptr && napi_get_value_double(env, value, &number) == napi_ok) into = static_cast<T>(number);
}

void readText(napi_env env, napi_value object, const char *name, std::string &into) {
  const napi_value value = get(env, object, name);
  if (value == nullptr) return;
  std::size_t length = 0;
  napi_get_value_string_utf8(env, value, nullptr, 0, &length);
  into.resize(length + 1);
  napi_get_value_string_utf8(env, value, into.data(), length + 1, &length);
  into.resize(length);
}

/** Sets what is given, and everything else as it was first. */
napi_value configure(napi_env env, napi_callback_info info) {
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  std::size_t count = 1;
  napi_value given;
  napi_get_cb_info(env, info, &count, &given, nullptr, nullptr);
  settings = {};
  readNumber(env, given, "version", settings.version);
  readNumber(env, given, "devices", settings.devices);
  readNumber(env, given, "computeCapability", settings.computeCapability);
  readNumber(env, given, "memoryBytes", settings.memoryBytes);
  readText(env, given, "faultyKernel", settings.faultyKernel);
  readText(env, given, "failingFunction", settings.failingFunction);
  readNumber(env, given, "failure", settings.failure);
  readText(env, given, "compilerLog", settings.compilerLog);
  if (const napi_value compiled = get(env, given, "compiled")) {
    void *data = nullptr;
    std::size_t bytes = 0;
    napi_get_typedarray_info(env, compiled, nullptr, &bytes, &data, nullptr, nullptr);
    settings.compiled.assign(static_cast<const char *>(data), bytes);
  }
  counts = {};
  return undefined(env);
}

napi_value state(napi_env env, napi_callback_info) {
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  napi_value object, text;
  napi_create_object(env, &object);
  const std::pair<const char *, std::size_t> numbers[] = {
      {"launches", counts.launches},
      {"graphLaunches", counts.graphLaunches},
      {"synchronizations", counts.synchronizations},
      {"allocatedBytes", allocatedBytes()},
      {"handles", contexts.size() + streams.size() + events.size() + modules.size() + graphs.size() + instances.size() +
                      deviceMemory.size() + pinnedMemory.size() + currentContexts},
  };
  for (const auto &[name, number] : numbers) {
    napi_value value;
    napi_create_double(env, static_cast<double>(number), &value);
    napi_set_named_property(env, object, name, value);
  }
  std::string options;
  for (const std::string &option : lastOptions) options += (options.empty() ? "" : " ") + option;
  napi_create_string_utf8(env, options.data(), options.size(), &text);
  napi_set_named_property(env, object, "compilerOptions", text);
  napi_create_string_utf8(env, lastCompilation.data(), lastCompilation.size(), &text);
  napi_set_named_property(env, object, "compiledSource", text);
  return object;
}

}  // namespace

NAPI_MODULE_INIT() {
  const std::pair<const char *, napi_callback> functions[] = {{"configure", configure}, {"state", state}};
  for (const auto &[name, callback] : functions) {
    napi_value function;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
    napi_set_named_property(env, exports, name, function);
  }
  return exports;
}
