// The one door to a Kubernetes API for everything that acts: controllers, the node, the serving and pipeline rooms.
// Two implementations: embedded (the API server in this process) and remote (HTTPS to a real cluster).
// Thread safety: call from a loop's thread; each call resumes on the loop that made it.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kube/object.h"
#include "task/task.h"

namespace mr::kube {

enum class EventType : std::uint8_t { added, modified, deleted, bookmark };
struct WatchEvent {
  EventType type = EventType::added;
  ObjectPtr object;
};

struct ListOptions {
  std::string label_selector, field_selector;
  std::size_t limit = 0;  // 0: all
};
struct List {
  std::vector<ObjectPtr> items;
  std::uint64_t revision = 0;
};

class Watch {
 public:
  virtual ~Watch() = default;
  // The next event; nullopt when the watch has ended in the ordinary way (watch again from the last revision).
  // Errors: reason "Expired" (list again), unavailable.
  virtual task::Task<Result<std::optional<WatchEvent>>> next() = 0;
};

enum class PatchType : std::uint8_t { json, merge, strategic, apply };
enum class Propagation : std::uint8_t { background, foreground, orphan };

// Errors carry the Kubernetes reason in Error::reason ("NotFound", "AlreadyExists", "Conflict", "Invalid", ...).
class Client {
 public:
  virtual ~Client() = default;
  virtual task::Task<Result<ObjectPtr>> get(Gvr r, Key key) = 0;
  virtual task::Task<Result<List>> list(Gvr r, std::string ns = {}, ListOptions options = {}) = 0;  // ns "": all
  virtual task::Task<Result<ObjectPtr>> create(Gvr r, Object object) = 0;
  // The object's resourceVersion is the precondition; without one, unconditional.
  virtual task::Task<Result<ObjectPtr>> update(Gvr r, Object object) = 0;
  virtual task::Task<Result<ObjectPtr>> update_status(Gvr r, Object object) = 0;
  // `subresource`: "", "status", "scale". `manager`: field manager (apply).
  virtual task::Task<Result<ObjectPtr>> patch(Gvr r, Key key, PatchType type, Value body, std::string subresource = {},
                                              std::string manager = {}) = 0;
  virtual task::Task<Result<void>> remove(Gvr r, Key key, Propagation p = Propagation::background,
                                          std::string uid = {}) = 0;
  // Without any grace: how a node says that a pod's containers have stopped and its object may go.
  virtual task::Task<Result<void>> remove_now(Gvr r, Key key, std::string uid) {
    return remove(std::move(r), std::move(key), Propagation::background, std::move(uid));
  }
  // Events after `revision`; 0 begins with one "added" for each object there is.
  virtual task::Task<Result<std::unique_ptr<Watch>>> watch(Gvr r, std::string ns, std::uint64_t revision,
                                                           ListOptions options = {}) = 0;
  // For the shutdown: every watch of this client ends now, and new ones end at once.
  virtual void close_watches() {}
};

// The collections that this program's own controllers speak of.
namespace gvr {
inline const Gvr namespaces{"", "v1", "namespaces"};
inline const Gvr pods{"", "v1", "pods"};
inline const Gvr services{"", "v1", "services"};
inline const Gvr endpoints{"", "v1", "endpoints"};
inline const Gvr configmaps{"", "v1", "configmaps"};
inline const Gvr secrets{"", "v1", "secrets"};
inline const Gvr serviceaccounts{"", "v1", "serviceaccounts"};
inline const Gvr events{"", "v1", "events"};
inline const Gvr nodes{"", "v1", "nodes"};
inline const Gvr pvcs{"", "v1", "persistentvolumeclaims"};
inline const Gvr deployments{"apps", "v1", "deployments"};
inline const Gvr replicasets{"apps", "v1", "replicasets"};
inline const Gvr statefulsets{"apps", "v1", "statefulsets"};
inline const Gvr jobs{"batch", "v1", "jobs"};
inline const Gvr endpointslices{"discovery.k8s.io", "v1", "endpointslices"};
inline const Gvr virtualservices{"networking.istio.io", "v1", "virtualservices"};
inline const Gvr destinationrules{"networking.istio.io", "v1", "destinationrules"};
inline const Gvr gateways{"networking.istio.io", "v1", "gateways"};
inline const Gvr inferenceservices{"serving.kserve.io", "v1beta1", "inferenceservices"};
inline const Gvr servingruntimes{"serving.kserve.io", "v1alpha1", "servingruntimes"};
inline const Gvr clusterservingruntimes{"serving.kserve.io", "v1alpha1", "clusterservingruntimes"};
inline const Gvr inferencegraphs{"serving.kserve.io", "v1alpha1", "inferencegraphs"};
inline const Gvr trainedmodels{"serving.kserve.io", "v1alpha1", "trainedmodels"};
}  // namespace gvr

}  // namespace mr::kube
