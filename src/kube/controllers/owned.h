// What a controller keeps beside its object: made when it is missing, put right when it differs.
// Runs on the Manager's loop.
#pragma once
#include <initializer_list>
#include <string_view>

#include "kube/kinds.h"
#include "kube/kit.h"

namespace mr::kube {

enum class Found : std::uint8_t {
  must_be_ours,  // an object of that name with another controller, or with none, is an error: reason "Conflict"
  any,           // is put right whoever made it
};

// Sees to it that `wanted` is there, controlled by `owner`; of one that is there already, the `parts` (dotted paths)
// are made equal to those of `wanted`, and nothing else is touched. The informer of `r` must be watched already.
task::Task<Result<void>> keep_owned(Manager& m, const Kinds& kinds, Gvr r, const Object& owner, Object wanted,
                                    std::initializer_list<std::string_view> parts, Found found);

}  // namespace mr::kube
