// The objects that a platform has from its first start: namespaces, roles, the Service of the API itself. They are
// written once; what a user changes or deletes later stays changed, except that missing ones come back with a start.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "kube/api.h"

namespace mr::kube {

struct BootstrapOptions {
  std::string user_namespace = "kubeflow-user-example-com";
  std::string user = "user@example.com";
  std::uint16_t api_port = 6443;
  std::string kubernetes_ip;  // cluster IP of the Service default/kubernetes
};

// (table, object), complete with uid, times and defaults; for Store::seed_blocking.
std::vector<std::pair<std::string, Object>> bootstrap_objects(const Kinds& kinds, const BootstrapOptions& o);
// Registers the kinds of the CustomResourceDefinitions that the store has.
void register_stored_crds(const Store& store, Kinds& kinds);

}  // namespace mr::kube
