#include "library.h"

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

#include "failure.h"

namespace bitloom {

namespace {

#ifdef _WIN32
void* open(const std::string& name) { return LoadLibraryA(name.c_str()); }

std::string lastError() { return "error " + std::to_string(GetLastError()); }
#else
void* open(const std::string& name) { return dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL); }

std::string lastError() {
  const char* text = dlerror();
  return text == nullptr ? "no reason given" : text;
}
#endif

}  // namespace

Library::Library(const std::vector<std::string>& names) {
  std::string reasons;
  for (const std::string& name : names) {
    handle_ = open(name);
    if (handle_ != nullptr) {
      name_ = name;
      return;
    }
    reasons += (reasons.empty() ? "" : "; ") + lastError();
  }
  throw Failure("NO_LIBRARY", reasons);
}

void* Library::find(const char* symbol) const noexcept {
#ifdef _WIN32
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(handle_), symbol));
#else
  return dlsym(handle_, symbol);
#endif
}

}  // namespace bitloom
