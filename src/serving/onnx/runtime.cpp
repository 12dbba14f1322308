#include "serving/onnx/runtime.h"

#include <dlfcn.h>

#include <cmath>
#include <cstring>
#include <limits>

namespace mr::serving::onnx {

namespace {

// The places of the functions that are used here, in the library's table. New ones are only ever added behind the last.
enum Slot : std::size_t {
  kErrorCode = 1,
  kErrorText = 2,
  kMakeEnvironment = 3,
  kMakeSession = 7,
  kRun = 9,
  kMakeOptions = 10,
  kSetMode = 13,
  kSetOptimization = 23,
  kSetThreads = 24,
  kSetParallel = 25,
  kInputCount = 30,
  kOutputCount = 31,
  kInputType = 33,
  kOutputType = 34,
  kInputName = 36,
  kOutputName = 37,
  kMakeTensor = 48,
  kWrapTensor = 49,
  kTensorData = 51,
  kFillTexts = 52,
  kTextsSize = 53,
  kTextsContent = 54,
  kTensorOfType = 55,
  kKindOfType = 56,
  kElementType = 60,
  kDimensionCount = 61,
  kDimensions = 62,
  kElementCount = 64,
  kShapeOfValue = 65,
  kKindOfValue = 67,
  kCpuMemory = 69,
  kFree = 76,
  kAllocator = 78,
  kItem = 80,
  kItemCount = 81,
  kDropEnvironment = 92,
  kDropStatus = 93,
  kDropMemory = 94,
  kDropSession = 95,
  kDropValue = 96,
  kDropType = 98,
  kDropShape = 99,
  kDropOptions = 100,
  kSetConfig = 130,
};
constexpr std::uint32_t kTable = 4;  // the first version of the table that has them all (library 1.4)
constexpr std::size_t kMaxValues = std::size_t{1} << 29;
constexpr std::size_t kMaxItems = std::size_t{1} << 24;
constexpr int kMaxValueNesting = 4;

// What its one exported function gives.
struct Base {
  void* const* (*table)(std::uint32_t version);
  const char* (*version)();
};

// The library's objects are known by their addresses only.
using Object = void*;

std::string one_line(std::string_view text) {
  std::string out(text.substr(0, 600));
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  return out;
}

bool speaks_of_memory(std::string_view text) {
  for (std::string_view words :
       {"bad_alloc", "bad allocation", "Failed to allocate memory", "Available memory of", "pthread_create failed"})
    if (text.find(words) != std::string_view::npos) return true;
  return false;
}

bool speaks_of_unknown(std::string_view text) {
  for (std::string_view words : {"is not a registered function/op", "Could not find an implementation for",
                                 "under development and support for this is limited", "Unsupported model IR version",
                                 "ONNX Runtime only *guarantees* support", "No Op registered for"})
    if (text.find(words) != std::string_view::npos) return true;
  return false;
}

double double_of_half(std::uint16_t h) {
  const int exponent = (h >> 10) & 0x1F;
  const int fraction = h & 0x3FF;
  double v = exponent == 0    ? std::ldexp(fraction, -24)
             : exponent == 31 ? (fraction != 0 ? std::nan("") : HUGE_VAL)
                              : std::ldexp(fraction + 1024, exponent - 25);
  return (h & 0x8000) != 0 ? -v : v;
}

}  // namespace

struct Session::Impl {
  void* handle = nullptr;
  void* const* table = nullptr;
  std::string version;
  Object environment = nullptr, options = nullptr, session = nullptr, memory = nullptr, allocator = nullptr;
  std::vector<Port> inputs, outputs;

