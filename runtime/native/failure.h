#pragma once

#include <stdexcept>
#include <string>

namespace bitloom {

/** Why a call did not work; it becomes a JavaScript error with this `code`. */
class Failure : public std::runtime_error {
 public:
  Failure(std::string code, const std::string& message)
      : std::runtime_error(message), code_(std::move(code)) {}

  const std::string& code() const noexcept { return code_; }

 private:
  std::string code_;
};

}  // namespace bitloom
