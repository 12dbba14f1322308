#include <boost/json/array.hpp>

#include "kube/admission_rules.h"
#include "kube/names.h"

namespace mr::kube {

void validate_kubeflow(FieldErrors& e, std::string_view kind, const Object& o, const Object*) {
  const auto& spec = object_at(o, "spec");
  if (kind == "Notebook") {
    if (array_at(spec, "template.spec.containers").empty()) e.push_back(required("spec.template.spec.containers"));
  } else if (kind == "PodDefault") {
    if (const auto* s = child(spec, "selector"))
      check_selector(e, *s, "spec.selector");
    else
      e.push_back(required("spec.selector"));
  } else if (kind == "Profile") {
    if (auto name = name_of(o); !name.empty()) invalid_all(e, "metadata.name", Value(name), dns_label(name));
    if (auto owner = text_at(spec, "owner.kind"); !owner.empty())
      check_one_of(e, "spec.owner.kind", Value(owner), {"User", "Group", "ServiceAccount"});
  } else if (kind == "Tensorboard") {
    if (text_at(spec, "logspath").empty()) e.push_back(required("spec.logspath"));
  }
}

}  // namespace mr::kube
