/**
 * Runs CUDA C on a processor: g++ compiles this header, and after it the kernels' text as nvcc gets it, to a shared
 * library (`buildHostLibrary` in host-library.ts). Threads of a block are fibers that meet at barriers and warp
 * operations; blocks run one after the other. Arithmetic is IEEE f32, step by step.
 *
 * What such a library exports, for whoever launches its kernels (the test's runner, a driver that is none):
 *
 *     int cuda_host_launch(const char *kernel, const unsigned grid[3], const unsigned block[3],
 *                          void **arguments, char *message, size_t size);
 *         Runs a kernel to its end on host memory. `arguments[i]` points at the value of parameter i, as
 *         `kernelParams` of cuLaunchKernel do. 0; or 1 with a message of at most `size` bytes where there is no such
 *         kernel, it is launched with another block size than it was compiled for, or its threads do not meet: a
 *         barrier that some do not reach, a warp operation that lanes leave out. One launch at a time.
 *     const char *cuda_host_kernel(unsigned index);
 *         The names of the library's kernels, null past the last.
 *     unsigned cuda_host_parameters(const char *kernel, const size_t **bytes);
 *         How many parameters a kernel has, and the bytes of each; none where there is no such kernel.
 *
 * Shared memory starts as 0xff in each block, and knows who touched it since the last barrier: what one thread writes
 * and another one reads or writes without a barrier between them is an error, as is an index out of bounds.
 *
 * Not found here: races in the device's memory, but that threads run in ascending and in descending order by turns;
 * accesses there out of bounds, but where they leave the mapped memory.
 */
#pragma once
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <utility>

