// A pod's volumes as folders of this machine. Used on the node's loop; writes are few and small, and nothing is synced:
// everything here can be made again, save claims and emptyDirs, which live where they are.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "node/env.h"
#include "node/node.h"

namespace mr::node {

struct VolumeContext {
  PodFacts facts;
  std::string pod_folder;     // pods/UID
  std::string claims_folder;  // volumes
  std::string ca_pem;
  Find find;
  std::function<Result<std::string>(const TokenRequest&)> issue_token;
};

// Makes (or, called again, refreshes) every volume: its name -> its folder. Errors: reason FailedMount, with the
// kubelet's words.
task::Task<Result<std::map<std::string, std::string>>> prepare_volumes(VolumeContext context);
// The folder for a pod's own API access (token, ca.crt, namespace), for pods whose manifest has no such volume.
Result<std::string> prepare_api_access(const VolumeContext& context);

struct Mount {
  std::string source, target;
  bool read_only = false;
};
// The container's volumeMounts, subPath and subPathExpr resolved. A subPath cannot lead out of its volume.
Result<std::vector<Mount>> resolve_mounts(const kube::Object& pod, const kube::Object& container,
                                          const std::map<std::string, std::string>& volumes,
                                          const std::map<std::string, std::string>& env);

struct FileContent {
  std::string bytes;
  int mode = 0644;
};
// Replaces the files of `folder` at one moment, as Kubernetes does: a new folder, and one link (`..data`) that moves.
Result<void> write_atomically(const std::string& folder, const std::map<std::string, FileContent>& files);

}  // namespace mr::node
