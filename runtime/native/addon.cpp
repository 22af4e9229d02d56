/** What JavaScript sees of the addon; runtime/devices/cuda/addon.ts declares the same. */
#include <napi.h>

#include <cstring>
#include <variant>

#include "compiler.h"
#include "driver.h"
#include "session.h"
#include "task.h"

namespace bitloom {

namespace {

using Nothing = std::monostate;

std::size_t toSize(const Napi::Value& value) {
  const std::int64_t number = value.As<Napi::Number>().Int64Value();
  if (number < 0) throw Failure("INVALID_CALL", "a negative count");
  return static_cast<std::size_t>(number);
}

unsigned toUnsigned(const Napi::Value& value) { return value.As<Napi::Number>().Uint32Value(); }

std::string toString(const Napi::Value& value) { return value.As<Napi::String>().Utf8Value(); }

template <typename T, typename Convert>
std::vector<T> toVector(const Napi::Value& value, Convert&& convert) {
  const auto array = value.As<Napi::Array>();
  std::vector<T> converted;
  converted.reserve(array.Length());
  for (std::uint32_t i = 0; i < array.Length(); i++) converted.push_back(convert(array.Get(i)));
  return converted;
}

Place toPlace(const Napi::Object& object) { return {toSize(object.Get("region")), toSize(object.Get("offset"))}; }

Argument toArgument(const Napi::Value& value) {
  const auto object = value.As<Napi::Object>();
  if (object.Has("region")) return {true, toPlace(object), 0};
  std::uint32_t bits = 0;
  if (object.Has("f32")) {
    const float number = object.Get("f32").As<Napi::Number>().FloatValue();
    std::memcpy(&bits, &number, sizeof bits);
  } else {
    bits = static_cast<std::uint32_t>(object.Get("i32").As<Napi::Number>().Int32Value());
  }
  return {false, {}, bits};
}

Step toStep(const Napi::Value& value) {
  const auto object = value.As<Napi::Object>();
  const auto grid = toVector<unsigned>(object.Get("grid"), toUnsigned);
  if (grid.size() != 2) throw Failure("INVALID_CALL", "a grid has two axes");
  return {toSize(object.Get("kernel")), {grid[0], grid[1], 1}, toVector<Argument>(object.Get("arguments"), toArgument)};
}

Napi::Object toObject(Napi::Env env, const DeviceInfo& info) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("name", info.name);
  object.Set("computeCapability", 10 * info.major + info.minor);
  object.Set("multiprocessors", info.multiprocessors);
  object.Set("totalBytes", static_cast<double>(info.totalBytes));
  return object;
}

Napi::Object toObject(Napi::Env env, const MemoryInfo& info) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("freeBytes", static_cast<double>(info.freeBytes));
  object.Set("totalBytes", static_cast<double>(info.totalBytes));
  return object;
}

Napi::Value toUndefined(Napi::Env env, const Nothing&) { return env.Undefined(); }

/** A Session for JavaScript. */
class SessionObject : public Napi::ObjectWrap<SessionObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Session",
                       {InstanceMethod<&SessionObject::memory>("memory"),
                        InstanceMethod<&SessionObject::allocate>("allocate"),
                        InstanceMethod<&SessionObject::addModule>("addModule"),
                        InstanceMethod<&SessionObject::addKernel>("addKernel"),
                        InstanceMethod<&SessionObject::write>("write"),
                        InstanceMethod<&SessionObject::clear>("clear"),
                        InstanceMethod<&SessionObject::addProgram>("addProgram"),
                        InstanceMethod<&SessionObject::removeProgram>("removeProgram"),
                        InstanceMethod<&SessionObject::run>("run"),
                        InstanceMethod<&SessionObject::dispose>("dispose")});
  }

  /** Only `open` constructs one: it alone has a Session to give. */
  explicit SessionObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
    if (!info[0].IsExternal()) throw toError(info.Env(), "INVALID_CALL", "sessions are opened");
    session_ = *info[0].As<Napi::External<std::shared_ptr<Session>>>().Data();
  }

 private:
  const std::shared_ptr<Session>& session() const {
    if (session_ == nullptr) throw Failure("INVALID_CALL", "the session has been disposed of");
    return session_;
  }

  Napi::Value memory(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] { return toObject(info.Env(), session()->memory()); });
  }

  Napi::Value allocate(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      auto work = [session = session(), sizes = toVector<std::size_t>(info[0], toSize)] {
        session->allocate(sizes);
        return Nothing();
      };
      return Task<Nothing>::start(info.Env(), std::move(work), toUndefined);
    });
  }

  Napi::Value addModule(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      const auto bytes = info[0].As<Napi::Uint8Array>();
      // A string ends in a zero byte, by which the driver finds the end of PTX.
      std::string image(reinterpret_cast<const char*>(bytes.Data()), bytes.ByteLength());
      auto work = [session = session(), image = std::move(image)] { return session->addModule(image.c_str()); };
      const auto convert = [](Napi::Env env, std::size_t number) -> Napi::Value {
        return Napi::Number::New(env, static_cast<double>(number));
      };
      return Task<std::size_t>::start(info.Env(), std::move(work), convert);
    });
  }

  Napi::Value addKernel(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      const std::size_t kernel = session()->addKernel(toSize(info[0]), toString(info[1]), toUnsigned(info[2]));
      return Napi::Number::New(info.Env(), static_cast<double>(kernel));
    });
  }

  void write(const Napi::CallbackInfo& info) {
    guarded(info.Env(), [&] {
      const auto bytes = info[2].As<Napi::Uint8Array>();
      session()->write({toSize(info[0]), toSize(info[1])}, bytes.Data(), bytes.ByteLength());
    });
  }

  void clear(const Napi::CallbackInfo& info) {
    guarded(info.Env(), [&] { session()->clear(toSize(info[0])); });
  }

  Napi::Value addProgram(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      const std::size_t program = session()->addProgram(toVector<Step>(info[0], toStep));
      return Napi::Number::New(info.Env(), static_cast<double>(program));
    });
  }

  void removeProgram(const Napi::CallbackInfo& info) {
    guarded(info.Env(), [&] { session()->removeProgram(toSize(info[0])); });
  }

  Napi::Value run(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    return guarded(env, [&] {
      Napi::Array buffers = Napi::Array::New(env);
      const auto outputs = toVector<Output>(info[1], [&](const Napi::Value& value) -> Output {
        const auto object = value.As<Napi::Object>();
        const std::size_t bytes = toSize(object.Get("bytes"));
        auto buffer = Napi::ArrayBuffer::New(env, bytes);
        buffers.Set(buffers.Length(), buffer);
        return {toPlace(object), bytes, buffer.Data()};
      });
      // Held until the copies are made; nobody else has them before.
      auto held = std::make_shared<Napi::Reference<Napi::Array>>(Napi::Persistent(buffers));
      auto work = [session = session(), program = toSize(info[0]), outputs] {
        session->run(program, outputs);
        return Nothing();
      };
      return Task<Nothing>::start(env, std::move(work), [held](Napi::Env, const Nothing&) { return held->Value(); });
    });
  }

  Napi::Value dispose(const Napi::CallbackInfo& info) {
    auto work = [session = std::move(session_)]() mutable {
      session.reset();
      return Nothing();
    };
    return Task<Nothing>::start(info.Env(), std::move(work), toUndefined);
  }

  std::shared_ptr<Session> session_;
};

