#include "serving/formats/tree.h"

#include "text/text.h"

namespace mr::serving {

std::string printable(std::string_view s) {
  std::string out;
  for (char c : text::utf8_prefix(s, 200)) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      out += c;
    if (out.size() > 200) break;
  }
  return out;
}

std::string Tree::class_of(NodeId id) const {
  if (id == kNoNode) return {};
  const auto& n = at(id);
  if (n.kind != NodeKind::object || n.callee == kNoNode) return {};
  return at(n.callee).text;
}

NodeId Tree::get(NodeId owner, std::string_view key) const {
  if (owner == kNoNode) return kNoNode;
  const Node* n = &at(owner);
  if (n->kind == NodeKind::object) {
    if (n->state == kNoNode) return kNoNode;
    n = &at(n->state);
    // A two-tuple state is (dict, slots).
    if (n->kind == NodeKind::tuple && n->items.size() == 2) n = &at(n->items[0]);
  }
  if (n->kind != NodeKind::dict) return kNoNode;
  NodeId found = kNoNode;
  for (std::size_t i = 0; i + 1 < n->items.size(); i += 2) {
    const auto& k = at(n->items[i]);
    if (k.kind == NodeKind::text && k.text == key) found = n->items[i + 1];  // a repeated key: the last wins
  }
  return found;
}

std::string Tree::text_of(NodeId id) const {
  if (id == kNoNode || at(id).kind != NodeKind::text) return {};
  return at(id).text;
}

namespace {

Result<std::uint64_t> element_count(const std::vector<std::int64_t>& shape) {
  if (shape.size() > 32) return fail(Code::invalid_argument, "an array has more than 32 dimensions");
  std::uint64_t n = 1;
  for (auto d : shape) {
    if (d < 0 || (d > 0 && n > (1ULL << 40) / static_cast<std::uint64_t>(d)))
      return fail(Code::invalid_argument, "an array's shape is out of range");
    n *= static_cast<std::uint64_t>(d);
  }
  return n;
}

template <class T>
double load(const char* p, bool swap) {
  char raw[sizeof(T)];
  std::memcpy(raw, p, sizeof(T));
  if (swap) std::reverse(raw, raw + sizeof(T));
  T v{};
  std::memcpy(&v, raw, sizeof(T));
  return static_cast<double>(v);
}

// IEEE half precision.
double load_half(const char* p, bool swap) {
  unsigned char b[2] = {static_cast<unsigned char>(p[0]), static_cast<unsigned char>(p[1])};
  unsigned h = swap ? (b[0] << 8U | b[1]) : (b[1] << 8U | b[0]);
  int exponent = static_cast<int>(h >> 10U & 31U);
  double mantissa = h & 1023U;
  double v = exponent == 0    ? std::ldexp(mantissa, -24)
             : exponent == 31 ? (mantissa != 0 ? std::nan("") : INFINITY)
                              : std::ldexp(1024 + mantissa, exponent - 25);
  return (h & 0x8000U) != 0 ? -v : v;
}

void append_utf8(std::string& out, std::uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 63));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 63));
    out += static_cast<char>(0x80 | (c & 63));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18 & 7));
    out += static_cast<char>(0x80 | (c >> 12 & 63));
    out += static_cast<char>(0x80 | (c >> 6 & 63));
    out += static_cast<char>(0x80 | (c & 63));
  }
}

// Column-major to row-major.
template <class T>
std::vector<T> to_row_major(std::vector<T> in, const std::vector<std::int64_t>& shape) {
  if (shape.size() < 2 || in.empty()) return in;
  std::vector<T> out(in.size());
  std::vector<std::size_t> index(shape.size(), 0);
  std::vector<std::size_t> stride(shape.size(), 1);
  for (std::size_t d = 1; d < shape.size(); ++d) stride[d] = stride[d - 1] * static_cast<std::size_t>(shape[d - 1]);
  for (auto& slot : out) {
    std::size_t from = 0;
    for (std::size_t d = 0; d < shape.size(); ++d) from += index[d] * stride[d];
    slot = std::move(in[from]);
    for (std::size_t d = shape.size(); d-- > 0;) {
      if (++index[d] < static_cast<std::size_t>(shape[d])) break;
      index[d] = 0;
    }
  }
  return out;
}

}  // namespace