  template <class R, class... A>
  R raw(Slot slot, A... arguments) const {
    return reinterpret_cast<R (*)(A...)>(table[slot])(arguments...);
  }
  // A call that may fail: it gives a status, or nothing when all went well.
  template <class... A>
  Result<> call(Slot slot, A... arguments) const {
    auto* status = raw<Object>(slot, arguments...);
    return status == nullptr ? Result<>() : failed(status);
  }
  [[nodiscard]] Result<> failed(Object status) const {
    const int code = raw<int>(kErrorCode, status);
    std::string text = one_line(raw<const char*>(kErrorText, status));
    raw<void>(kDropStatus, status);
    Code as = Code::internal;
    switch (code) {
      case 2:  // an argument
        as = Code::invalid_argument;
        break;
      case 3:   // no such file
      case 4:   // no model in it
      case 7:   // not the format
      case 10:  // not a graph
        as = Code::data_loss;
        break;
      case 9:  // not implemented
        as = Code::unimplemented;
        break;
      default:
        break;
    }
    if (speaks_of_unknown(text)) as = Code::unimplemented;
    if (speaks_of_memory(text)) as = Code::resource_exhausted;
    return fail(as, std::move(text));
  }

  // Drops an object of the library at the end of a scope.
  struct Held {
    const Impl& impl;
    Slot drop;
    Object object = nullptr;
    Held(const Impl& i, Slot d) : impl(i), drop(d) {}
    ~Held() {
      if (object != nullptr) impl.raw<void>(drop, object);
    }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
  };

  ~Impl() {
    auto drop = [&](Slot slot, Object object) {
      if (object != nullptr) raw<void>(slot, object);
    };
    drop(kDropSession, session);
    drop(kDropOptions, options);
    drop(kDropMemory, memory);
    drop(kDropEnvironment, environment);
    // The library stays: its threads may still be ending.
  }

  Result<> open(const std::string& library);
  Result<> load(const std::string& model, const SessionOptions& o);
  Result<std::vector<Port>> ports(Slot count, Slot name, Slot type) const;
  Result<std::vector<std::int64_t>> shape_of(Object shape) const;
  Result<Value> value_of(Object value, int depth) const;
  Result<> tensor_of(Object value, Value& out) const;
  template <class T, class Out>
  Result<> copy(Object value, std::size_t n, std::vector<Out>& out) const {
    void* data = nullptr;
    MR_CHECK(call(kTensorData, value, &data));
    const auto* from = static_cast<const T*>(data);
    out.resize(n);
    for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<Out>(from[i]);
    return {};
  }
};

Result<> Session::Impl::open(const std::string& library) {
  handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr)
    return fail(Code::unimplemented, fmt::format("ONNX Runtime cannot be opened: {}", one_line(::dlerror())));
  auto* entry = ::dlsym(handle, "OrtGetApiBase");
  const auto* base = entry == nullptr ? nullptr : reinterpret_cast<const Base* (*)()>(entry)();
  if (base == nullptr) return fail(Code::unimplemented, "the library is no ONNX Runtime");
  version = one_line(base->version());
  table = base->table(kTable);
  if (table == nullptr)
    return fail(Code::unimplemented, fmt::format("ONNX Runtime {} has not the interface that is used here", version));
  return {};
}

Result<> Session::Impl::load(const std::string& model, const SessionOptions& o) {
  constexpr int kWarnings = 2, kCpuOfDevice = 0, kDefaultMemory = 0;
  MR_CHECK(call(kMakeEnvironment, kWarnings, static_cast<const char*>("model"), &environment));
  MR_CHECK(call(kMakeOptions, &options));
  MR_CHECK(call(kSetThreads, options, o.threads));
  MR_CHECK(call(kSetParallel, options, o.parallel));
  MR_CHECK(call(kSetOptimization, options, o.optimization));
  MR_CHECK(call(kSetMode, options, o.concurrent ? 1 : 0));
  // Threads that wait for work sleep: there are other models on the machine.
  for (const char* key : {"session.intra_op.allow_spinning", "session.inter_op.allow_spinning"})
    MR_CHECK(call(kSetConfig, options, key, static_cast<const char*>("0")));
  MR_CHECK(call(kCpuMemory, kCpuOfDevice, kDefaultMemory, &memory));
  MR_CHECK(call(kAllocator, &allocator));
  MR_CHECK(call(kMakeSession, environment, model.c_str(), options, &session));
  MR_TRY(inputs, ports(kInputCount, kInputName, kInputType));
  MR_TRY(outputs, ports(kOutputCount, kOutputName, kOutputType));
  return {};
}

