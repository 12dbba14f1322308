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

const Dtype::Field* Dtype::field(std::string_view name) const {
  for (const auto& f : fields)
    if (f.name == name) return &f;
  return nullptr;
}

namespace {

std::unexpected<Error> unread_type(std::string_view descr) {
  return fail(Code::invalid_argument, fmt::format("an array has the type '{}', which is not read", printable(descr)));
}

Result<Dtype> plain_dtype(std::string_view descr) {
  auto code = descr;
  Dtype d;
  if (!code.empty() && std::string_view("<>|=").find(code[0]) != std::string_view::npos) {
    d.swap = code[0] == '>';
    code.remove_prefix(1);
  }
  auto size = code.empty() ? std::nullopt : text::to_i64(code.substr(1));
  if (!size || *size < 1 || *size > 1 << 20) return unread_type(descr);
  d.kind = code[0];
  d.itemsize = static_cast<int>(*size);
  bool known = false;
  switch (d.kind) {
    case 'f':
      known = *size == 2 || *size == 4 || *size == 8;
      break;
    case 'i':
    case 'u':
      known = *size == 1 || *size == 2 || *size == 4 || *size == 8;
      break;
    case 'b':
      known = *size == 1;
      break;
    case 'U':
      d.itemsize *= 4;
      known = true;
      break;
    case 'V':
      known = true;
      break;
    default:
      break;
  }
  if (!known) return unread_type(descr);
  return d;
}

// [('left', '<i8'), ('flag', 'u1'), ('', '|V7')]: fields follow one another; those without a name only fill.
Result<Dtype> structure_dtype(std::string_view descr) {
  Dtype d;
  d.kind = 'V';
  std::size_t size = 0;
  auto at = descr;
  auto quoted = [&]() -> std::optional<std::string> {
    auto from = at.find('\'');
    auto to = from == std::string_view::npos ? from : at.find('\'', from + 1);
    if (to == std::string_view::npos) return std::nullopt;
    std::string s(at.substr(from + 1, to - from - 1));
    at.remove_prefix(to + 1);
    return s;
  };
  while (at.find('\'') != std::string_view::npos) {
    auto name = quoted();
    auto code = quoted();
    if (!name || !code || d.fields.size() > 100) return unread_type(descr);
    MR_TRY(Dtype f, plain_dtype(*code));
    // A field that is an array itself has a shape after its type.
    if (!text::trim(at).starts_with(')')) return unread_type(descr);
    if (!name->empty()) d.fields.push_back({*name, f.kind, f.itemsize, f.swap, size});
    size += static_cast<std::size_t>(f.itemsize);
  }
  if (size == 0 || size > 1 << 20) return unread_type(descr);
  d.itemsize = static_cast<int>(size);
  return d;
}

}  // namespace

Result<Buffer> make_buffer(Dtype dtype, std::vector<std::int64_t> shape, bool fortran, std::string_view bytes) {
  MR_TRY(auto n, element_count(shape));
  auto size = static_cast<std::uint64_t>(dtype.itemsize);
  if (n * size != bytes.size())
    return fail(Code::invalid_argument,
                fmt::format("an array's shape needs {} bytes and {} are there", n * size, bytes.size()));
  return Buffer{std::move(dtype), std::move(shape), fortran, bytes};
}

Result<Dtype> parse_dtype(std::string_view descr) {
  return descr.starts_with('[') ? structure_dtype(descr) : plain_dtype(descr);
}

Result<Array> decode_buffer(std::string_view descr, std::vector<std::int64_t> shape, bool fortran,
                            std::string_view bytes) {
  MR_TRY(Dtype dtype, parse_dtype(descr));
  MR_TRY(Buffer buffer, make_buffer(std::move(dtype), std::move(shape), fortran, bytes));
  return decode(buffer);
}

