#pragma once

#include <string>
#include <vector>

namespace bitloom {

/** A shared library, opened while the program runs. It stays open: drivers do not survive being unloaded. */
class Library {
 public:
  /** Opens the first of `names` that is there. @throws Failure NO_LIBRARY naming them all */
  explicit Library(const std::vector<std::string>& names);

  /** The name it was found by. */
  const std::string& name() const noexcept { return name_; }

  /** A function's address, or null. */
  void* find(const char* symbol) const noexcept;

 private:
  std::string name_;
  void* handle_ = nullptr;
};

}  // namespace bitloom