Result<std::vector<std::int64_t>> Session::Impl::shape_of(Object shape) const {
  std::size_t n = 0;
  MR_CHECK(call(kDimensionCount, shape, &n));
  if (n > 32) return fail(Code::internal, "a tensor of more than 32 dimensions");
  std::vector<std::int64_t> out(n);
  if (n > 0) MR_CHECK(call(kDimensions, shape, out.data(), n));
  return out;
}

Result<std::vector<Port>> Session::Impl::ports(Slot count, Slot name, Slot type) const {
  std::size_t n = 0;
  MR_CHECK(call(count, session, &n));
  std::vector<Port> out;
  for (std::size_t i = 0; i < n; ++i) {
    Port p;
    char* text = nullptr;
    MR_CHECK(call(name, session, i, allocator, &text));
    p.name = text;
    MR_CHECK(call(kFree, allocator, static_cast<void*>(text)));
    Held held(*this, kDropType);
    MR_CHECK(call(type, session, i, &held.object));
    int kind = 0;
    MR_CHECK(call(kKindOfType, held.object, &kind));
    p.kind = static_cast<Kind>(kind);
    if (p.kind == Kind::tensor) {
      Object shape = nullptr;  // belongs to the type
      MR_CHECK(call(kTensorOfType, held.object, &shape));
      int element = 0;
      MR_CHECK(call(kElementType, shape, &element));
      p.type = static_cast<Element>(element);
      MR_TRY(p.shape, shape_of(shape));
      for (auto& d : p.shape) d = d < 0 ? -1 : d;
    }
    out.push_back(std::move(p));
  }
  return out;
}

Result<> Session::Impl::tensor_of(Object value, Value& out) const {
  Held shape(*this, kDropShape);
  MR_CHECK(call(kShapeOfValue, value, &shape.object));
  int element = 0;
  MR_CHECK(call(kElementType, shape.object, &element));
  out.type = static_cast<Element>(element);
  MR_TRY(out.shape, shape_of(shape.object));
  std::size_t n = 0;
  MR_CHECK(call(kElementCount, shape.object, &n));
  if (n > kMaxValues) return fail(Code::internal, "the model answers with more values than are taken");
  switch (out.type) {
    case Element::float32:
      return copy<float>(value, n, out.numbers);
    case Element::float64:
      return copy<double>(value, n, out.numbers);
    case Element::boolean:
      return copy<bool>(value, n, out.numbers);
    case Element::float16: {
      std::vector<std::uint16_t> raw;
      MR_CHECK(copy<std::uint16_t>(value, n, raw));
      for (auto h : raw) out.numbers.push_back(double_of_half(h));
      return {};
    }
    case Element::uint8:
      return copy<std::uint8_t>(value, n, out.integers);
    case Element::int8:
      return copy<std::int8_t>(value, n, out.integers);
    case Element::uint16:
      return copy<std::uint16_t>(value, n, out.integers);
    case Element::int16:
      return copy<std::int16_t>(value, n, out.integers);
    case Element::uint32:
      return copy<std::uint32_t>(value, n, out.integers);
    case Element::int32:
      return copy<std::int32_t>(value, n, out.integers);
    case Element::uint64:
      return copy<std::uint64_t>(value, n, out.integers);
    case Element::int64:
      return copy<std::int64_t>(value, n, out.integers);
    case Element::text: {
      std::size_t bytes = 0;
      MR_CHECK(call(kTextsSize, value, &bytes));
      std::string all(bytes, '\0');
      std::vector<std::size_t> starts(n);
      if (n > 0) MR_CHECK(call(kTextsContent, value, static_cast<void*>(all.data()), bytes, starts.data(), n));
      for (std::size_t i = 0; i < n; ++i) {
        auto end = i + 1 < n ? starts[i + 1] : bytes;
        if (starts[i] > end || end > bytes) return fail(Code::internal, "texts that are not there");
        out.texts.push_back(all.substr(starts[i], end - starts[i]));
      }
      return {};
    }
    default:
      return fail(Code::internal, fmt::format("the model answers with tensors of type {}, which is not understood",
                                              static_cast<int>(out.type)));
  }
}

