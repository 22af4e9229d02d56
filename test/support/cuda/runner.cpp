/**
 * Runs kernels of host libraries (cuda-host.h) for runner.ts: reads commands from standard input, and writes what they
 * answer to standard output. Numbers are little-endian; a command is a word and what it says below.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace {

enum Command : uint32_t {
  /** path: kernels are this library's from now on. */
  LIBRARY = 1,
  /** u64 bytes: the next region, of bytes 0xff. */
  REGION = 2,
  /** u32 region, u64 offset, u64 bytes, and these. */
  WRITE = 3,
  /** name, u32 grid[3], u32 block[3], u32 count, and so many pairs of u32: a word and its value, or region and offset. */
  LAUNCH = 4,
  /** u32 region, u64 offset, u64 bytes: answers these. */
  READ = 5,
  /** Answers the message of the first launch that failed, or nothing, and forgets all regions. */
  FINISH = 6,
};

constexpr uint32_t WORD = ~0u;

using Launch = int (*)(const char *, const unsigned[3], const unsigned[3], void **, char *, size_t);

/** Memory between pages that nobody may touch. */
struct Region {
  char *mapping;
  size_t mapped;
  char *start;
};

std::vector<Region> regions;
std::string error;
std::string running;

[[noreturn]] void quit(const char *why) {
  fprintf(stderr, "cuda runner: %s\n", why);
  _exit(1);
}

void read_bytes(void *to, size_t bytes) {
  const size_t got = fread(to, 1, bytes, stdin);
  if (got == bytes) return;
  if (got == 0) _exit(0);
  quit("a command ends early");
}

template <typename T>
T read_value() {
  T value;
  read_bytes(&value, sizeof(value));
  return value;
}

std::string read_text() {
  std::string text(read_value<uint32_t>(), '\0');
  read_bytes(text.data(), text.size());
  return text;
}

/** The region ends where the next page may not be touched, as nearly as its alignment to 256 bytes lets it. */
void make_region(size_t bytes) {
  const size_t page = size_t(sysconf(_SC_PAGESIZE));
  const size_t size = (bytes + 255) / 256 * 256;
  const size_t pages = (size + page - 1) / page * page;
  void *mapping = mmap(nullptr, pages + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) quit("out of memory");
  char *usable = static_cast<char *>(mapping) + page;
  if (pages > 0 && mprotect(usable, pages, PROT_READ | PROT_WRITE) != 0) quit("out of memory");
  char *start = usable + pages - size;
  memset(start, 0xff, size);
  regions.push_back({static_cast<char *>(mapping), pages + 2 * page, start});
}

void launch(Launch function) {
  running = read_text();
  unsigned grid[3], block[3];
  read_bytes(grid, sizeof(grid));
  read_bytes(block, sizeof(block));
  const uint32_t count = read_value<uint32_t>();
  std::vector<uint64_t> values(count);
  std::vector<void *> arguments(count);
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t region = read_value<uint32_t>();
    const uint32_t value = read_value<uint32_t>();
    values[i] = region == WORD ? value : reinterpret_cast<uint64_t>(regions[region].start + value);
    arguments[i] = &values[i];
  }
  if (!error.empty()) return;
  char message[512];
  if (function(running.c_str(), grid, block, arguments.data(), message, sizeof(message)) != 0) error = message;
}

void fault(int number) {
  fprintf(stderr, "%s in kernel %s\n", strsignal(number), running.c_str());
  _exit(1);
}

}  // namespace

int main() {
  // Fibers may have used up their own stacks.
  static char stack[1 << 16];
  const stack_t alternative = {stack, 0, sizeof(stack)};
  sigaltstack(&alternative, nullptr);
  for (const int number : {SIGSEGV, SIGBUS, SIGILL, SIGFPE}) {
    struct sigaction action = {};
    action.sa_handler = fault;
    action.sa_flags = SA_ONSTACK;
    sigaction(number, &action, nullptr);
  }
  Launch function = nullptr;
  for (;;) {
    switch (read_value<uint32_t>()) {
      case LIBRARY: {
        void *library = dlopen(read_text().c_str(), RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr) quit(dlerror());
        function = reinterpret_cast<Launch>(dlsym(library, "cuda_host_launch"));
        break;
      }
      case REGION:
        make_region(read_value<uint64_t>());
        break;
      case WRITE: {
        const uint32_t region = read_value<uint32_t>();
        const uint64_t offset = read_value<uint64_t>();
        read_bytes(regions[region].start + offset, read_value<uint64_t>());
        break;
      }
      case LAUNCH:
        launch(function);
        break;
      case READ: {
        const uint32_t region = read_value<uint32_t>();
        const uint64_t offset = read_value<uint64_t>();
        fwrite(regions[region].start + offset, 1, read_value<uint64_t>(), stdout);
        break;
      }
      case FINISH: {
        const uint32_t size = uint32_t(error.size());
        fwrite(&size, sizeof(size), 1, stdout);
        fwrite(error.data(), 1, size, stdout);
        fflush(stdout);
        for (const Region &region : regions) munmap(region.mapping, region.mapped);
        regions.clear();
        error.clear();
        break;
      }
      default:
        quit("an unknown command");
    }
  }
}
