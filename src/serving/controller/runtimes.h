// ServingRuntimes: which one serves a predictor, and the containers it brings. Pure functions of their arguments.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "kube/object.h"

namespace mr::serving {

// The images that are parts of this program; the node starts them inside the process.
inline constexpr std::string_view kPredictorImage = "millrace/predictor";
inline constexpr std::string_view kInitializerImage = "millrace/storage-initializer";
inline constexpr std::string_view kRouterImage = "millrace/router";
// Whether an image reference (tag, registry) names `part`.
bool image_is(std::string_view image, std::string_view part);

// The ClusterServingRuntimes that this program publishes at its start.
std::vector<kube::Object> published_runtimes();

// spec.predictor with the old forms (sklearn: {...}) turned into `model`. Unchanged when it has `model` or containers.
kube::Object normal_predictor(const kube::Object& predictor);

struct RuntimeChoice {
  std::string name;
  bool cluster = false;
  kube::Object spec;
  std::string protocol;  // v1, v2, ...
};
// What stands in the way; `reason` is KServe's FailureReason (NoSupportingRuntime, RuntimeNotRecognized,
// RuntimeDisabled, InvalidPredictorSpec) and goes with `message` into modelStatus.lastFailureInfo.
struct RuntimeRefusal {
  std::string reason, message;
};
// By the rules of the reference: a named runtime, namespaced before cluster ones; else by format, version, protocol and
// priority among those that are chosen by themselves.
std::expected<RuntimeChoice, RuntimeRefusal> choose_runtime(const kube::Object& model,
                                                            const std::vector<kube::ObjectPtr>& namespaced,
                                                            const std::vector<kube::ObjectPtr>& cluster);

// `override` merged over `base`, as KServe merges an InferenceService's container over the runtime's: arguments are
// appended, env, ports and mounts merged by their keys, everything else replaced.
kube::Object merge_container(const kube::Object& base, const kube::Object& over);
// {{.Name}}, {{.Namespace}}, {{.Labels.x}} and {{.Annotations.x}} filled in, in every text below `v`.
// Errors name the placeholder that is not known.
Result<void> fill_placeholders(kube::Value& v, const kube::Object& isvc);

}  // namespace mr::serving
