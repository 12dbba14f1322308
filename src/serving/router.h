// The InferenceGraph router as a container of the node: image `millrace/router`, argument --graph-json.
// Ownership and threads as for predictors; calls of services run on a pool of their own.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "node/node.h"
#include "task/loop.h"

namespace mr::serving {

struct RouterOptions {
  // As StorageOptions::resolve: a Service's host and port to an address; empty: not a Service.
  std::function<std::string(const std::string& host, int port)> resolve;
};
// Environment: PROPAGATE_HEADERS, names separated by commas (`x-b3-.*` for a prefix).
std::shared_ptr<node::BuiltinRuntime> make_router_runtime(task::Loops& loops, RouterOptions options);

}  // namespace mr::serving