Result<Array> decode_buffer(std::string_view descr, std::vector<std::int64_t> shape, bool fortran,
                            std::string_view bytes) {
  char order = '<';
  if (!descr.empty() && std::string_view("<>|=").find(descr[0]) != std::string_view::npos) {
    order = descr[0];
    descr.remove_prefix(1);
  }
  auto size = descr.empty() ? std::nullopt : text::to_i64(descr.substr(1));
  Array a;
  a.kind = descr.empty() ? '?' : descr[0];
  if (!size || *size < 1 || *size > 1 << 20)
    return fail(Code::invalid_argument, fmt::format("an array has the type '{}', which is not read", printable(descr)));
  a.itemsize = static_cast<int>(*size);
  if (a.kind == 'U') a.itemsize *= 4;
  a.shape = std::move(shape);
  MR_TRY(auto n, element_count(a.shape));
  if (n * static_cast<std::uint64_t>(a.itemsize) != bytes.size())
    return fail(Code::invalid_argument, fmt::format("an array's shape needs {} bytes and {} are there",
                                                    n * static_cast<std::uint64_t>(a.itemsize), bytes.size()));
  const bool swap = order == '>';
  const char* p = bytes.data();
  if (a.kind == 'U') {
    for (std::uint64_t i = 0; i < n; ++i, p += a.itemsize) {
      std::string s;
      for (int k = 0; k < a.itemsize; k += 4) {
        auto c = static_cast<std::uint32_t>(load<std::uint32_t>(p + k, swap));
        if (c == 0) break;
        append_utf8(s, c);
      }
      a.texts.push_back(std::move(s));
    }
    if (fortran) a.texts = to_row_major(std::move(a.texts), a.shape);
    return a;
  }
  double (*read)(const char*, bool) = nullptr;
  switch (a.kind) {
    case 'f':
      read = a.itemsize == 8 ? load<double> : a.itemsize == 4 ? load<float> : a.itemsize == 2 ? load_half : nullptr;
      break;
    case 'i':
      read = a.itemsize == 8   ? load<std::int64_t>
             : a.itemsize == 4 ? load<std::int32_t>
             : a.itemsize == 2 ? load<std::int16_t>
             : a.itemsize == 1 ? load<std::int8_t>
                               : nullptr;
      break;
    case 'u':
      read = a.itemsize == 8   ? load<std::uint64_t>
             : a.itemsize == 4 ? load<std::uint32_t>
             : a.itemsize == 2 ? load<std::uint16_t>
             : a.itemsize == 1 ? load<std::uint8_t>
                               : nullptr;
      break;
    case 'b':
      read = a.itemsize == 1 ? load<std::uint8_t> : nullptr;
      break;
    default:
      break;
  }
  if (read == nullptr)
    return fail(Code::invalid_argument, fmt::format("an array has the type '{}', which is not read", printable(descr)));
  a.numbers.reserve(n);
  for (std::uint64_t i = 0; i < n; ++i, p += a.itemsize) a.numbers.push_back(read(p, swap));
  if (fortran) a.numbers = to_row_major(std::move(a.numbers), a.shape);
  return a;
}

