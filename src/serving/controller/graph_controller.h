// The controllers of InferenceGraph (a router pod, a Service, a route) and TrainedModel (a status that says what is in
// the way). Ownership and threads as for IsvcController.
#pragma once
#include <memory>

#include "kube/kit.h"
#include "serving/controller/routing.h"

namespace mr::serving {

class GraphController {
 public:
  GraphController(kube::Manager& manager, RoutingOptions options);
  ~GraphController();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

class TrainedModelController {
 public:
  explicit TrainedModelController(kube::Manager& manager);
  ~TrainedModelController();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// A graph's spec with each serviceName turned into the URL of its InferenceService's predict endpoint.
// `find` gives the InferenceService of a name or null. Errors: unavailable, naming what is waited for.
Result<kube::Object> resolve_services(const kube::Object& spec,
                                      const std::function<kube::ObjectPtr(const std::string&)>& find);
// The status of a TrainedModel, from its parent (null: none) and the parent's runtime's `multiModel`. It is never
// Ready: the runtimes of this program serve one model each, and models are not loaded into other multi-model servers.
kube::Object trained_model_status(const kube::Object& model, const kube::Object* parent, bool multi_model);

}  // namespace mr::serving
