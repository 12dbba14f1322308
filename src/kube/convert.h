// Objects between the versions of a kind. Custom kinds differ in their apiVersion alone; of the built-in kinds only the
// HorizontalPodAutoscaler has two forms (autoscaling/v1 and v2). Pure functions.
#pragma once
#include <string_view>

#include "kube/kinds.h"

namespace mr::kube {

// Makes `o`, of the version `from`, one of the version `to`. Nothing is lost on the way there and back: what v1 has no
// place for is kept in the annotations that the real server uses.
void convert(const Kind& kind, std::string_view from, std::string_view to, Object& o);

}  // namespace mr::kube
