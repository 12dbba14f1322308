// How requests find an InferenceService: Services for its names inside the cluster, VirtualServices for its hosts and
// its path at the gateway. Pure functions of their arguments.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "serving/controller/status.h"

namespace mr::serving {

struct RoutingOptions {
  UrlOptions urls;
  std::string gateway = "kubeflow/kubeflow-gateway";  // the Gateway that VirtualServices name
  // The gateway as Services inside can reach it ("127.0.0.1", 8080): it shares traffic between revisions by weight for
  // the names inside as well. Empty: a Service then picks among the pods of all revisions with traffic.
  std::string gateway_address;
  int gateway_port = 8080;
};

// Services NAME-COMPONENT and NAME, and Endpoints where a Service goes through the gateway.
std::vector<kube::Object> name_services(const kube::Object& isvc, const std::vector<ComponentState>& components,
                                        const RoutingOptions& options);
// What stands at the gateway; empty while a component does not serve.
std::vector<kube::Object> virtual_services(const kube::Object& isvc, const std::vector<ComponentState>& components,
                                           const RoutingOptions& options);

}  // namespace mr::serving
