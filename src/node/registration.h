// The Node object of this machine and the volumes that claims are bound to. Used on the Manager's loop.
#pragma once
#include <string>

#include "kube/kit.h"
#include "node/node.h"

namespace mr::node {

// What this machine is: its processors, memory, system, as a Node's status tells it.
struct Machine {
  double cpus = 1;
  std::int64_t memory = 0, disk = 0;
};
Machine measure(const std::string& data_folder);

// Creates the Node, or brings its status up to date.
task::Task<Result<void>> register_node(kube::Client& client, std::string name, Machine machine);
// Renews the Node's Lease.
task::Task<Result<void>> renew_lease(kube::Client& client, std::string name);
// The StorageClass "millrace-folder", the default one.
task::Task<Result<void>> ensure_storage_class(kube::Client& client);
// Binds the claim to a folder of its own (a PersistentVolume that names it), or drops the volumes of a claim that is
// gone.
task::Task<Result<kube::Again>> reconcile_claim(kube::Manager& manager, std::string claims_folder, kube::Key key);

inline const kube::Gvr kPersistentVolumes{"", "v1", "persistentvolumes"};

}  // namespace mr::node
