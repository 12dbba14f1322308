#include "serving/formats/mlmodel.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <yaml-cpp/yaml.h>

#include <fstream>

#include "core/fd.h"
#include "json/parse.h"
#include "serving/engines/estimator.h"
#include "serving/engines/linear.h"
#include "serving/formats/booster_file.h"
#include "serving/formats/pickle.h"
#include "serving/formats/skops.h"
#include "serving/model_cache.h"
#include "text/uri.h"

namespace mr::serving {

namespace fs = std::filesystem;

namespace {

constexpr off_t kMapFrom = 8 << 20;
constexpr std::size_t kMaxBooster = std::size_t{1} << 30;

std::unexpected<Error> bad(std::string what) { return fail(Code::invalid_argument, std::move(what)); }

Result<std::string> read_file(const fs::path& path, std::size_t limit) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st{};
  if (!fd || ::fstat(fd.get(), &st) != 0)
    return fail(Code::not_found, fmt::format("{} cannot be read: {}", path.string(), std::strerror(errno)));
  if (!S_ISREG(st.st_mode)) return bad(fmt::format("{} is not a file", path.string()));
  if (static_cast<std::size_t>(st.st_size) > limit)
    return fail(Code::too_large, fmt::format("{} is larger than {} MiB", path.string(), limit >> 20));
  std::string out(static_cast<std::size_t>(st.st_size), '\0');
  std::size_t at = 0;
  while (at < out.size()) {
    ssize_t n = ::read(fd.get(), out.data() + at, out.size() - at);
    if (n <= 0) return bad(fmt::format("{} cannot be read whole", path.string()));
    at += static_cast<std::size_t>(n);
  }
  return out;
}

// A model file's bytes. Those of the model cache are mapped: nobody changes them. A mapped file that somebody else
// cuts short would end the program, so others are read: for 100 MB that takes 20 ms more.
Result<Source> open_file(const fs::path& path, std::size_t limit) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st{};
  if (!fd || ::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < kMapFrom ||
      static_cast<std::size_t>(st.st_size) > limit) {
    MR_TRY(auto bytes, read_file(path, limit));
    auto owner = std::make_shared<const std::string>(std::move(bytes));
    return Source{owner, *owner};
  }
  const auto size = static_cast<std::size_t>(st.st_size);
  const bool kept = in_model_cache(path.string()) && (st.st_mode & 0222) == 0;
  void* p = ::mmap(nullptr, size, kept ? PROT_READ : PROT_READ | PROT_WRITE,
                   kept ? MAP_PRIVATE : MAP_PRIVATE | MAP_ANONYMOUS, kept ? fd.get() : -1, 0);
  if (p == MAP_FAILED) return bad(fmt::format("{} cannot be mapped: {}", path.string(), std::strerror(errno)));
  std::shared_ptr<const void> owner(p, [size](const void* at) { ::munmap(const_cast<void*>(at), size); });
  ::madvise(p, size, kept ? MADV_SEQUENTIAL : MADV_HUGEPAGE);
  for (std::size_t at = 0; !kept && at < size;) {
    auto n = ::read(fd.get(), static_cast<char*>(p) + at, size - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return bad(fmt::format("{} cannot be read whole", path.string()));
    at += static_cast<std::size_t>(n);
  }
  return Source{std::move(owner), {static_cast<const char*>(p), size}};
}

// MLflow's column type to the protocol's, with the codec that MLServer gives it.
std::optional<DataType> column_type(std::string_view t) {
  if (t == "boolean") return DataType::boolean;
  if (t == "integer") return DataType::int32;
  if (t == "long") return DataType::int64;
  if (t == "float") return DataType::fp32;
  if (t == "double") return DataType::fp64;
  if (t == "string" || t == "binary" || t == "datetime" || t == "array" || t == "object" || t == "map" || t == "any")
    return DataType::bytes;
  return std::nullopt;
}

std::optional<DataType> numpy_type(std::string_view d) {
  static const std::map<std::string_view, DataType> types{
      {"float64", DataType::fp64},  {"float32", DataType::fp32},  {"float16", DataType::fp16},
      {"int64", DataType::int64},   {"int32", DataType::int32},   {"int16", DataType::int16},
      {"int8", DataType::int8},     {"uint64", DataType::uint64}, {"uint32", DataType::uint32},
      {"uint16", DataType::uint16}, {"uint8", DataType::uint8},   {"bool", DataType::boolean},
      {"object", DataType::bytes},  {"str", DataType::bytes}};
  auto it = types.find(d);
  return it == types.end() ? std::nullopt : std::optional(it->second);
}

Result<TensorSpec> tensor_spec(const boost::json::value& e) {
  TensorSpec t;
  t.name = json::string_or_empty(e, "name");
  const auto* spec = json::find(e, "tensor-spec");
  if (spec == nullptr) return bad("a tensor of the signature has no tensor-spec");
  t.dtype = json::string_or_empty(*spec, "dtype");
  auto type = numpy_type(t.dtype);
  if (!type) return bad(fmt::format("the signature's tensor type '{}' is not known", printable(t.dtype)));
  t.type = *type;
  const auto* shape = json::find(*spec, "shape");
  if (shape == nullptr || !shape->is_array()) return bad("a tensor of the signature has no shape");
  for (const auto& d : shape->get_array()) {
    if (!d.is_int64() || d.get_int64() < -1) return bad("a tensor's shape in the signature is not made of sizes");
    t.shape.push_back(d.get_int64());
  }
  return t;
}

std::string column_codec(std::string_view t) {
  if (t == "string") return "str";
  if (t == "binary") return "base64";
  if (t == "datetime") return "datetime";
  if (t == "array" || t == "object" || t == "map" || t == "any") return "pd_json";
  return "np";
}

}  // namespace