class CudaAddon : public Napi::Addon<CudaAddon> {
 public:
  CudaAddon(Napi::Env env, Napi::Object exports) : session_(Napi::Persistent(SessionObject::define(env))) {
    DefineAddon(exports, {InstanceMethod<&CudaAddon::probe>("probe"), InstanceMethod<&CudaAddon::open>("open"),
                          InstanceMethod<&CudaAddon::describeCompiler>("describeCompiler"),
                          InstanceMethod<&CudaAddon::compile>("compile")});
  }

 private:
  struct Machine {
    int driverVersion;
    std::vector<DeviceInfo> devices;
  };

  Napi::Value probe(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      auto work = [path = toString(info[0])] {
        const auto driver = Driver::open(path);
        Machine machine{driver->version(), {}};
        const int count = countDevices(*driver);
        for (int ordinal = 0; ordinal < count; ordinal++) machine.devices.push_back(describeDevice(*driver, ordinal));
        return machine;
      };
      const auto convert = [](Napi::Env env, const Machine& machine) -> Napi::Value {
        Napi::Array devices = Napi::Array::New(env);
        for (const DeviceInfo& device : machine.devices) devices.Set(devices.Length(), toObject(env, device));
        Napi::Object object = Napi::Object::New(env);
        object.Set("driverVersion", machine.driverVersion);
        object.Set("devices", devices);
        return object;
      };
      return Task<Machine>::start(info.Env(), std::move(work), convert);
    });
  }

  Napi::Value open(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      auto work = [path = toString(info[0]), ordinal = info[1].As<Napi::Number>().Int32Value()] {
        return std::make_shared<Session>(Driver::open(path), ordinal);
      };
      const auto convert = [this](Napi::Env env, const std::shared_ptr<Session>& session) -> Napi::Value {
        auto opened = session;
        return session_.New({Napi::External<std::shared_ptr<Session>>::New(env, &opened)});
      };
      return Task<std::shared_ptr<Session>>::start(info.Env(), std::move(work), convert);
    });
  }

  Napi::Value describeCompiler(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      const Compiler compiler(toVector<std::string>(info[0], toString));
      const auto [major, minor] = compiler.version();
      Napi::Object object = Napi::Object::New(info.Env());
      object.Set("name", compiler.name());
      object.Set("major", major);
      object.Set("minor", minor);
      const std::vector<int> known = compiler.architectures();
      Napi::Array architectures = Napi::Array::New(info.Env(), known.size());
      for (std::uint32_t i = 0; i < known.size(); i++) architectures.Set(i, known[i]);
      object.Set("architectures", architectures);
      return object;
    });
  }

  Napi::Value compile(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      using Image = std::vector<unsigned char>;
      auto work = [names = toVector<std::string>(info[0], toString), source = toString(info[1]),
                         name = toString(info[2]), options = toVector<std::string>(info[3], toString)] {
        return Compiler(names).compile(source, name, options);
      };
      const auto convert = [](Napi::Env env, const Image& image) -> Napi::Value {
        return Napi::Buffer<unsigned char>::Copy(env, image.data(), image.size());
      };
      return Task<Image>::start(info.Env(), std::move(work), convert);
    });
  }

  Napi::FunctionReference session_;
};

}  // namespace

NODE_API_NAMED_ADDON(bitloom_cuda, CudaAddon)

}  // namespace bitloom