namespace {

// The dtype node of numpy.dtype(code, False, True) with state (3, order, …).
Result<std::string> dtype_of(const Tree& t, NodeId id) {
  if (t.class_of(id) != "numpy.dtype") return fail(Code::invalid_argument, "an array's type is not a numpy.dtype");
  const auto& n = t.at(id);
  std::string code = n.items.empty() ? std::string() : t.text_of(n.items[0]);
  if (n.state != kNoNode) {
    const auto& s = t.at(n.state);
    if (s.kind == NodeKind::tuple && s.items.size() > 1) {
      auto order = t.text_of(s.items[1]);
      if (order == "<" || order == ">" || order == "|" || order == "=") code = order + code;
    }
  }
  return code;
}

Result<std::vector<std::int64_t>> shape_of(const Tree& t, NodeId id) {
  std::vector<std::int64_t> out;
  if (id == kNoNode) return fail(Code::invalid_argument, "an array has no shape");
  const auto& n = t.at(id);
  if (n.kind == NodeKind::integer) return std::vector<std::int64_t>{n.integer};
  if (n.kind != NodeKind::tuple) return fail(Code::invalid_argument, "an array's shape is not a tuple");
  for (auto i : n.items) {
    if (t.at(i).kind != NodeKind::integer)
      return fail(Code::invalid_argument, "an array's shape is not made of integers");
    out.push_back(t.at(i).integer);
  }
  return out;
}

Result<Array> object_array(const Tree& t, std::vector<std::int64_t> shape, const Node& list) {
  Array a;
  a.kind = 'O';
  a.shape = std::move(shape);
  MR_TRY(auto n, element_count(a.shape));
  if (n != list.items.size()) return fail(Code::invalid_argument, "an object array's shape does not fit its items");
  for (auto i : list.items) {
    const auto& item = t.at(i);
    if (item.kind != NodeKind::text)
      return fail(Code::invalid_argument, "an object array holds something else than texts");
    a.texts.push_back(item.text);
  }
  return a;
}

}  // namespace

Result<Array> Tree::array_of(NodeId id) const {
  if (id == kNoNode) return fail(Code::invalid_argument, "a value is missing");
  const auto& n = at(id);
  Array scalar;
  switch (n.kind) {
    case NodeKind::array:
      return arrays.at(static_cast<std::size_t>(n.array));
    case NodeKind::integer:
      scalar.kind = 'i';
      scalar.numbers = {static_cast<double>(n.integer)};
      return scalar;
    case NodeKind::boolean:
      scalar.kind = 'b';
      scalar.itemsize = 1;
      scalar.numbers = {static_cast<double>(n.integer)};
      return scalar;
    case NodeKind::real:
      scalar.numbers = {n.real};
      return scalar;
    case NodeKind::object:
      break;
    default:
      return fail(Code::invalid_argument, "a value is not an array");
  }
  auto made_by = class_of(id);
  auto ends = [&](std::string_view s) { return made_by.ends_with(s); };
  if (ends("multiarray._reconstruct")) {
    if (n.state == kNoNode || at(n.state).kind != NodeKind::tuple || at(n.state).items.size() < 5)
      return fail(Code::invalid_argument, "an array has no content");
    const auto& s = at(n.state).items;
    MR_TRY(auto shape, shape_of(*this, s[1]));
    MR_TRY(auto dtype, dtype_of(*this, s[2]));
    const auto& data = at(s[4]);
    if (data.kind == NodeKind::list) return object_array(*this, std::move(shape), data);
    if (data.kind != NodeKind::bytes) return fail(Code::invalid_argument, "an array's content is not bytes");
    return decode_buffer(dtype, std::move(shape), at(s[3]).integer != 0, data.text);
  }
  if (ends("numeric._frombuffer")) {
    if (n.items.size() < 4) return fail(Code::invalid_argument, "an array has no content");
    const auto& data = at(n.items[0]);
    if (data.kind != NodeKind::bytes) return fail(Code::invalid_argument, "an array's content is not bytes");
    MR_TRY(auto dtype, dtype_of(*this, n.items[1]));
    MR_TRY(auto shape, shape_of(*this, n.items[2]));
    auto order = text_of(n.items[3]);
    if (order != "C" && order != "F")
      return fail(Code::invalid_argument,
                  fmt::format("an array has the order '{}', which is not read", printable(order)));
    return decode_buffer(dtype, std::move(shape), order == "F", data.text);
  }
  if (ends("multiarray.scalar")) {
    if (n.items.size() < 2) return fail(Code::invalid_argument, "a scalar has no content");
    MR_TRY(auto dtype, dtype_of(*this, n.items[0]));
    const auto& data = at(n.items[1]);
    if (data.kind != NodeKind::bytes) return fail(Code::invalid_argument, "a scalar's content is not bytes");
    return decode_buffer(dtype, {}, false, data.text);
  }
  return fail(Code::invalid_argument, fmt::format("{} is not an array", printable(made_by)));
}