Result<Signature> parse_signature(const std::string& inputs, const std::string& outputs) {
  Signature s;
  if (!inputs.empty() && inputs != "null") {
    auto doc = json::parse(inputs);
    if (!doc || !doc->is_array()) return bad("the signature's inputs are no JSON list");
    s.present = true;
    for (const auto& e : doc->get_array()) {
      auto type = json::string_or_empty(e, "type");
      if (type == "tensor") {
        MR_TRY(auto t, tensor_spec(e));
        if (!s.columns.empty()) return bad("the signature has columns and tensors");
        if (s.tensor) s.tensors.push_back({s.tensor_name, s.tensor_dtype, s.tensor_type, s.tensor_shape});
        s.tensor = s.tensors.empty();
        if (!s.tensor) {
          s.tensors.push_back(std::move(t));
          continue;
        }
        s.tensor_name = t.name;
        s.tensor_type = t.type;
        s.tensor_dtype = t.dtype;
        s.tensor_shape = t.shape;
        continue;
      }
      Column c;
      c.name = json::string_or_empty(e, "name");
      c.type = type;
      auto datatype = column_type(type);
      if (!datatype) return bad(fmt::format("the signature's type '{}' is not known", printable(type)));
      c.datatype = *datatype;
      if (const auto* r = json::find(e, "required"); r != nullptr && r->is_bool()) c.required = r->get_bool();
      if (const auto* o = json::find(e, "optional"); o != nullptr && o->is_bool()) c.required = !o->get_bool();
      s.columns.push_back(std::move(c));
    }
  }
  if (!outputs.empty() && outputs != "null") {
    auto doc = json::parse(outputs);
    if (!doc || !doc->is_array()) return bad("the signature's outputs are no JSON list");
    int i = 0;
    for (const auto& e : doc->get_array()) {
      Signature::Out o;
      auto type = json::string_or_empty(e, "type");
      o.name = json::string_or_empty(e, "name");
      if (o.name.empty()) o.name = fmt::format("output-{}", i);
      ++i;
      if (type == "tensor") {
        MR_TRY(auto t, tensor_spec(e));
        o.type = t.type;
        o.shape = t.shape;
        o.content_type = "np";
      } else {
        auto datatype = column_type(type);
        if (!datatype) continue;
        o.type = *datatype;
        o.shape = {-1, 1};
        o.content_type = column_codec(type);
      }
      s.outputs.push_back(std::move(o));
    }
  }
  return s;
}

