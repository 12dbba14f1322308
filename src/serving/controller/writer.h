// Objects that a controller owns, written when they are not as wanted. Used on the Manager's loop.
#pragma once
#include "kube/kit.h"

namespace mr::serving {

// Whether `have` has everything of `want`: objects member by member, arrays element by element.
bool covers(const kube::Value& have, const kube::Value& want);

// Creates `want`, or patches what differs of its spec, labels and subsets in `current` (null: not seen yet). What
// exists and is not `owner`'s stays as it is: error failed_precondition.
task::Task<Result<void>> ensure_owned(kube::Client& client, kube::Gvr gvr, kube::ObjectPtr owner, kube::Object want,
                                      kube::ObjectPtr current, bool adopt = false);

}  // namespace mr::serving