Result<Array> decode(const Buffer& buffer) {
  Array a;
  a.kind = buffer.dtype.kind;
  a.itemsize = buffer.dtype.itemsize;
  a.shape = buffer.shape;
  const bool fortran = buffer.fortran;
  const std::uint64_t n = buffer.count();
  const bool swap = buffer.dtype.swap;
  const char* p = buffer.bytes.data();
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
  if (read == nullptr) return fail(Code::invalid_argument, "an array of structures is not read here");
  a.numbers.reserve(n);
  for (std::uint64_t i = 0; i < n; ++i, p += a.itemsize) a.numbers.push_back(read(p, swap));
  if (fortran) a.numbers = to_row_major(std::move(a.numbers), a.shape);
  return a;
}

namespace {

// The dtype node of numpy.dtype(code, False, True) with state (3, order, base, names, fields, size, alignment, …).
Result<Dtype> dtype_of(const Tree& t, NodeId id, bool plain_only = false) {
  if (t.class_of(id) != "numpy.dtype") return fail(Code::invalid_argument, "an array's type is not a numpy.dtype");
  const auto& n = t.at(id);
  std::string code = n.items.empty() ? std::string() : t.text_of(n.items[0]);
  if (n.state == kNoNode || t.at(n.state).kind != NodeKind::tuple) return parse_dtype(code);
  const auto& s = t.at(n.state).items;
  if (s.size() > 1) {
    auto order = t.text_of(s[1]);
    if (order == "<" || order == ">" || order == "|" || order == "=") code = order + code;
  }
  MR_TRY(Dtype d, plain_dtype(code));
  if (d.kind != 'V') return d;
  if (plain_only || s.size() < 5 || !t.is_none(s[2]) || t.at(s[3]).kind != NodeKind::tuple ||
      t.at(s[4]).kind != NodeKind::dict)
    return unread_type(code);
  for (auto name_id : t.at(s[3]).items) {
    auto name = t.text_of(name_id);
    auto about = t.get(s[4], name);
    if (name.empty() || d.fields.size() > 100 || about == kNoNode || t.at(about).kind != NodeKind::tuple ||
        t.at(about).items.size() < 2)
      return unread_type(code);
    MR_TRY(Dtype f, dtype_of(t, t.at(about).items[0], true));
    auto offset = t.at(t.at(about).items[1]).integer;
    if (offset < 0 || offset > d.itemsize - f.itemsize) return unread_type(code);
    d.fields.push_back({std::move(name), f.kind, f.itemsize, f.swap, static_cast<std::size_t>(offset)});
  }
  return d;
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

Result<Dtype> dtype_at(const Tree& tree, NodeId id) { return dtype_of(tree, id); }

Result<Buffer> Tree::buffer_of(NodeId id) const {
  if (id == kNoNode) return fail(Code::invalid_argument, "a value is missing");
  const auto& n = at(id);
  if (n.kind == NodeKind::array && n.buffer >= 0) return buffers.at(static_cast<std::size_t>(n.buffer));
  if (n.kind != NodeKind::object) return fail(Code::invalid_argument, "a value is not an array");
  auto made_by = class_of(id);
  auto ends = [&](std::string_view s) { return made_by.ends_with(s); };
  if (ends("multiarray._reconstruct")) {
    if (n.state == kNoNode || at(n.state).kind != NodeKind::tuple || at(n.state).items.size() < 5)
      return fail(Code::invalid_argument, "an array has no content");
    const auto& s = at(n.state).items;
    MR_TRY(auto shape, shape_of(*this, s[1]));
    MR_TRY(auto dtype, dtype_of(*this, s[2]));
    const auto& data = at(s[4]);
    if (data.kind != NodeKind::bytes) return fail(Code::invalid_argument, "an array's content is not bytes");
    return make_buffer(std::move(dtype), std::move(shape), at(s[3]).integer != 0, bytes_of(data));
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
    return make_buffer(std::move(dtype), std::move(shape), order == "F", bytes_of(data));
  }
  if (ends("multiarray.scalar")) {
    if (n.items.size() < 2) return fail(Code::invalid_argument, "a scalar has no content");
    MR_TRY(auto dtype, dtype_of(*this, n.items[0]));
    const auto& data = at(n.items[1]);
    if (data.kind != NodeKind::bytes) return fail(Code::invalid_argument, "a scalar's content is not bytes");
    return make_buffer(std::move(dtype), {}, false, bytes_of(data));
  }
  return fail(Code::invalid_argument, fmt::format("{} is not an array", printable(made_by)));
}

Result<Array> Tree::array_of(NodeId id) const {
  if (id == kNoNode) return fail(Code::invalid_argument, "a value is missing");
  const auto& n = at(id);
  // What the decoded array takes, at most: a number is widened to 8 bytes, a text becomes an object.
  auto spend = [this](std::size_t count, bool texts) {
    auto cost = count * (texts ? sizeof(std::string) : sizeof(double));
    if (cost > decode_left) return false;
    decode_left -= cost;
    return true;
  };
  auto too_large = [] { return fail(Code::too_large, "the file's arrays are used more often than is read"); };
  Array scalar;
  switch (n.kind) {
    case NodeKind::array: {
      if (n.buffer >= 0) break;
      if (n.array < 0) return fail(Code::invalid_argument, "an object array holds something else than texts");
      const auto& a = arrays.at(static_cast<std::size_t>(n.array));
      if (!spend(a.size(), !a.texts.empty())) return too_large();
      return a;
    }
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
  if (class_of(id).ends_with("multiarray._reconstruct") && n.state != kNoNode && at(n.state).kind == NodeKind::tuple &&
      at(n.state).items.size() >= 5) {
    const auto& s = at(n.state).items;
    if (const auto& data = at(s[4]); data.kind == NodeKind::list) {
      if (!spend(data.items.size(), true)) return too_large();
      MR_TRY(auto shape, shape_of(*this, s[1]));
      return object_array(*this, std::move(shape), data);
    }
  }
  MR_TRY(auto buffer, buffer_of(id));
  if (!spend(buffer.count(), buffer.dtype.kind == 'U')) return too_large();
  return decode(buffer);
}

Result<std::vector<NodeId>> Tree::cells(NodeId id) const {
  if (id != kNoNode) {
    const auto& n = at(id);
    if (n.kind == NodeKind::list || n.kind == NodeKind::tuple) return n.items;
    if (n.kind == NodeKind::array && (n.array < 0 || !n.items.empty())) return n.items;
    if (class_of(id).ends_with("multiarray._reconstruct") && n.state != kNoNode) {
      const auto& s = at(n.state);
      if (s.kind == NodeKind::tuple && s.items.size() >= 5 && at(s.items[4]).kind == NodeKind::list)
        return at(s.items[4]).items;
    }
  }
  return fail(Code::invalid_argument, "a value is not a list");
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
    add("sklearn.linear_model._coordinate_descent",
        {"Lasso", "ElasticNet", "LassoCV", "ElasticNetCV", "MultiTaskLasso", "MultiTaskLassoCV", "MultiTaskElasticNet",
         "MultiTaskElasticNetCV"});
    add("sklearn.linear_model._stochastic_gradient", {"SGDClassifier", "SGDRegressor", "SGDOneClassSVM"});
    add("sklearn.linear_model._perceptron", {"Perceptron"});
    add("sklearn.linear_model._passive_aggressive", {"PassiveAggressiveClassifier", "PassiveAggressiveRegressor"});
    add("sklearn.linear_model._huber", {"HuberRegressor"});
    for (const char* m : {"sklearn._loss._loss", "_loss"})
      add(m, {"CyHalfPoissonLoss", "CyHalfGammaLoss", "CyHalfTweedieLoss", "CyHalfTweedieLossIdentity",
              "__pyx_unpickle_CyHalfPoissonLoss", "__pyx_unpickle_CyHalfGammaLoss", "__pyx_unpickle_CyHalfTweedieLoss",
              "__pyx_unpickle_CyHalfTweedieLossIdentity"});
    add("sklearn._loss.loss", {"HalfPoissonLoss", "HalfGammaLoss", "HalfTweedieLoss", "HalfTweedieLossIdentity"});
    add("sklearn.linear_model._glm.link", {"LogLink", "IdentityLink"});
    add("sklearn._loss.glm_distribution",
        {"PoissonDistribution", "GammaDistribution", "TweedieDistribution", "DistributionBoundary"});
    add("sklearn.svm._classes", {"SVC", "NuSVC", "SVR", "NuSVR", "OneClassSVM"});
    for (const char* m : {"scipy.sparse", "scipy.sparse.csr", "scipy.sparse._csr"}) add(m, {"csr_matrix", "csr_array"});
    add("sklearn.neighbors._classification", {"KNeighborsClassifier", "RadiusNeighborsClassifier"});
    add("sklearn.neighbors._regression", {"KNeighborsRegressor", "RadiusNeighborsRegressor"});
    add("sklearn.neighbors._nearest_centroid", {"NearestCentroid"});
    add("sklearn.naive_bayes", {"GaussianNB", "MultinomialNB", "ComplementNB", "BernoulliNB", "CategoricalNB"});
    add("sklearn.discriminant_analysis", {"LinearDiscriminantAnalysis", "QuadraticDiscriminantAnalysis"});
    add("sklearn.neighbors._ball_tree", {"BallTree", "BallTree64", "newObj"});
    add("sklearn.neighbors._kd_tree", {"KDTree", "KDTree64", "newObj"});
    add("sklearn.metrics._dist_metrics",
        {"newObj", "EuclideanDistance", "EuclideanDistance64", "ManhattanDistance", "ManhattanDistance64",
         "ChebyshevDistance", "ChebyshevDistance64", "MinkowskiDistance", "MinkowskiDistance64", "CanberraDistance",
         "CanberraDistance64", "BrayCurtisDistance", "BrayCurtisDistance64", "HammingDistance", "HammingDistance64"});
    add("sklearn.neural_network._multilayer_perceptron", {"MLPClassifier", "MLPRegressor"});
    add("sklearn.neural_network._stochastic_optimizers", {"AdamOptimizer", "SGDOptimizer"});
    add("sklearn.cluster._kmeans", {"KMeans", "MiniBatchKMeans", "_kmeans_single_lloyd", "_kmeans_single_elkan"});
    add("sklearn.cluster._bisect_k_means", {"BisectingKMeans", "_BisectingTree"});
    add("sklearn.mixture._gaussian_mixture", {"GaussianMixture"});
    add("sklearn.cross_decomposition._pls", {"PLSRegression", "PLSCanonical", "CCA"});
    add("sklearn.kernel_ridge", {"KernelRidge"});
    add("sklearn.isotonic", {"IsotonicRegression"});
    add("sklearn.dummy", {"DummyClassifier", "DummyRegressor"});
    add("sklearn.ensemble._voting", {"VotingClassifier", "VotingRegressor"});
    add("sklearn.ensemble._stacking", {"StackingClassifier", "StackingRegressor"});
    add("sklearn.calibration",
        {"CalibratedClassifierCV", "_CalibratedClassifier", "_SigmoidCalibration", "_TemperatureScaling"});
    add("sklearn.multiclass",
        {"OneVsRestClassifier", "OneVsOneClassifier", "OutputCodeClassifier", "_ConstantPredictor"});
    add("sklearn.multioutput", {"MultiOutputClassifier", "MultiOutputRegressor", "ClassifierChain", "RegressorChain"});
    add("sklearn.compose._target", {"TransformedTargetRegressor"});
    add("sklearn.model_selection._search", {"GridSearchCV", "RandomizedSearchCV"});
    add("sklearn.model_selection._search_successive_halving", {"HalvingGridSearchCV", "HalvingRandomSearchCV"});
    add("sklearn.model_selection._classification_threshold",
        {"FixedThresholdClassifier", "TunedThresholdClassifierCV"});
    add("sklearn.model_selection._split",
        {"KFold", "StratifiedKFold", "ShuffleSplit", "StratifiedShuffleSplit", "RepeatedKFold",
         "RepeatedStratifiedKFold", "GroupKFold", "LeaveOneOut", "TimeSeriesSplit", "PredefinedSplit"});
    add("sklearn.semi_supervised._self_training", {"SelfTrainingClassifier"});
    add("sklearn.frozen._frozen", {"FrozenEstimator"});
    add("sklearn.utils._bunch", {"Bunch"});
    add("sklearn.utils", {"Bunch"});
    add("numpy.ma", {"MaskedArray"});
    // Tables, of which only the columns' names are read.
    add("pandas", {"DataFrame", "Series", "Index", "RangeIndex", "MultiIndex", "StringDtype"});
    add("pandas.arrays", {"StringArray"});
    add("pandas.core.frame", {"DataFrame"});
    add("pandas.core.series", {"Series"});
    add("pandas.core.indexes.base", {"Index", "_new_Index"});
    add("pandas.core.indexes.range", {"RangeIndex"});
    add("pandas.core.indexes.multi", {"MultiIndex"});
    add("pandas.core.indexes.numeric", {"Int64Index", "Float64Index"});
    add("pandas.core.internals.managers", {"BlockManager", "SingleBlockManager"});
    add("pandas._libs.internals", {"_unpickle_block"});
    add("pandas._libs.arrays", {"__pyx_unpickle_NDArrayBacked"});
    add("numpy.ma.core", {"MaskedArray", "_mareconstruct"});
    add("sklearn.model_selection._classification_threshold", {"_CurveScorer"});
    add("sklearn.linear_model._theil_sen", {"TheilSenRegressor"});
    add("sklearn.linear_model._quantile", {"QuantileRegressor"});
    add("sklearn.linear_model._ransac", {"RANSACRegressor"});
    add("sklearn.linear_model._least_angle", {"Lars", "LarsCV", "LassoLars", "LassoLarsCV", "LassoLarsIC"});
    add("sklearn.linear_model._omp", {"OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV"});
    for (const char* m : {"sklearn.linear_model._glm.glm", "sklearn.linear_model._glm._glm"})
      add(m, {"PoissonRegressor", "GammaRegressor", "TweedieRegressor"});
    add("sklearn.linear_model._bayes", {"BayesianRidge", "ARDRegression"});
    add("sklearn.svm._classes", {"LinearSVC", "LinearSVR"});
    add("sklearn.preprocessing._data", {"StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "Normalizer",
                                        "Binarizer", "PowerTransformer", "QuantileTransformer", "PolynomialFeatures"});
    add("sklearn.preprocessing._polynomial", {"PolynomialFeatures", "SplineTransformer"});
    add("sklearn.preprocessing._discretization", {"KBinsDiscretizer"});
    add("sklearn.preprocessing._encoders", {"OneHotEncoder", "OrdinalEncoder"});
    add("sklearn.preprocessing._target_encoder", {"TargetEncoder"});
    add("sklearn.preprocessing._function_transformer", {"FunctionTransformer"});
    add("sklearn.compose._column_transformer", {"ColumnTransformer", "_RemainderColsList", "make_column_selector"});
    add("sklearn.impute._base", {"SimpleImputer", "MissingIndicator"});
    add("sklearn.impute._knn", {"KNNImputer"});
    add("sklearn.impute._iterative", {"IterativeImputer", "_ImputerTriplet"});
    add("sklearn.feature_extraction.text",
        {"CountVectorizer", "TfidfVectorizer", "TfidfTransformer", "HashingVectorizer"});
    add("sklearn.decomposition._pca", {"PCA"});
    add("sklearn.decomposition._incremental_pca", {"IncrementalPCA"});
    add("sklearn.decomposition._truncated_svd", {"TruncatedSVD"});
    add("sklearn.decomposition._fastica", {"FastICA"});
    add("sklearn.decomposition._nmf", {"NMF"});
    add("sklearn.decomposition._kernel_pca", {"KernelPCA"});
    add("sklearn.preprocessing._data", {"KernelCenterer"});
    add("sklearn.kernel_approximation", {"Nystroem", "RBFSampler"});
    add("sklearn.random_projection", {"GaussianRandomProjection"});
    add("sklearn.feature_selection._univariate_selection",
        {"SelectKBest", "SelectPercentile", "SelectFpr", "SelectFdr", "SelectFwe", "GenericUnivariateSelect",
         "f_classif", "f_regression", "chi2", "f_oneway", "r_regression"});
    add("sklearn.feature_selection._mutual_info", {"mutual_info_classif", "mutual_info_regression"});
    add("sklearn.feature_selection._variance_threshold", {"VarianceThreshold"});
    add("sklearn.feature_selection._from_model", {"SelectFromModel"});
    add("sklearn.feature_selection._rfe", {"RFE", "RFECV"});
    add("sklearn.feature_selection._sequential", {"SequentialFeatureSelector"});
    for (const char* m : {"scipy.sparse.dia", "scipy.sparse._dia"}) add(m, {"dia_matrix", "dia_array"});
    add("scipy.interpolate._bsplines", {"BSpline"});
    for (const char* m :
         {"scipy._lib.array_api_compat.numpy._aliases", "scipy._external.array_api_compat.numpy._aliases"})
      add(m, {"asarray"});  // a spline keeps it beside its knots
    // Functions that a FunctionTransformer may name; numpy's are found in several of its modules.
    for (const char* m : {"numpy", "numpy.core._multiarray_umath", "numpy._core._multiarray_umath", "numpy.core.umath",
                          "numpy._core.umath"})
      add(m, {"log1p",   "log",      "log2",   "log10",    "exp",      "exp2",       "expm1",   "sqrt",    "cbrt",
              "square",  "absolute", "fabs",   "negative", "positive", "reciprocal", "sign",    "sin",     "cos",
              "tan",     "arcsin",   "arccos", "arctan",   "sinh",     "cosh",       "tanh",    "arcsinh", "arccosh",
              "arctanh", "floor",    "ceil",   "trunc",    "rint",     "deg2rad",    "radians", "rad2deg", "degrees"});
    for (const char* m : {"scipy.special", "scipy.special._ufuncs"}) add(m, {"expit", "logit"});
    add("sklearn.preprocessing._label", {"LabelBinarizer"});
    add("sklearn.pipeline", {"Pipeline", "FeatureUnion"});
    add("sklearn.linear_model._sgd_fast", {"Hinge", "Log", "ModifiedHuber", "SquaredHinge", "SquaredLoss", "Huber",
                                           "EpsilonInsensitive", "SquaredEpsilonInsensitive"});
    for (const char* m : {"sklearn._loss._loss", "_loss"})
      add(m, {"CyHalfBinomialLoss", "CyHalfMultinomialLoss", "CyHuberLoss", "CyHalfSquaredError", "CyAbsoluteError",
              "CyPinballLoss", "CyExponentialLoss"});
    for (const char* m : {"sklearn._loss.loss"})
      add(m, {"HalfBinomialLoss", "HalfMultinomialLoss", "HalfSquaredError"});
    for (const char* m : {"sklearn._loss.link"})
      add(m, {"LogitLink", "MultinomialLogit", "IdentityLink", "LogLink", "Interval"});
    for (const char* m : {"sklearn._loss._loss", "_loss"})
      for (const char* n : {"HalfSquaredError", "AbsoluteError", "PinballLoss", "HuberLoss", "HalfPoissonLoss",
                            "HalfGammaLoss", "HalfTweedieLoss", "HalfTweedieLossIdentity", "HalfBinomialLoss",
                            "HalfMultinomialLoss", "ExponentialLoss"}) {
        s.insert(fmt::format("{}.Cy{}", m, n));
        s.insert(fmt::format("{}.__pyx_unpickle_Cy{}", m, n));
      }
    add("functools", {"partial"});
    add("sklearn.utils.validation", {"check_array"});
    add("sklearn.tree._classes",
        {"DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"});
    add("sklearn.tree._tree", {"Tree"});
    add("sklearn.ensemble._forest",
        {"RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"});
    add("sklearn.ensemble._gb", {"GradientBoostingClassifier", "GradientBoostingRegressor"});
    add("sklearn.ensemble._gb_losses",
        {"LeastSquaresError", "LeastAbsoluteError", "HuberLossFunction", "QuantileLossFunction", "BinomialDeviance",
         "MultinomialDeviance", "ExponentialLoss"});
    add("sklearn.ensemble._iforest", {"IsolationForest"});
    add("sklearn.ensemble._bagging", {"BaggingClassifier", "BaggingRegressor"});
    add("sklearn.ensemble._weight_boosting", {"AdaBoostClassifier", "AdaBoostRegressor"});
    add("sklearn.ensemble._hist_gradient_boosting.gradient_boosting",
        {"HistGradientBoostingClassifier", "HistGradientBoostingRegressor"});
    add("sklearn.ensemble._hist_gradient_boosting.predictor", {"TreePredictor"});
    add("sklearn.ensemble._hist_gradient_boosting.binning", {"_BinMapper"});
    add("sklearn.ensemble._hist_gradient_boosting.loss",
        {"LeastSquares", "LeastAbsoluteDeviation", "Poisson", "BinaryCrossEntropy", "CategoricalCrossEntropy"});
    add("sklearn._loss.loss",
        {"HuberLoss", "AbsoluteError", "PinballLoss", "ExponentialLoss", "HalfPoissonLoss", "HalfGammaLoss"});
    add("sklearn._loss.link", {"HalfLogitLink"});
    add("numpy.random.bit_generator", {"SeedSequence", "__pyx_unpickle_SeedSequence"});
    add("numpy.random.mtrand", {"RandomState"});
    add("sklearn.dummy", {"DummyClassifier", "DummyRegressor"});
    add("sklearn.preprocessing._label", {"LabelEncoder"});
    add("xgboost.sklearn", {"XGBClassifier", "XGBRegressor", "XGBRanker", "XGBRFClassifier", "XGBRFRegressor"});
    add("xgboost.core", {"Booster"});
    add("xgboost.compat", {"XGBoostLabelEncoder"});
    add("lightgbm.sklearn", {"LGBMClassifier", "LGBMRegressor", "LGBMRanker"});
    add("lightgbm.basic", {"Booster"});
    add("catboost.core", {"CatBoost", "CatBoostClassifier", "CatBoostRegressor", "CatBoostRanker"});
    return s;
  }();
  // What searches for parameters keep beside their best estimator (scores and distributions, which nothing reads), and
  // the modules of statsmodels' results.
  static const std::set<std::string> beside{"sklearn.metrics._classification",
                                            "sklearn.metrics._regression",
                                            "sklearn.metrics._ranking",
                                            "sklearn.metrics._scorer",
                                            "sklearn.metrics.cluster._supervised",
                                            "sklearn.utils._metadata_requests",
                                            "scipy.stats._continuous_distns",
                                            "scipy.stats._discrete_distns",
                                            "scipy.stats._distn_infrastructure",
                                            "statsmodels.base.data",
                                            "statsmodels.discrete.discrete_model",
                                            "statsmodels.genmod.families.family",
                                            "statsmodels.genmod.families.links",
                                            "statsmodels.genmod.families.varfuncs",
                                            "statsmodels.genmod.generalized_linear_model",
                                            "statsmodels.regression.linear_model",
                                            "statsmodels.regression.quantile_regression",
                                            "statsmodels.robust.norms",
                                            "statsmodels.robust.robust_linear_model"};
  auto full = module + "." + name;
  if (known.contains(full) || beside.contains(module)) return {};
  return fail(Code::invalid_argument, fmt::format("'{}' is not read natively", printable(full)), "symbol", full);
}

}  // namespace mr::serving
