// metrics.k8s.io: what the node and its pods use now, measured when somebody asks. Ownership: keeps only what was read
// last of each running container. Thread safe.
#pragma once
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "kube/api.h"
#include "kube/pods.h"
#include "task/task.h"

namespace mr::kube {

class Usages {
 public:
  Usages();
  // NodeMetrics or PodMetrics (`target.kind`) of the target's namespace and name, each empty for all. A container that
  // began less than a second ago has none, and neither has one that is a part of this program.
  task::Task<std::vector<ObjectPtr>> measure(const Api& api, Pods& pods, Target target);

 private:
  struct Sample {
    std::int64_t at_ns = 0, cpu_ns = 0;
  };
  struct Rate {
    std::int64_t nanocores = 0, window_ns = 0;  // window 0: not measured yet
  };
  Rate rate(const std::string& key, std::int64_t cpu_ns, std::int64_t age_ns);
  std::mutex mutex_;
  std::map<std::string, Sample> samples_;  // by uid and container
};

}  // namespace mr::kube