Result<Value> Session::Impl::value_of(Object value, int depth) const {
  Value out;
  if (value == nullptr) return out;
  int kind = 0;
  MR_CHECK(call(kKindOfValue, value, &kind));
  out.kind = static_cast<Kind>(kind);
  if (out.kind == Kind::tensor) {
    MR_CHECK(tensor_of(value, out));
    return out;
  }
  if ((out.kind != Kind::sequence && out.kind != Kind::map) || depth >= kMaxValueNesting)
    return fail(Code::internal, "the model answers with a value that is neither a tensor nor a list or map of them");
  std::size_t n = 0;
  MR_CHECK(call(kItemCount, value, &n));
  if (n > kMaxItems) return fail(Code::internal, "the model answers with more values than are taken");
  for (std::size_t i = 0; i < n; ++i) {
    Held item(*this, kDropValue);
    MR_CHECK(call(kItem, value, static_cast<int>(i), allocator, &item.object));
    MR_TRY(auto one, value_of(item.object, depth + 1));
    out.items.push_back(std::move(one));
  }
  return out;
}

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;
const std::string& Session::version() const { return impl_->version; }
const std::vector<Port>& Session::inputs() const { return impl_->inputs; }
const std::vector<Port>& Session::outputs() const { return impl_->outputs; }

Result<std::unique_ptr<Session>> Session::open(const std::string& library, const std::string& model,
                                               const SessionOptions& options) {
  auto impl = std::make_unique<Impl>();
  MR_CHECK(impl->open(library));
  if (auto loaded = impl->load(model, options); !loaded) {
    auto e = loaded.error();
    if (e.code != Code::unimplemented && e.code != Code::resource_exhausted) e.code = Code::data_loss;
    return std::unexpected(std::move(e));
  }
  return std::unique_ptr<Session>(new Session(std::move(impl)));
}

Result<std::vector<Value>> Session::run(const std::vector<Feed>& feeds) {
  auto& m = *impl_;
  if (feeds.size() != m.inputs.size()) return fail(Code::internal, "not one tensor for each input");
  std::vector<std::unique_ptr<Impl::Held>> values, results;
  std::vector<const char*> names, output_names;
  std::vector<Object> in, out(m.outputs.size(), nullptr);
  for (std::size_t i = 0; i < feeds.size(); ++i) {
    const auto& f = feeds[i];
    auto held = std::make_unique<Impl::Held>(m, kDropValue);
    const auto type = static_cast<int>(f.type);
    const std::int64_t* shape = f.shape.data();
    if (f.type == Element::text) {
      MR_CHECK(m.call(kMakeTensor, m.allocator, shape, f.shape.size(), type, &held->object));
      std::vector<const char*> texts;
      texts.reserve(f.texts.size());
      for (const auto& t : f.texts) texts.push_back(t.c_str());
      MR_CHECK(m.call(kFillTexts, held->object, texts.data(), texts.size()));
    } else {
      MR_CHECK(m.call(kWrapTensor, m.memory, const_cast<void*>(static_cast<const void*>(f.data.data())), f.data.size(),
                      shape, f.shape.size(), type, &held->object));
    }
    in.push_back(held->object);
    values.push_back(std::move(held));
    names.push_back(m.inputs[i].name.c_str());
  }
  for (const auto& p : m.outputs) output_names.push_back(p.name.c_str());
  auto ran = m.call(kRun, m.session, Object{nullptr}, names.data(), in.data(), in.size(), output_names.data(),
                    output_names.size(), out.data());
  for (auto* object : out) {
    results.push_back(std::make_unique<Impl::Held>(m, kDropValue));
    results.back()->object = object;
  }
  if (!ran) return std::unexpected(ran.error());
  std::vector<Value> answer;
  for (auto* object : out) {
    MR_TRY(auto v, m.value_of(object, 0));
    answer.push_back(std::move(v));
  }
  return answer;
}

}  // namespace mr::serving::onnx
