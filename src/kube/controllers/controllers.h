// The controllers that a Kubernetes control plane brings along: workloads, endpoints, namespaces, garbage collection.
// They run on the Manager's loop over the Client; those that need every kind (namespaces, garbage) take the Api itself
// and so act only where this program is the API server. Ownership: each add_… registers with the Manager, which keeps
// it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kube/api.h"
#include "kube/kit.h"

namespace mr::kube {

void add_replicaset_controller(Manager& m);
void add_deployment_controller(Manager& m);
void add_statefulset_controller(Manager& m);
void add_daemonset_controller(Manager& m, std::string node_name);
void add_job_controller(Manager& m);
// Endpoints and one EndpointSlice for each Service with a selector.
void add_endpoints_controller(Manager& m);
// The default ServiceAccount and the ConfigMap kube-root-ca.crt of each namespace; the end of one that is deleted.
void add_namespace_controller(Manager& m, Api& api, std::string ca_pem);
// Binds new pods to the one node, as the scheduler does: conditions and events are its.
void add_scheduler(Manager& m, Api& api, std::string node_name);
// A condition on each policy of the mesh that is kept and not enforced.
void add_policy_marks(Manager& m);
// Lets a claim that is being deleted go when no pod uses it any more.
void add_claim_protection(Manager& m, Api& api);
// Events go an hour after they were told last, as with an API server's --event-ttl, and the oldest of too many.
void add_event_expiry(Manager& m, Api& api, std::int64_t ttl_ms = 3'600'000, std::size_t most = 10'000);
// Which of `all` that concerns, the oldest first.
std::vector<ObjectPtr> expired_events(std::vector<ObjectPtr> all, std::int64_t now_ms, std::int64_t ttl_ms,
                                      std::size_t most);
// Kubeflow's: a namespace with accounts, roles, quota and policy for each Profile; a StatefulSet, a Service and a route
// for each Notebook.
void add_profile_controller(Manager& m, const Kinds& kinds);
void add_notebook_controller(Manager& m, const Kinds& kinds);
// Deletes what its owners left, holds owners that go in the foreground, frees orphans.
void add_garbage_collector(Manager& m, Api& api);

}  // namespace mr::kube
