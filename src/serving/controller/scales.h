// The revisions whose pods follow what is asked of them: counts their requests, decides how many pods each should have,
// and lets requests wait while there are none.
// Ownership: made before the Manager starts, like the controller that owns it; `Demand` must outlive it. Used on the
// Manager's loop.
#pragma once
#include <functional>
#include <map>
#include <memory>

#include "kube/kit.h"
#include "services/demand.h"
#include "serving/controller/revisions.h"
#include "serving/controller/scaler.h"

namespace mr::serving {

class Scales {
 public:
  // `changed`: an InferenceService whose revisions should have other numbers of pods. `connected`: whether somebody is
  // connected to a revision other than through the front door; may be empty.
  Scales(kube::Manager& manager, services::Demand& demand, ScaleDefaults defaults,
         std::function<void(kube::Key)> changed, std::function<bool(const kube::Key& revision)> connected);
  ~Scales();

  // Pods that the revision should have; from now on its requests are counted. Its state is as in `r`.
  int replicas(const kube::Key& isvc, const Revision& r, const ScaleSettings& s);
  [[nodiscard]] bool knows(const kube::Key& revision) const;
  // Requests are under way or waiting.
  [[nodiscard]] bool busy(const kube::Key& revision) const;
  void forget(const kube::Key& revision);
  void forget_all(const kube::Key& isvc);

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace mr::serving
