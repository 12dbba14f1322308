// PodDefaults (kubeflow.org/v1alpha1): what a namespace adds to new pods that carry certain labels, as Kubeflow's
// admission webhook does it. Thread safe: works on the given pod and reads the store.
#pragma once
#include <expected>
#include <string>
#include <vector>

#include "kube/api.h"

namespace mr::kube {

// Merges every PodDefault of the pod's namespace that selects its labels into it. Namespaces need no label for that:
// having a PodDefault is wish enough. Errors: 400 with the webhook's text when a PodDefault disagrees with the pod or
// with another PodDefault; the pod is then unchanged.
Answer<void> apply_pod_defaults(const Api& api, const Target& t, Object& pod);

// Merges these into the pod, in their order. Errors: every conflict, in words; the pod is then unchanged. The words
// name variables but not their values, which may be secret.
std::expected<void, std::vector<std::string>> merge_pod_defaults(const std::vector<ObjectPtr>& defaults, Object& pod);

}  // namespace mr::kube
