// How much of the disk a pod takes, and whether that is more than it may. Pure functions of folders; they block (a pool
// thread's work) and may be called from any thread. The words are those of the kubelet, its trailing blanks included.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kube/object.h"

namespace mr::node {

// Bytes of the disk below `paths`, sparse files by what they take, files with several names once. Links are not
// followed and other file systems not entered. Stops once more than `enough` bytes were found.
std::int64_t disk_use(const std::vector<std::string>& paths, std::int64_t enough);

struct DiskUser {
  std::string container;             // whose limit it is; empty: the whole pod's
  std::vector<std::string> folders;  // what counts for it
  std::int64_t limit = 0;            // 0: none
  std::string text;                  // the limit as the manifest has it
  std::string empty_dir;             // set: the limit is this emptyDir's sizeLimit
};

// What a pod may take: sizeLimit of its emptyDirs, ephemeral-storage limits of its containers and of all together, and
// the annotation millrace.dev/ephemeral-storage-limit for its first container, with the hostPath volumes that
// millrace.dev/counted-volumes names. `volumes`: its volumes' folders by name.
struct PodFolders {
  std::string containers;  // a folder a container beneath
  std::string logs;        // likewise
  std::vector<std::pair<std::string, std::string>> volumes;
};
std::vector<DiskUser> disk_users(const kube::Object& pod, const PodFolders& folders);
// The first that takes more than it may, as the message of its eviction.
std::optional<std::string> over_limit(const std::vector<DiskUser>& users);
// All that the pod takes of the node's disk, claims and the machine's own folders left out.
std::vector<std::string> pod_disk(const kube::Object& pod, const PodFolders& folders);

// "1536Mi": a number of bytes as a quantity.
std::string bytes_text(std::int64_t bytes);

}  // namespace mr::node
