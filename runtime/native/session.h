#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "driver.h"
#include "owned.h"
#include "program.h"
#include "staging.h"

namespace bitloom {

/** A place in a region of device memory. */
struct Place {
  std::size_t region;
  std::size_t offset;
};

/** An argument as a caller gives it: a place, or four bytes as they are. */
struct Argument {
  bool isPlace;
  Place place;
  std::uint32_t bits;
};

/** A step as a caller gives it, with kernels by their number. */
struct Step {
  std::size_t kernel;
  std::array<unsigned, 3> grid;
  std::vector<Argument> arguments;
};

/** Where an output lies, and where on the host it goes. */
struct Output {
  Place place;
  std::size_t bytes;
  void* to;
};

struct MemoryInfo {
  std::size_t freeBytes;
  std::size_t totalBytes;
};

/**
 * All that one loaded model has on a card, in a context of its own: when a kernel faults, its context is lost, and
 * other models lose no more than the driver makes them. Calls may come from any thread, and wait for one another.
 */
class Session {
 public:
  /** @throws Failure of the driver, as all that follow */
  Session(std::shared_ptr<const Driver> driver, int ordinal);
  ~Session();

  MemoryInfo memory();

  /** Allocates a region for each size, all zero, or none, in place of what was; programs go with their regions. */
  void allocate(const std::vector<std::size_t>& sizes);

  /** Loads a cubin, or PTX that ends in a zero byte. @returns its number @throws Failure with the driver's log */
  std::size_t addModule(const void* image);
  /** @returns the kernel's number */
  std::size_t addKernel(std::size_t module, const std::string& name, unsigned blockThreads);

  /** Copies bytes into a region; they may change once this returns. */
  void write(Place place, const void* bytes, std::size_t count);
  void clear(std::size_t region);

  /** Keeps steps to be run. @returns a number for `run` and `removeProgram` */
  std::size_t addProgram(const std::vector<Step>& steps);
  void removeProgram(std::size_t program);

  /** Runs a program to its end and copies what it was asked for. */
  void run(std::size_t program, const std::vector<Output>& outputs);

 private:
  struct Region {
    std::size_t bytes;
    DeviceMemory memory;
  };

  /** What lives in the context, and goes before it does. */
  struct Contents {
    Contents(const Driver& driver, OwnedStream stream)
        : stream(std::move(stream)), staging(driver, this->stream.get()) {}

    OwnedStream stream;
    Staging staging;
    std::vector<Region> regions;
    std::vector<OwnedModule> modules;
    std::vector<Kernel> kernels;
    std::map<std::size_t, Program> programs;
    std::size_t nextProgram = 0;
  };

  /** Has the session to itself, with its context current. */
  struct Entry {
    explicit Entry(Session& session) : lock(session.mutex_), current(*session.driver_, session.context_) {}

    const std::lock_guard<std::mutex> lock;
    const Current current;
  };

  CUdeviceptr address(Place place, std::size_t bytes) const;

  const std::shared_ptr<const Driver> driver_;
  OwnedContext context_;
  std::unique_ptr<Contents> contents_;
  std::mutex mutex_;
};

}  // namespace bitloom