struct uint3 {
  unsigned x, y, z;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

namespace cuda_host {

constexpr unsigned WARP = 32;
constexpr unsigned MAX_THREADS = 1024;
constexpr size_t STACK_BYTES = 128 * 1024;
/** Bytes that a lane can bring to a warp operation. */
constexpr size_t SLOT_BYTES = 64;

enum class State { ready, at_barrier, in_warp, done };

struct Fiber {
  ucontext_t start;
  jmp_buf resume;
  bool started;
  State state;
  /** The line of the source that it waits at. */
  int line;
  /** Warp operations so far: odd and even ones have slots of their own. */
  unsigned operations;
  alignas(16) char slots[2][SLOT_BYTES];
  uint3 thread;
};

struct Kernel {
  const char *name;
  unsigned threads;
  void (*run)(void **arguments);
  /** Bytes of each parameter. */
  const size_t *parameters;
  unsigned parameter_count;
  char *shared_begin;
  char *shared_end;
  Kernel *next;
};

inline Kernel *kernels = nullptr;

struct Launch {
  const Kernel *kernel;
  void **arguments;
  char *message;
  size_t size;
  bool failed;
};

inline Launch launch;
inline Fiber *fibers = nullptr;
inline char *stacks = nullptr;
inline Fiber *current = nullptr;
inline ucontext_t scheduler_start;
inline jmp_buf scheduler;
inline uint3 grid_dim, block_dim, block_index;
/** Barriers that the block has met at. */
inline unsigned barriers = 0;

template <typename... Values>
void fail(const char *format, Values... values) {
  if (launch.failed) return;
  launch.failed = true;
  const int used = snprintf(launch.message, launch.size, "%s, block (%u, %u): ", launch.kernel->name,
                            block_index.x, block_index.y);
  if (used > 0 && size_t(used) < launch.size) {
    snprintf(launch.message + used, launch.size - used, format, values...);
  }
}

/** From a fiber to the scheduler, until the fiber is resumed. */
inline void suspend(State state, int line) {
  current->state = state;
  current->line = line;
  if (_setjmp(current->resume) == 0) _longjmp(scheduler, 1);
}

inline void enter() {
  launch.kernel->run(launch.arguments);
  current->state = State::done;
  _longjmp(scheduler, 1);
}

inline void resume(Fiber &fiber, unsigned index) {
  current = &fiber;
  if (_setjmp(scheduler) != 0) return;
  if (fiber.started) _longjmp(fiber.resume, 1);
  fiber.started = true;
  getcontext(&fiber.start);
  fiber.start.uc_stack.ss_sp = stacks + index * STACK_BYTES;
  fiber.start.uc_stack.ss_size = STACK_BYTES;
  fiber.start.uc_link = nullptr;
  makecontext(&fiber.start, enter, 0);
  setcontext(&fiber.start);
}

inline const char *describe(const Fiber &fiber) {
  switch (fiber.state) {
    case State::at_barrier:
      return "waits at __syncthreads";
    case State::in_warp:
      return "waits in a warp operation";
    case State::done:
      return "has ended";
    default:
      return "runs";
  }
}

/** Releases threads `first` to `last` if all of them wait in the same way; says whether it did. */
inline bool meet(State state, unsigned first, unsigned last) {
  for (unsigned i = first; i < last; i++) {
    if (fibers[i].state != state || fibers[i].line != fibers[first].line) return false;
  }
  for (unsigned i = first; i < last; i++) fibers[i].state = State::ready;
  return true;
}

/** Two threads that wait for one another. */
inline void fail_divergent(unsigned threads) {
  for (unsigned i = 0; i < threads; i++) {
    const unsigned group = fibers[i].state == State::in_warp ? i / WARP * WARP : 0;
    const unsigned end = fibers[i].state == State::in_warp && group + WARP < threads ? group + WARP : threads;
    if (fibers[i].state == State::done) continue;
    for (unsigned j = group; j < end; j++) {
      if (fibers[j].state == fibers[i].state && fibers[j].line == fibers[i].line) continue;
      return fail("thread %u %s (line %d), thread %u %s (line %d)", i, describe(fibers[i]), fibers[i].line, j,
                  describe(fibers[j]), fibers[j].line);
    }
  }
}

inline void run_block(unsigned threads) {
  if (launch.kernel->shared_begin != nullptr) {
    memset(launch.kernel->shared_begin, 0xff, launch.kernel->shared_end - launch.kernel->shared_begin);
  }
  barriers = 0;
  for (unsigned i = 0; i < threads; i++) {
    Fiber &fiber = fibers[i];
    fiber.started = false;
    fiber.state = State::ready;
    fiber.operations = 0;
    fiber.thread = {i % block_dim.x, i / block_dim.x % block_dim.y, i / block_dim.x / block_dim.y};
  }
  for (unsigned round = 0;; round++) {
    unsigned done = 0;
    for (unsigned step = 0; step < threads; step++) {
      const unsigned i = round % 2 == 0 ? step : threads - 1 - step;
      if (fibers[i].state == State::ready) resume(fibers[i], i);
      if (launch.failed) return;
      if (fibers[i].state == State::done) done++;
    }
    if (done == threads) return;
    bool met = false;
    for (unsigned first = 0; first < threads; first += WARP) {
      const unsigned last = first + WARP < threads ? first + WARP : threads;
      met = meet(State::in_warp, first, last) || met;
    }
    if (met) continue;
    if (!meet(State::at_barrier, 0, threads)) return fail_divergent(threads);
    barriers++;
  }
}

/** Fails a thread that cannot go on. */
template <typename... Values>
void stop(const char *format, Values... values) {
  fail(format, values...);
  for (;;) suspend(State::done, 0);
}

/** An array that a block shares. Warp operations order no accesses to it: barriers alone do. */
template <typename T, size_t length>
class Shared {
 public:
  class Element {
   public:
    Element(Shared &array, size_t index) : array_(array), index_(index) {}
    operator T() const { return array_.read(index_); }
    T operator=(const T &value) const { return array_.write(index_, value); }
    T operator=(const Element &other) const { return *this = T(other); }
    /** For what reads or writes between barriers of its own. */
    T *operator&() const { return &array_.values_[index_]; }

   private:
    Shared &array_;
    const size_t index_;
  };

  template <typename Index>
  Element operator[](Index index) {
    if (size_t(index) >= length) stop("thread %u is at element %lld of %zu", self(), (long long)index, length);
    return {*this, size_t(index)};
  }

 private:
  static constexpr unsigned short MANY = 0xfffe;
  /** After how many barriers, and who; all 0xff where nobody was. */
  struct Access {
    unsigned barriers;
    unsigned short thread;
  };

  static unsigned short self() { return static_cast<unsigned short>(current - fibers); }

  static void require_alone(const Access &other, const char *mine, const char *theirs, size_t index) {
    if (other.barriers != barriers || other.thread == self()) return;
    stop("a race: thread %u %s element %zu of shared memory that another one %s", self(), mine, index, theirs);
  }
  T read(size_t index) {
    require_alone(writes_[index], "reads", "wrote", index);
    Access &known = reads_[index];
    const bool isFirst = known.barriers != barriers || known.thread == self();
    known = {barriers, isFirst ? self() : MANY};
    return values_[index];
  }
  T write(size_t index, const T &value) {
    require_alone(writes_[index], "writes", "wrote", index);
    require_alone(reads_[index], "writes", "read", index);
    writes_[index] = {barriers, self()};
    return values_[index] = value;
  }

