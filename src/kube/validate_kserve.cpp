// What KServe's webhooks refuse.
#include <boost/json/array.hpp>

#include "kube/admission_rules.h"
#include "kube/names.h"
#include "text/text.h"

namespace mr::kube {

namespace {

constexpr std::string_view storage_prefixes[] = {
    "gs://",        "s3://",   "pvc://",        "file://",  "https://",
    "http://",      "hdfs://", "webhdfs://",    "oci://",   "oci+native://",
    "oci+fetch://", "hf://",   "modelscope://", "models:/", "mlflow-artifacts:/"};

void check_storage(FieldErrors& e, std::string_view uri, const std::string& path) {
  if (uri.empty() || uri.find("://") == std::string_view::npos) return;  // a local path
  for (auto p : storage_prefixes)
    if (uri.starts_with(p)) return;
  std::string known;
  for (auto p : storage_prefixes) (known += known.empty() ? "" : ", ") += p;
  e.push_back(
      invalid(path, Value(uri),
              fmt::format("storageUri, must be one of: [{}] or match https://{{}}.blob.core.windows.net/{{}}/{{}} or "
                          "be an absolute or relative local path. StorageUri [{}] is not supported",
                          known, uri)));
}

void check_component(FieldErrors& e, const Object& c, const std::string& path) {
  const auto* least = c.if_contains("minReplicas");
  const auto* most = c.if_contains("maxReplicas");
  auto min = int_at(c, "minReplicas", 1), max = int_at(c, "maxReplicas");
  if (least != nullptr && min < 0)
    e.push_back(invalid(sub(path, "minReplicas"), *least, "'MinReplicas' cannot be less than 0"));
  if (most != nullptr && max < 0)
    e.push_back(invalid(sub(path, "maxReplicas"), *most, "'MaxReplicas' cannot be less than 0"));
  if (least != nullptr && most != nullptr && max > 0 && min > max)
    e.push_back(invalid(sub(path, "minReplicas"), *least, "'MinReplicas' cannot be greater than MaxReplicas"));
  if (const auto* v = c.if_contains("containerConcurrency"); v != nullptr && int_at(c, "containerConcurrency") < 0)
    e.push_back(invalid(sub(path, "containerConcurrency"), *v, "'ContainerConcurrency' cannot be less than 0"));
  if (const auto* v = c.if_contains("canaryTrafficPercent"); v != nullptr && v->is_number()) {
    auto n = int_at(c, "canaryTrafficPercent");
    if (n < 0 || n > 100)
      e.push_back(invalid(sub(path, "canaryTrafficPercent"), *v, "must be between 0 and 100, inclusive"));
  }
  if (const auto* v = at(c, "logger.mode"))
    check_one_of(e, sub(path, "logger.mode"), *v, {"all", "request", "response"});
}

void check_inference_service(FieldErrors& e, const Object& o) {
  auto name = name_of(o);
  if (!name.empty() && !dns_1035_label(name).empty())
    e.push_back(
        invalid("metadata.name", Value(name),
                "a InferenceService name must consist of lower case alphanumeric characters or '-', and must start "
                "with alphabetical character. (e.g. \"my-name\" or \"abc-123\", regex used for validation is "
                "'[a-z]([-a-z0-9]*[a-z0-9])?')"));
  const auto* predictor = child(object_at(o, "spec"), "predictor");
  if (predictor == nullptr) {
    e.push_back(required("spec.predictor"));
    return;
  }
  for (auto part : {"predictor", "transformer", "explainer"})
    if (const auto* c = child(object_at(o, "spec"), part)) check_component(e, *c, sub("spec", part));
  const auto* model = child(*predictor, "model");
  const bool own = !array_at(*predictor, "containers").empty();
  if (model == nullptr && !own)
    e.push_back(
        invalid("spec.predictor", Value(Object{}),
                "Exactly one of [Custom, ONNX, PMML, LightGBM, Paddle, SKLearn, Model, ...] must be specified in "
                "PredictorSpec"));
  if (model == nullptr) return;
  if (text_at(*model, "modelFormat.name").empty() && text_at(*model, "runtime").empty())
    e.push_back(required("spec.predictor.model.modelFormat.name"));
  check_storage(e, text_at(*model, "storageUri"), "spec.predictor.model.storageUri");
  if (const auto* v = model->if_contains("protocolVersion"); v != nullptr && !v->is_null())
    check_one_of(e, "spec.predictor.model.protocolVersion", *v, {"v1", "v2", "grpc-v1", "grpc-v2"});
}

void check_graph(FieldErrors& e, const Object& o) {
  const auto& nodes = object_at(o, "spec.nodes");
  if (!nodes.contains("root"))
    e.push_back(
        invalid("spec.nodes", Value(nodes),
                "root node not found, InferenceGraph needs a node with name 'root' as the root node of the graph"));
  for (const auto& m : nodes) {
    if (!m.value().is_object()) continue;
    const auto& node = m.value().get_object();
    auto here = keyed("spec.nodes", m.key());
    auto type = text_at(node, "routerType");
    check_one_of(e, sub(here, "routerType"), Value(type), {"Sequence", "Splitter", "Ensemble", "Switch"});
    const auto& steps = array_at(node, "steps");
    std::int64_t weights = 0;
    std::set<std::string_view> names;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      if (!steps[i].is_object()) continue;
      const auto& s = steps[i].get_object();
      auto at = item(sub(here, "steps"), i);
      weights += int_at(s, "weight");
      auto name = text_at(s, "name");
      if (!name.empty() && !names.insert(name).second)
        e.push_back(
            invalid(sub(at, "name"), Value(name),
                    fmt::format("Node \"{}\" of InferenceGraph \"{}\" contains more than one step with name \"{}\"",
                                std::string_view(m.key()), name_of(o), name)));
      int targets = 0;
      for (auto key : {"nodeName", "serviceName", "serviceUrl"})
        if (!text_at(s, key).empty()) ++targets;
      if (targets == 0) e.push_back(required(at, "a step needs one of nodeName, serviceName and serviceUrl"));
    }
    if (type == "Splitter" && weights != 100)
      e.push_back(invalid(sub(here, "steps"), Value(weights), "the weights of a Splitter node must sum up to 100"));
  }
}

void check_runtime(FieldErrors& e, const Object& o) {
  if (array_at(o, "spec.containers").empty()) e.push_back(required("spec.containers"));
  const auto& formats = array_at(o, "spec.supportedModelFormats");
  for (std::size_t i = 0; i < formats.size(); ++i) {
    if (!formats[i].is_object()) continue;
    auto here = item("spec.supportedModelFormats", i);
    if (text_at(formats[i].get_object(), "name").empty()) e.push_back(required(sub(here, "name")));
    if (const auto* p = formats[i].get_object().if_contains("priority");
        p != nullptr && p->is_number() && int_at(formats[i].get_object(), "priority") < 1)
      e.push_back(invalid(sub(here, "priority"), *p, "must be greater than or equal to 1"));
  }
}

void check_trained_model(FieldErrors& e, const Object& o, const Object* before) {
  for (auto key : {"inferenceService", "model.storageUri", "model.framework"})
    if (text_at(object_at(o, "spec"), key).empty()) e.push_back(required(sub("spec", key)));
  check_storage(e, text_at(o, "spec.model.storageUri"), "spec.model.storageUri");
  if (before != nullptr) check_immutable(e, o, *before, "spec.model.memory");
}

}  // namespace

void validate_kserve(FieldErrors& e, std::string_view kind, const Object& o, const Object* before) {
  if (kind == "InferenceService")
    check_inference_service(e, o);
  else if (kind == "InferenceGraph")
    check_graph(e, o);
  else if (kind == "ServingRuntime" || kind == "ClusterServingRuntime")
    check_runtime(e, o);
  else if (kind == "TrainedModel")
    check_trained_model(e, o, before);
}

}  // namespace mr::kube
