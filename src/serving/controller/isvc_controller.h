// The InferenceService controller: keeps revisions (Deployments), Services, routes and the status as the specs say.
// Ownership: made before the Manager starts; must live until the Manager has stopped. Everything happens on the
// Manager's loop.
#pragma once
#include <memory>

#include "kube/kit.h"
#include "services/demand.h"
#include "serving/controller/routing.h"
#include "serving/controller/scaler.h"

namespace mr::serving {

struct ControllerOptions {
  RoutingOptions routing;
  long idle_scale_down_ms = 3000;      // a revision without traffic keeps its pods so long, for requests under way
  std::size_t revision_history = 10;   // older ones without traffic are removed
  services::Demand* demand = nullptr;  // null: replicas do not follow what is asked of them
  ScaleDefaults scale;
  // Whether somebody is connected to a revision's Services other than through the front door; may be empty.
  std::function<bool(const kube::Key& revision)> connected;
};

class IsvcController {
 public:
  IsvcController(kube::Manager& manager, ControllerOptions options);
  ~IsvcController();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// Creates or brings up to date the ClusterServingRuntimes of this program; those that a user made are left alone.
task::Task<void> publish_runtimes(kube::Client& client);

}  // namespace mr::serving
