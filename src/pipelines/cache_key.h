// The key under which an execution's outputs can be found again. Pure. Source: KFP 2.17's cacheutils (kfp-ir, section
// 12), so that a step has the same key there and here; input artifacts count by their URIs.
#pragma once
#include <set>
#include <string>
#include <vector>

#include "pipelines/engine.h"

namespace mr::pipelines {

struct CacheKey {
  std::string digest;  // lower-case hex SHA-256
  Object parts;        // what went into it, to say later what has changed
};
// `ignored`: inputs whose values do not matter; those that the task's annotation pipelines.millrace.dev/cache-ignore
// names (separated by commas) do not either.
CacheKey cache_key(const NodeView& node, const std::vector<std::string>& pvc_names,
                   const std::set<std::string>& ignored);
// "miss because input \"x\" changed", from the parts of an earlier execution and of this one.
std::string what_changed(const Object& before, const Object& now);

}  // namespace mr::pipelines
