#pragma once

#include <napi.h>

#include <functional>
#include <optional>
#include <utility>

#include "failure.h"

namespace bitloom {

inline Napi::Error toError(Napi::Env env, const std::string& code, const std::string& message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", code);
  return error;
}

/** Runs a function for JavaScript: a Failure becomes an error with its code, and no other exception gets through. */
template <typename Body>
auto guarded(Napi::Env env, Body&& body) {
  try {
    return body();
  } catch (const Failure& failure) {
    throw toError(env, failure.code(), failure.what());
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::exception& exception) {
    throw toError(env, "INTERNAL", exception.what());
  }
}

/** Work done on a thread of its own, so that JavaScript goes on meanwhile; its end settles a promise. */
template <typename Result>
class Task final : public Napi::AsyncWorker {
 public:
  using Work = std::function<Result()>;
  using Convert = std::function<Napi::Value(Napi::Env, const Result&)>;

  /**
   * @param work runs elsewhere and touches nothing of JavaScript
   * @param convert makes what the promise is resolved with, on the thread of JavaScript
   */
  static Napi::Promise start(Napi::Env env, Work work, Convert convert) {
    // The worker deletes itself when it is done.
    auto* task = new Task(env, std::move(work), std::move(convert));
    const Napi::Promise promise = task->deferred_.Promise();
    task->Queue();
    return promise;
  }

 private:
  Task(Napi::Env env, Work work, Convert convert)
      : AsyncWorker(env), work_(std::move(work)), convert_(std::move(convert)), deferred_(env) {}

  void Execute() override {
    try {
      result_.emplace(work_());
    } catch (const Failure& failure) {
      code_ = failure.code();
      SetError(failure.what());
    } catch (const std::exception& exception) {
      SetError(exception.what());
    }
    // What the work holds is let go where that may take its time.
    work_ = nullptr;
  }

  void OnOK() override { deferred_.Resolve(convert_(Env(), *result_)); }

  void OnError(const Napi::Error& error) override { deferred_.Reject(toError(Env(), code_, error.Message()).Value()); }

  Work work_;
  Convert convert_;
  Napi::Promise::Deferred deferred_;
  std::optional<Result> result_;
  std::string code_ = "INTERNAL";
};

}  // namespace bitloom