  T values_[length];
  Access reads_[length], writes_[length];
};

/** What every lane of the warp brings, for the time until this lane's next but one warp operation. */
template <typename T>
struct Lanes {
  const Fiber *warp;
  unsigned slot;
  const T &operator[](unsigned lane) const { return *reinterpret_cast<const T *>(warp[lane].slots[slot]); }
};

template <typename T>
Lanes<T> meet_lanes(unsigned mask, const T &mine, int line) {
  static_assert(sizeof(T) <= SLOT_BYTES, "too much for a warp operation");
  const unsigned index = unsigned(current - fibers);
  if (mask != ~0u || index / WARP * WARP + WARP > block_dim.x * block_dim.y * block_dim.z) {
    stop("line %d: a warp operation of part of a warp", line);
  }
  const unsigned slot = current->operations++ % 2;
  memcpy(current->slots[slot], &mine, sizeof(T));
  suspend(State::in_warp, line);
  return {fibers + index / WARP * WARP, slot};
}

template <typename T>
T shuffle(unsigned mask, T value, unsigned source, int line) {
  return meet_lanes(mask, value, line)[source % WARP];
}

/** Calls a kernel with arguments behind pointers. */
template <auto kernel>
struct Call;
template <typename... Parameters, void (*kernel)(Parameters...)>
struct Call<kernel> {
  template <size_t... Index>
  static void apply(void **arguments, std::index_sequence<Index...>) {
    kernel(*static_cast<Parameters *>(arguments[Index])...);
  }
  static void run(void **arguments) { apply(arguments, std::index_sequence_for<Parameters...>()); }
  static constexpr unsigned count = sizeof...(Parameters);
  /** One more, for there are no arrays of none. */
  static constexpr size_t bytes[count + 1] = {sizeof(Parameters)...};
};

struct Registration {
  Kernel kernel;
  template <typename Called>
  Registration(const char *name, unsigned threads, Called, char *begin, char *end)
      : kernel{name, threads, Called::run, Called::bytes, Called::count, begin, end, kernels} {
    kernels = &kernel;
  }
};

inline char *map(size_t bytes) {
  return static_cast<char *>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

inline const Kernel *find(const char *name) {
  const Kernel *kernel = kernels;
  while (kernel != nullptr && strcmp(kernel->name, name) != 0) kernel = kernel->next;
  return kernel;
}

inline int run(const char *name, const unsigned grid[3], const unsigned block[3], void **arguments,
               char *message, size_t size) {
  const Kernel *kernel = find(name);
  if (kernel == nullptr) {
    snprintf(message, size, "there is no kernel %s", name);
    return 1;
  }
  launch = {kernel, arguments, message, size, false};
  const unsigned threads = block[0] * block[1] * block[2];
  if (threads != kernel->threads) {
    fail("%u threads, compiled for %u", threads, kernel->threads);
    return 1;
  }
  if (fibers == nullptr) {
    fibers = reinterpret_cast<Fiber *>(map(MAX_THREADS * sizeof(Fiber)));
    stacks = map(MAX_THREADS * STACK_BYTES);
  }
  grid_dim = {grid[0], grid[1], grid[2]};
  block_dim = {block[0], block[1], block[2]};
  for (block_index.z = 0; block_index.z < grid_dim.z; block_index.z++) {
    for (block_index.y = 0; block_index.y < grid_dim.y; block_index.y++) {
      for (block_index.x = 0; block_index.x < grid_dim.x; block_index.x++) {
        run_block(threads);
        if (launch.failed) return 1;
      }
    }
  }
  return 0;
}

}  // namespace cuda_host

extern "C" __attribute__((visibility("default"))) int cuda_host_launch(
    const char *kernel, const unsigned grid[3], const unsigned block[3], void **arguments, char *message,
    size_t size) {
  return cuda_host::run(kernel, grid, block, arguments, message, size);
}

extern "C" __attribute__((visibility("default"))) const char *cuda_host_kernel(unsigned index) {
  const cuda_host::Kernel *kernel = cuda_host::kernels;
  for (; kernel != nullptr && index > 0; index--) kernel = kernel->next;
  return kernel == nullptr ? nullptr : kernel->name;
}

extern "C" __attribute__((visibility("default"))) unsigned cuda_host_parameters(const char *name,
                                                                                 const size_t **bytes) {
  const cuda_host::Kernel *kernel = cuda_host::find(name);
  if (kernel == nullptr) return 0;
  *bytes = kernel->parameters;
  return kernel->parameter_count;
}

/** Makes a kernel known whose text, in the namespace of its name, stands before. */
#define CUDA_HOST_KERNEL(kernel, threads)                                                               \
  extern "C" __attribute__((weak, visibility("hidden"))) char __start_shared_##kernel[];                \
  extern "C" __attribute__((weak, visibility("hidden"))) char __stop_shared_##kernel[];                 \
  static cuda_host::Registration registered_##kernel(#kernel, threads, cuda_host::Call<kernel::kernel>{}, \
                                                     __start_shared_##kernel, __stop_shared_##kernel);

// What CUDA C has of its own. Only what the renderer and the CUDA templates use is here.

#define __global__ __attribute__((visibility("default")))
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

#define threadIdx (cuda_host::current->thread)
#define blockIdx (cuda_host::block_index)
#define blockDim (cuda_host::block_dim)
#define gridDim (cuda_host::grid_dim)

#define __syncthreads() cuda_host::suspend(cuda_host::State::at_barrier, __LINE__)
#define __syncwarp() cuda_host::meet_lanes(~0u, 0, __LINE__)
#define __shfl_xor_sync(mask, value, distance) \
  cuda_host::shuffle(mask, value, (threadIdx.x % cuda_host::WARP) ^ unsigned(distance), __LINE__)
#define __shfl_sync(mask, value, lane) cuda_host::shuffle(mask, value, unsigned(lane), __LINE__)

/** The tensor cores' m16n8k32 of signed bytes, as PTX lays fragments out (9.7.14.5.10 of its manual). */
static inline uint4 host_warp_multiply(uint4 rows, unsigned low, unsigned high, uint4 sums) {
  struct Fragment {
    unsigned rows[4], columns[2];
  };
  const Fragment mine = {{rows.x, rows.y, rows.z, rows.w}, {low, high}};
  const cuda_host::Lanes<Fragment> lanes = cuda_host::meet_lanes(~0u, mine, __LINE__);
  const unsigned lane = threadIdx.x % cuda_host::WARP;
  unsigned found[4] = {sums.x, sums.y, sums.z, sums.w};
  for (unsigned i = 0; i < 4; i++) {
    const unsigned lower = i / 2;
    const unsigned column = lane % 4 * 2 + i % 2;
    for (unsigned k = 0; k < 32; k++) {
      const unsigned place = k % 16 / 4, upper = k / 16, shift = k % 4 * 8;
      const unsigned a = lanes[lane / 4 * 4 + place].rows[lower + 2 * upper] >> shift;
      const unsigned b = lanes[column * 4 + place].columns[upper] >> shift;
      found[i] += unsigned(int8_t(a) * int8_t(b));
    }
  }
  return {found[0], found[1], found[2], found[3]};
}

extern "C" {
float floorf(float);
float fabsf(float);
float rintf(float);
double sqrt(double);
}

static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

template <typename To, typename From>
static inline To bit_cast(From from) {
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}
static inline int __float_as_int(float x) { return bit_cast<int>(x); }
static inline unsigned __float_as_uint(float x) { return bit_cast<unsigned>(x); }
static inline float __int_as_float(int x) { return bit_cast<float>(x); }
static inline float __uint_as_float(unsigned x) { return bit_cast<float>(x); }

static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
/** Roots of f32 are exact enough in f64 that rounding twice is rounding once. */
static inline float __fsqrt_rn(float x) { return float(sqrt(double(x))); }
static inline float __frsqrt_rn(float x) { return float(1.0 / sqrt(double(x))); }
static inline int __float2int_rz(float x) {
  if (x != x) return 0;
  return x >= 2147483648.0f ? 2147483647 : x < -2147483648.0f ? -2147483647 - 1 : int(x);
}
static inline unsigned __float2uint_rz(float x) {
  if (!(x > 0)) return 0;
  return x >= 4294967296.0f ? ~0u : unsigned(x);
}

/** Four products of signed bytes, and a sum that wraps. */
static inline int __dp4a(int a, int b, int c) {
  unsigned sum = unsigned(c);
  for (int i = 0; i < 4; i++) sum += unsigned(int8_t(a >> 8 * i) * int8_t(b >> 8 * i));
  return int(sum);
}
