// Inside of admission: the defaults and checks of each group of kinds. Pure functions: thread safe.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kube/admission.h"

namespace mr::kube {

// --- defaults ---
// Sets the member when it is absent or null.
void fallback(Object& o, std::string_view key, Value v);
// The member as an object, nullptr when it is none.
Object* child(Object& o, std::string_view key);
const Object* child(const Object& o, std::string_view key);
// Calls `fn(Object&)` with each element of a list of objects.
template <class Fn>
void each(Object& o, std::string_view list, Fn fn) {
  auto* v = o.if_contains(list);
  if (v == nullptr || !v->is_array()) return;
  for (auto& e : v->get_array())
    if (e.is_object()) fn(e.get_object());
}
void defaults_pod_spec(Object& spec);
void defaults_pod_template(Object& owner, std::string_view key = "template");
void defaults_core(std::string_view kind, Object& object);  // group ""
void defaults_apps(std::string_view kind, Object& object);  // apps, batch, autoscaling, policy
void defaults_other(const Kind& kind, Object& object);  // rbac, networking, storage, discovery, apiextensions, kserve
void defaults_schema(const Value& schema, Object& object);  // `default`s of a structural schema

// --- checks ---
using FieldErrors = std::vector<FieldError>;
// A path as errors write it: "spec.containers[0].name", "metadata.labels[key]".
std::string sub(std::string_view path, std::string_view member);
std::string item(std::string_view path, std::size_t index);
std::string keyed(std::string_view path, std::string_view key);
// One fault for each of `faults`.
void invalid_all(FieldErrors& e, const std::string& path, const Value& v, const std::vector<std::string>& faults);
void check_non_negative(FieldErrors& e, const Object& o, std::string_view path, std::string_view key);
void check_one_of(FieldErrors& e, const std::string& path, const Value& v, std::vector<std::string> allowed);
void check_immutable(FieldErrors& e, const Object& now, const Object& before, std::string_view path);
void check_labels(FieldErrors& e, const Object& labels, const std::string& path);
void check_selector(FieldErrors& e, const Object& selector, const std::string& path);
// How the real server prints some values: Go's %#v of a map of texts, of a label selector, of a list of texts.
std::string go_map(const Object& map);
std::string go_texts(std::string_view type, const Array& texts);
std::string go_selector(const Object& selector);
std::string go_int_or_string(const Value& v);
// A fault with a value that is shown as it is given.
FieldError invalid_raw(std::string field, std::string_view shown, std::string_view what);

void validate_meta(FieldErrors& e, const Kind& kind, const Object& o, const Object* before);
void validate_pod_spec(FieldErrors& e, const Object& spec, const std::string& path);
void validate_pod_template(FieldErrors& e, const Object& t, const std::string& path);
void validate_pod(FieldErrors& e, const Object& o, const Object* before);
void validate_service(FieldErrors& e, std::string_view kind, const Object& o, const Object* before);  // and endpoints
void validate_core(FieldErrors& e, std::string_view kind, const Object& o, const Object* before);     // the rest of ""
void validate_apps(FieldErrors& e, std::string_view kind, const Object& o, const Object* before);
void validate_batch(FieldErrors& e, std::string_view kind, const Object& o, const Object* before);
void validate_rbac(FieldErrors& e, std::string_view kind, const Object& o, const Object* before);
void validate_networking(FieldErrors& e, std::string_view kind, const Object& o, const Object* before);
void validate_istio(FieldErrors& e, std::string_view kind, const Object& o, const Object* before);
void validate_kserve(FieldErrors& e, std::string_view kind, const Object& o, const Object* before);
void validate_kubeflow(FieldErrors& e, std::string_view kind, const Object& o, const Object* before);
void validate_claim_spec(FieldErrors& e, const Object& spec, const std::string& path);
void validate_job_spec(FieldErrors& e, const Object& spec, const std::string& path);

// A structural schema against an object, with the texts of the real server.
void validate_schema(FieldErrors& e, const Value& schema, const Value& v, const std::string& path);
// Removes what the schema does not know.
void prune_schema(const Value& schema, Object& o, bool root, const std::string& path,
                  std::vector<std::string>& removed);
// What is wrong with a CustomResourceDefinition.
void validate_crd(FieldErrors& e, const Object& o, const Object* before);

}  // namespace mr::kube