namespace {

Result<LoadedModel> load_file(const fs::path& file, const std::string& predict_fn, std::string version, bool skops) {
  ReadLimits limits;
  auto tree = [&]() -> Result<Tree> {
    MR_TRY(auto source, open_file(file, limits.max_bytes));
    return skops ? read_skops(source, limits) : read_pickle(source, limits);
  }();
  LoadedModel out;
  if (!tree) {
    // Which library wrote what cannot be read helps most when a class is in the way.
    auto e = tree.error();
    e.message = fmt::format("{}: {}{}", file.filename().string(), e.message,
                            e.reason == "symbol" && !version.empty()
                                ? fmt::format(" (written by scikit-learn {})", printable(version))
                                : "");
    return std::unexpected(e);
  }
  if (version.empty()) version = tree->text_of(tree->get(tree->root, "_sklearn_version"));
  // The linear engine knows plain linear pipelines and is the fastest for them; the graph of estimators knows the rest.
  auto engine = make_linear_engine(*tree, predict_fn, version);
  bool unknown = false;  // no native engine knows it, as against a file that is damaged
  if (!engine) {
    engine = make_engine(*tree, predict_fn, version);
    unknown = !engine && engine.error().code == Code::unimplemented;
  }
  if (!engine)
    return fail(unknown ? Code::unimplemented : Code::invalid_argument,
                fmt::format("{}: {}{}", file.filename().string(), engine.error().message,
                            version.empty() ? "" : fmt::format(" (written by scikit-learn {})", printable(version))));
  out.engine = std::move(*engine);
  out.sklearn_version = version;
  return out;
}

bool is_tree_file(const fs::path& p) {
  auto e = p.extension().string();
  return e == ".joblib" || e == ".pkl" || e == ".pickle" || e == ".skops";
}

bool is_model_file(const fs::path& p) { return is_tree_file(p) || is_booster_file(p.filename().string()); }

// `model_class`: the Python class that MLmodel names, or empty.
Result<LoadedModel> load_booster(const fs::path& file, const std::string& model_class) {
  MR_TRY(auto source, open_file(file, kMaxBooster));
  auto model = read_booster(source.bytes, model_class);
  if (!model) {
    auto e = model.error();
    e.message = fmt::format("{}: {}", file.filename().string(), e.message);
    return std::unexpected(e);
  }
  LoadedModel out;
  out.engine = make_boosted_engine(std::move(*model));
  return out;
}

// The path that MLmodel names, which must stay inside the folder, through links too.
Result<fs::path> inside(const fs::path& folder, const std::string& relative) {
  auto checked = text::safe_relative_path(relative);
  if (!checked) return bad(fmt::format("model_path '{}' leaves the model's folder", printable(relative)));
  const auto& safe = *checked;
  std::error_code ec;
  auto root = fs::weakly_canonical(folder, ec);
  auto target = fs::weakly_canonical(folder / safe, ec);
  auto rel = target.lexically_relative(root).string();
  if (ec || rel.empty() || rel.starts_with(".."))
    return bad(fmt::format("model_path '{}' leaves the model's folder", printable(relative)));
  return target;
}

Result<LoadedModel> load_mlflow(const fs::path& folder) {
  MR_TRY(auto text, read_file(folder / "MLmodel", 16U << 20));
  YAML::Node doc;
  std::string loader;
  std::string model_path;
  std::string predict_fn = "predict";
  std::string version;
  std::string format;
  std::string inputs;
  std::string outputs;
  std::string model_class;
  try {
    doc = YAML::Load(text);
    auto flavors = doc["flavors"];
    auto pyfunc = flavors["python_function"];
    if (!flavors || !pyfunc) return bad("MLmodel has no python_function flavor");
    auto str = [](const YAML::Node& n) { return n && n.IsScalar() ? n.as<std::string>() : std::string(); };
    loader = str(pyfunc["loader_module"]);
    model_path = str(pyfunc["model_path"]);
    if (model_path.empty()) model_path = str(pyfunc["data"]);
    if (auto fn = str(pyfunc["predict_fn"]); !fn.empty()) predict_fn = fn;
    if (auto sk = flavors["sklearn"]) {
      version = str(sk["sklearn_version"]);
      format = str(sk["serialization_format"]);
      if (model_path.empty()) model_path = str(sk["pickled_model"]);
    }
    for (const char* library : {"xgboost", "lightgbm", "catboost"})
      if (auto flavor = flavors[library]; flavor && loader == std::string("mlflow.") + library) {
        model_class = str(flavor["model_class"]);
        if (model_class.empty()) model_class = str(flavor["model_type"]);  // as CatBoost's flavor calls it
      }
    if (auto sig = doc["signature"]; sig && sig.IsMap()) {
      inputs = str(sig["inputs"]);
      outputs = str(sig["outputs"]);
    }
  } catch (const YAML::Exception& e) {
    return bad(fmt::format("MLmodel is no valid YAML: {}", printable(e.what())));
  }
  const bool booster = loader == "mlflow.xgboost" || loader == "mlflow.lightgbm" || loader == "mlflow.catboost";
  if (loader != "mlflow.sklearn" && loader != "mlflow.statsmodels" && !booster)
    return fail(Code::unimplemented,
                fmt::format("the flavor '{}' is not served natively; mlflow.sklearn, mlflow.xgboost, "
                            "mlflow.lightgbm, mlflow.catboost and mlflow.statsmodels are",
                            printable(loader)));
  if (model_path.empty()) return bad("MLmodel names no model file");
  MR_TRY(auto file, inside(folder, model_path));
  bool skops = format == "skops" || file.extension() == ".skops";
  MR_TRY(auto signature, parse_signature(inputs, outputs));
  if (!signature.tensors.empty())
    return fail(Code::unimplemented, "a signature of several tensors is not served natively");
  MR_TRY(LoadedModel out, booster && !is_tree_file(file) ? load_booster(file, model_class)
                                                         : load_file(file, predict_fn, version, skops));
  out.signature = std::move(signature);
  const auto& s = out.signature;
  if (!s.columns.empty()) {
    // The engine wants its features in its own order; the signature must have them all.
    if (out.engine->features() != 0 && s.columns.size() != out.engine->features())
      return bad(fmt::format("the signature has {} columns and the model {} features", s.columns.size(),
                             out.engine->features()));
  }
  return out;
}

}  // namespace

Result<LoadedModel> load_model(const std::string& path) {
  std::error_code ec;
  fs::path p(path);
  if (!fs::exists(p, ec)) return fail(Code::not_found, fmt::format("there is no model at {}", path));
  if (fs::is_regular_file(p, ec)) {
    if (!is_model_file(p))
      return bad(fmt::format(
          "{} is not a model file; .joblib, .pkl, .pickle, .skops, .ubj, .bst, .lgb and .cbm are read", path));
    return is_tree_file(p) ? load_file(p, "predict", "", p.extension() == ".skops") : load_booster(p, "");
  }
  if (fs::exists(p / "MLmodel", ec)) return load_mlflow(p);
  std::vector<fs::path> files;
  for (fs::directory_iterator it(p, ec), end; !ec && it != end; it.increment(ec))
    if (is_model_file(it->path())) files.push_back(it->path());
  if (files.size() != 1)
    return bad(fmt::format("{} has no MLmodel file{}", path, files.empty() ? "" : ", and more than one model file"));
  return is_tree_file(files[0]) ? load_file(files[0], "predict", "", files[0].extension() == ".skops")
                                : load_booster(files[0], "");
}

}  // namespace mr::serving