Result<> check_symbol(const std::string& module, const std::string& name) {
  static const std::set<std::string> known = [] {
    std::set<std::string> s;
    auto add = [&](const char* mod, std::initializer_list<const char*> names) {
      for (const char* n : names) s.insert(std::string(mod) + "." + n);
    };
    for (const char* m : {"numpy.core.multiarray", "numpy._core.multiarray"}) add(m, {"_reconstruct", "scalar"});
    for (const char* m : {"numpy.core.numeric", "numpy._core.numeric"}) add(m, {"_frombuffer"});
    add("numpy", {"ndarray", "dtype", "float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8",
                  "uint16", "uint32", "uint64", "bool_", "bool", "str_", "object_"});
    add("numpy.dtypes", {"Float64DType", "Float32DType", "Int64DType"});
    for (const char* m : {"builtins", "__builtin__"})
      add(m, {"bytes", "bytearray", "object", "list", "dict", "set", "tuple", "frozenset", "slice", "complex", "int",
              "float", "str", "bool"});
    for (const char* m : {"copyreg", "copy_reg"}) add(m, {"_reconstructor"});
    add("_codecs", {"encode"});
    add("collections", {"OrderedDict", "defaultdict"});
    add("joblib.numpy_pickle", {"NumpyArrayWrapper"});
    add("numpy.random._pickle", {"__randomstate_ctor", "__bit_generator_ctor", "__generator_ctor"});
    add("numpy.random._mt19937", {"MT19937"});
    add("numpy.random._pcg64", {"PCG64"});
    add("sklearn.linear_model._logistic", {"LogisticRegression", "LogisticRegressionCV"});
    add("sklearn.linear_model._base", {"LinearRegression"});
    add("sklearn.linear_model._ridge", {"Ridge", "RidgeClassifier", "RidgeCV", "RidgeClassifierCV"});
    add("sklearn.linear_model._coordinate_descent", {"Lasso", "ElasticNet", "LassoCV", "ElasticNetCV"});
    add("sklearn.linear_model._stochastic_gradient", {"SGDClassifier", "SGDRegressor"});
    add("sklearn.linear_model._perceptron", {"Perceptron"});
    add("sklearn.linear_model._passive_aggressive", {"PassiveAggressiveClassifier", "PassiveAggressiveRegressor"});
    add("sklearn.linear_model._huber", {"HuberRegressor"});
    add("sklearn.linear_model._bayes", {"BayesianRidge", "ARDRegression"});
    add("sklearn.svm._classes", {"LinearSVC", "LinearSVR"});
    add("sklearn.preprocessing._data", {"StandardScaler", "MinMaxScaler"});
    add("sklearn.preprocessing._label", {"LabelBinarizer"});
    add("sklearn.pipeline", {"Pipeline"});
    add("sklearn.linear_model._sgd_fast", {"Hinge", "Log", "ModifiedHuber", "SquaredHinge", "SquaredLoss", "Huber",
                                           "EpsilonInsensitive", "SquaredEpsilonInsensitive"});
    for (const char* m : {"sklearn._loss._loss", "_loss"})
      add(m, {"CyHalfBinomialLoss", "CyHalfMultinomialLoss", "CyHuberLoss", "CyHalfSquaredError", "CyAbsoluteError",
              "CyPinballLoss", "CyExponentialLoss"});
    for (const char* m : {"sklearn._loss.loss"})
      add(m, {"HalfBinomialLoss", "HalfMultinomialLoss", "HalfSquaredError"});
    for (const char* m : {"sklearn._loss.link"})
      add(m, {"LogitLink", "MultinomialLogit", "IdentityLink", "LogLink", "Interval"});
    return s;
  }();
  auto full = module + "." + name;
  if (known.contains(full)) return {};
  return fail(Code::invalid_argument, fmt::format("'{}' is not read natively", printable(full)), "symbol", full);
}

}  // namespace mr::serving
