// KServe's agent as a container of the node, image `millrace/agent`: stands in front of a container of any image in its
// pod and logs the requests that it passes on. Our own predictor needs none: it logs by itself.
// Ownership and threads as for predictors.
#pragma once
#include <functional>
#include <memory>
#include <optional>

#include "node/node.h"
#include "serving/request_log.h"
#include "task/loop.h"

namespace mr::serving {

struct AgentOptions {
  // As StorageOptions::resolve: a Service's host and port to an address; empty: not a Service.
  std::function<std::string(const std::string& host, int port)> resolve;
};
// Arguments: --port (9081), --component-port (8080), and those of log_options().
std::shared_ptr<node::BuiltinRuntime> make_agent_runtime(task::Loops& loops, AgentOptions options);

// The log of requests that a container asks for, in the words of KServe's agent: --log-url, --log-mode, --source-uri
// (else the pod's name), --inference-service, --namespace (else the pod's), --component, --endpoint,
// --metadata-headers,
// --metadata-annotations (name=value, or the name of one of the pod's). Nothing without --log-url.
Result<std::optional<RequestLogOptions>> log_options(const node::BuiltinStart& start, const AgentOptions& options);

}  // namespace mr::serving
