#include "serving/controller/runtimes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <initializer_list>

namespace mr::serving {

using kube::Array;
using kube::Object;
using kube::ObjectPtr;
using kube::Value;

namespace {

struct Format {
  std::string_view name, version;
  int priority;  // 0: none
};

Object runtime(std::string_view name, std::string_view server, std::initializer_list<Format> formats,
               std::initializer_list<std::string_view> protocols, Array env) {
  auto o = kube::make_object("serving.kserve.io/v1alpha1", "ClusterServingRuntime", "", name);
  kube::metadata(o)["labels"] = {{"app.kubernetes.io/managed-by", "millrace"}};
  auto& spec = kube::ensure(o, "spec");
  spec["annotations"] = {{"prometheus.kserve.io/port", "8080"},
                         {"prometheus.kserve.io/path", "/metrics"},
                         {"serving.kserve.io/server-type", server}};
  Array list;
  for (const auto& f : formats) {
    Object e{{"name", f.name}, {"version", f.version}, {"autoSelect", true}};
    if (f.priority > 0) e["priority"] = f.priority;
    list.push_back(std::move(e));
  }
  spec["supportedModelFormats"] = std::move(list);
  Array p;
  for (auto v : protocols) p.emplace_back(v);
  spec["protocolVersions"] = std::move(p);
  Object container{{"name", "kserve-container"}, {"image", kPredictorImage}};
  container["args"] = Array{"--model_name={{.Name}}", "--model_dir=/mnt/models", "--http_port=8080"};
  if (!env.empty()) container["env"] = std::move(env);
  container["ports"] = Array{Object{{"containerPort", 8080}, {"name", "http1"}, {"protocol", "TCP"}}};
  spec["containers"] = Array{std::move(container)};
  return o;
}

// The forms of a predictor from before `model`, and the format that each stands for.
constexpr std::array<std::string_view, 11> kOldForms{"sklearn", "xgboost",  "tensorflow",  "pytorch", "triton", "onnx",
                                                     "pmml",    "lightgbm", "huggingface", "paddle",  "mlflow"};

bool contains_text(const Array& list, std::string_view text) {
  return std::any_of(list.begin(), list.end(), [&](const Value& v) { return v.is_string() && v.get_string() == text; });
}

bool disabled(const Object& rt) { return kube::bool_at(rt, "spec.disabled"); }

// KServe compares a version by what the runtime gives of it: "1" supports "1" and no version at all.
const Object* supported_format(const Object& rt, std::string_view name, std::string_view version, bool automatic) {
  for (const auto& f : kube::array_at(rt, "spec.supportedModelFormats")) {
    if (!f.is_object()) continue;
    const auto& o = f.get_object();
    if (kube::text_at(o, "name") != name) continue;
    if (!version.empty() && kube::text_at(o, "version") != version) continue;
    if (automatic && !kube::bool_at(o, "autoSelect")) continue;
    return &o;
  }
  return nullptr;
}

bool speaks(const Object& rt, std::string_view protocol) {
  const auto& list = kube::array_at(rt, "spec.protocolVersions");
  return list.empty() || contains_text(list, protocol);
}

std::string formats_text(const std::vector<ObjectPtr>& a, const std::vector<ObjectPtr>& b) {
  std::vector<std::string> names;
  for (const auto* list : {&a, &b})
    for (const auto& rt : *list)
      if (!disabled(*rt))
        for (const auto& f : kube::array_at(*rt, "spec.supportedModelFormats"))
          if (f.is_object()) names.emplace_back(kube::text_at(f.get_object(), "name"));
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  std::string out;
  for (const auto& n : names) out += (out.empty() ? "" : ", ") + n;
  return out.empty() ? "none" : out;
}

std::string default_protocol(const Object& rt, std::string_view format) {
  if (format == "mlflow") return "v2";
  return speaks(rt, "v1") ? "v1" : "v2";
}

// Lists of objects merged by one member.
Array merge_by(const Array& base, const Array& over, std::string_view key) {
  Array out = base;
  for (const auto& v : over) {
    auto same = std::find_if(out.begin(), out.end(), [&](const Value& o) {
      return o.is_object() && v.is_object() && o.get_object().contains(key) && v.get_object().contains(key) &&
             o.get_object().at(key) == v.get_object().at(key);
    });
    if (same != out.end())
      *same = v;
    else
      out.push_back(v);
  }
  return out;
}

}  // namespace

bool image_is(std::string_view image, std::string_view part) {
  if (auto at = image.find('@'); at != std::string_view::npos) image = image.substr(0, at);
  if (auto colon = image.rfind(':');
      colon != std::string_view::npos && image.find('/', colon) == std::string_view::npos)
    image = image.substr(0, colon);
  return image == part ||
         (image.size() > part.size() && image.ends_with(part) && image[image.size() - part.size() - 1] == '/');
}

std::vector<Object> published_runtimes() {
  auto env = [](std::initializer_list<std::pair<std::string_view, std::string_view>> pairs) {
    Array out;
    for (const auto& [k, v] : pairs) out.push_back(Object{{"name", k}, {"value", v}});
    return out;
  };
  std::vector<Object> out;
  // The names, formats and priorities that manifests in the field rely on, as far as there is an engine for them.
  out.push_back(runtime("kserve-mlserver", "mlserver",
                        {{"sklearn", "0", 2}, {"sklearn", "1", 2}, {"mlflow", "1", 1}, {"mlflow", "2", 1}}, {"v2"},
                        env({{"MLSERVER_MODEL_NAME", "{{.Name}}"},
                             {"MLSERVER_MODEL_URI", "/mnt/models"},
                             {"MLSERVER_HTTP_PORT", "8080"}})));
  out.push_back(runtime("kserve-sklearnserver", "sklearnserver", {{"sklearn", "1", 1}}, {"v1", "v2"}, {}));
  // MLflow models over V1 as well, which MLServer does not have.
  out.push_back(runtime("millrace-mlflow", "millrace", {{"mlflow", "1", 0}, {"mlflow", "2", 0}, {"mlflow", "3", 0}},
                        {"v1", "v2"}, {}));
  out.push_back(runtime("millrace-onnx", "millrace", {{"onnx", "1", 0}}, {"v1", "v2"}, {}));
  out.push_back(runtime("millrace-sklearn", "millrace", {{"sklearn", "0", 0}, {"sklearn", "1", 0}}, {"v1", "v2"}, {}));
  return out;
}

Object normal_predictor(const Object& predictor) {
  if (predictor.contains("model")) return predictor;
  for (auto form : kOldForms) {
    const auto* v = predictor.if_contains(form);
    if (v == nullptr || !v->is_object()) continue;
    Object out = predictor;
    Object model = v->get_object();
    model["modelFormat"] = {{"name", form}};
    out.erase(form);
    out["model"] = std::move(model);
    return out;
  }
  return predictor;
}

std::expected<RuntimeChoice, RuntimeRefusal> choose_runtime(const Object& model,
                                                            const std::vector<ObjectPtr>& namespaced,
                                                            const std::vector<ObjectPtr>& cluster) {
  auto refuse = [](std::string reason, std::string message) {
    return std::unexpected(RuntimeRefusal{std::move(reason), std::move(message)});
  };
  auto format = kube::text_at(model, "modelFormat.name");
  auto version = kube::text_at(model, "modelFormat.version");
  auto protocol = kube::text_at(model, "protocolVersion");
  auto wanted = kube::text_at(model, "runtime");
  if (format.empty()) return refuse("InvalidPredictorSpec", "spec.predictor.model.modelFormat.name is required");
  auto choice = [&](const Object& rt, bool is_cluster) {
    return RuntimeChoice{std::string(kube::name_of(rt)), is_cluster, kube::object_at(rt, "spec"),
                         protocol.empty() ? default_protocol(rt, format) : std::string(protocol)};
  };
  if (!wanted.empty()) {
    for (const auto* list : {&namespaced, &cluster})
      for (const auto& rt : *list) {
        if (kube::name_of(*rt) != wanted) continue;
        if (disabled(*rt)) return refuse("RuntimeDisabled", "Specified runtime is disabled");
        if (!protocol.empty() && !speaks(*rt, protocol))
          return refuse("NoSupportingRuntime", "Specified runtime does not support specified protocol version");
        if (supported_format(*rt, format, version, false) == nullptr)
          return refuse("NoSupportingRuntime", "Specified runtime does not support specified framework/version");
        return choice(*rt, list == &cluster);
      }
    return refuse("RuntimeNotRecognized", "Waiting for runtime to become available");
  }
  std::string effective(!protocol.empty() ? protocol : format == "mlflow" ? "v2" : "v1");
  for (const auto* list : {&namespaced, &cluster}) {
    struct Candidate {
      ObjectPtr rt;
      std::int64_t priority;
    };
    std::vector<Candidate> fit;
    for (const auto& rt : *list) {
      if (disabled(*rt) || !speaks(*rt, effective)) continue;
      const auto* f = supported_format(*rt, format, version, true);
      if (f != nullptr) fit.push_back({rt, kube::int_at(*f, "priority", 0)});
    }
    if (fit.empty()) continue;
    std::sort(fit.begin(), fit.end(), [](const Candidate& a, const Candidate& b) {
      if (a.priority != b.priority) return a.priority > b.priority;
      auto ta = kube::text_at(*a.rt, "metadata.creationTimestamp");
      auto tb = kube::text_at(*b.rt, "metadata.creationTimestamp");
      if (ta != tb) return ta > tb;
      return kube::name_of(*a.rt) < kube::name_of(*b.rt);
    });
    return choice(*fit.front().rt, list == &cluster);
  }
  return refuse(
      "NoSupportingRuntime",
      fmt::format("No runtime found to support specified framework/version: '{}'{} over {}; the runtimes here "
                  "support {}, and a ServingRuntime with containers of its own can be added",
                  format, version.empty() ? "" : fmt::format(" version '{}'", version), effective,
                  formats_text(namespaced, cluster)));
}

Object merge_container(const Object& base, const Object& over) {
  Object out = base;
  for (const auto& [k, v] : over) {
    if (k == "args" && v.is_array()) {
      Array args = kube::array_at(base, "args");
      args.insert(args.end(), v.get_array().begin(), v.get_array().end());
      out["args"] = std::move(args);
    } else if (k == "env" && v.is_array()) {
      out["env"] = merge_by(kube::array_at(base, "env"), v.get_array(), "name");
    } else if (k == "volumeMounts" && v.is_array()) {
      out["volumeMounts"] = merge_by(kube::array_at(base, "volumeMounts"), v.get_array(), "mountPath");
    } else if (k == "resources" && v.is_object()) {
      Object r = kube::object_at(base, "resources");
      for (const auto& [rk, rv] : v.get_object()) {
        if (rv.is_object()) {
          Object quantities = kube::object_at(r, rk);
          for (const auto& [name, q] : rv.get_object()) quantities[name] = q;
          r[rk] = std::move(quantities);
        } else {
          r[rk] = rv;
        }
      }
      out["resources"] = std::move(r);
    } else if (!(v.is_string() && v.get_string().empty())) {
      out[k] = v;
    }
  }
  return out;
}

Result<void> fill_placeholders(Value& v, const Object& isvc) {
  if (v.is_string()) {
    std::string text(v.get_string());
    std::string out;
    std::size_t from = 0;
    for (;;) {
      auto at = text.find("{{", from);
      if (at == std::string::npos) break;
      auto end = text.find("}}", at);
      if (end == std::string::npos) break;
      std::string name = text.substr(at + 2, end - at - 2);
      name.erase(std::remove(name.begin(), name.end(), ' '), name.end());
      out += text.substr(from, at - from);
      if (name == ".Name")
        out += kube::name_of(isvc);
      else if (name == ".Namespace")
        out += kube::namespace_of(isvc);
      else if (name.starts_with(".Labels."))
        out += kube::label(isvc, name.substr(8));
      else if (name.starts_with(".Annotations."))
        out += kube::annotation(isvc, name.substr(13));
      else
        return fail(Code::invalid_argument, fmt::format("the runtime's placeholder '{{{{{}}}}}' is not known", name));
      from = end + 2;
    }
    if (from != 0) v = out + text.substr(from);
    return {};
  }
  if (auto* list = v.if_array()) {
    for (auto& e : *list) MR_CHECK(fill_placeholders(e, isvc));
  } else if (auto* o = v.if_object()) {
    for (auto& [_, e] : *o) MR_CHECK(fill_placeholders(e, isvc));
  }
  return {};
}

}  // namespace mr::serving
