#include <boost/json/array.hpp>

#include "kube/admission_rules.h"
#include "kube/names.h"

namespace mr::kube {

namespace {

constexpr std::string_view rbac_group = "rbac.authorization.k8s.io";

void check_rules(FieldErrors& e, const Array& rules, bool namespaced) {
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (!rules[i].is_object()) continue;
    const auto& r = rules[i].get_object();
    auto here = item("rules", i);
    if (array_at(r, "verbs").empty())
      e.push_back(required(sub(here, "verbs"), "verbs must contain at least one value"));
    const auto& urls = array_at(r, "nonResourceURLs");
    if (!urls.empty()) {
      if (namespaced) {
        e.push_back(invalid_raw(sub(here, "nonResourceURLs"), go_texts("string", urls),
                                "namespaced rules cannot apply to non-resource URLs"));
      }
      for (auto key : {"apiGroups", "resources", "resourceNames"})
        if (!array_at(r, key).empty()) {
          e.push_back(invalid_raw(sub(here, "nonResourceURLs"), go_texts("string", urls),
                                  "rules cannot apply to both regular resources and non-resource URLs"));
          break;
        }
      continue;
    }
    if (array_at(r, "apiGroups").empty())
      e.push_back(required(sub(here, "apiGroups"), "resource rules must supply at least one api group"));
    if (array_at(r, "resources").empty())
      e.push_back(required(sub(here, "resources"), "resource rules must supply at least one resource"));
  }
}

void check_binding(FieldErrors& e, const Object& o, const Object* before, bool cluster) {
  const auto& ref = object_at(o, "roleRef");
  if (text_at(ref, "apiGroup") != rbac_group && !ref.empty())
    e.push_back(not_supported("roleRef.apiGroup", Value(text_at(ref, "apiGroup")), {std::string(rbac_group)}));
  std::vector<std::string> kinds{"Role", "ClusterRole"};
  if (cluster) kinds.erase(kinds.begin());
  check_one_of(e, "roleRef.kind", Value(text_at(ref, "kind")), kinds);
  if (auto name = text_at(ref, "name"); name.empty())
    e.push_back(required("roleRef.name"));
  else
    invalid_all(e, "roleRef.name", Value(name), path_segment(name));
  const auto& subjects = array_at(o, "subjects");
  for (std::size_t i = 0; i < subjects.size(); ++i) {
    if (!subjects[i].is_object()) continue;
    const auto& s = subjects[i].get_object();
    auto here = item("subjects", i);
    auto kind = text_at(s, "kind"), name = text_at(s, "name"), group = text_at(s, "apiGroup");
    if (name.empty()) e.push_back(required(sub(here, "name")));
    if (kind == "ServiceAccount") {
      if (!name.empty()) invalid_all(e, sub(here, "name"), Value(name), dns_subdomain(name));
      if (!group.empty()) e.push_back(not_supported(sub(here, "apiGroup"), Value(group), {""}));
      if (cluster && text_at(s, "namespace").empty()) e.push_back(required(sub(here, "namespace")));
    } else if (kind == "User" || kind == "Group") {
      if (group != rbac_group)
        e.push_back(not_supported(sub(here, "apiGroup"), Value(group), {std::string(rbac_group)}));
    } else {
      e.push_back(not_supported(sub(here, "kind"), Value(kind), {"ServiceAccount", "User", "Group"}));
    }
  }
  if (before != nullptr && !same(Value(ref), Value(object_at(*before, "roleRef"))))
    e.push_back(
        invalid_raw("roleRef",
                    fmt::format("rbac.RoleRef{{APIGroup:{}, Kind:{}, Name:{}}}", in_quotes(text_at(ref, "apiGroup")),
                                in_quotes(text_at(ref, "kind")), in_quotes(text_at(ref, "name"))),
                    "cannot change roleRef"));
}

}  // namespace

void validate_rbac(FieldErrors& e, std::string_view kind, const Object& o, const Object* before) {
  if (kind == "Role" || kind == "ClusterRole") {
    check_rules(e, array_at(o, "rules"), kind == "Role");
    if (const auto* a = child(o, "aggregationRule")) {
      const auto& selectors = array_at(*a, "clusterRoleSelectors");
      if (selectors.empty())
        e.push_back(required("aggregationRule.clusterRoleSelectors",
                             "at least one clusterRoleSelector required if aggregationRule is non-nil"));
      for (std::size_t i = 0; i < selectors.size(); ++i)
        if (selectors[i].is_object())
          check_selector(e, selectors[i].get_object(), item("aggregationRule.clusterRoleSelectors", i));
    }
  } else {
    check_binding(e, o, before, kind == "ClusterRoleBinding");
  }
}

}  // namespace mr::kube
