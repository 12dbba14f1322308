// The Client of a Kubernetes API elsewhere: HTTP/1.1, mostly under TLS, a connection for each call under way and each
// watch. Ownership: destroy it when no call or watch of it is left, after the loops have stopped and before they go.
// Thread safe: calls resume on the loop that made them; a watch belongs to its loop; close_watches() from anywhere.
#pragma once
#include <memory>
#include <string>

#include "http/client_tls.h"
#include "kube/client.h"

namespace mr::kube {

// Where the API is and who we are there.
struct RemoteAccess {
  std::string server;      // https://host[:port][/path]; http:// for a local proxy of kubectl
  std::string token;       // sent as a bearer token
  std::string token_file;  // in its place: read again as time passes, for whoever writes it renews it
  http::ClientTls tls;
};
// Of a pod in a cluster: the environment's KUBERNETES_SERVICE_HOST and _PORT, and the mounted service account.
// Errors: failed_precondition, when this is no such pod.
Result<RemoteAccess> in_cluster_access(const std::string& folder = "/var/run/secrets/kubernetes.io/serviceaccount");

// Errors besides those of the API: unavailable (not reached, cut off, no answer that can be read), deadline_exceeded.
class RemoteClient : public Client {
 public:
  // `manager`: the field manager of its writes. Nothing is asked yet. Errors: invalid_argument (URL, certificates).
  static Result<std::unique_ptr<RemoteClient>> make(RemoteAccess access, std::string manager);
  ~RemoteClient() override;
  task::Task<Result<ObjectPtr>> get(Gvr r, Key key) override;
  // Pages of 500 of one revision; when that expires on the way, once more in one piece.
  task::Task<Result<List>> list(Gvr r, std::string ns = {}, ListOptions options = {}) override;
  task::Task<Result<ObjectPtr>> create(Gvr r, Object object) override;
  task::Task<Result<ObjectPtr>> update(Gvr r, Object object) override;
  task::Task<Result<ObjectPtr>> update_status(Gvr r, Object object) override;
  // apply is forced, as the embedded client does: a controller owns what it writes.
  task::Task<Result<ObjectPtr>> patch(Gvr r, Key key, PatchType type, Value body, std::string subresource = {},
                                      std::string manager = {}) override;
  task::Task<Result<void>> remove(Gvr r, Key key, Propagation p = Propagation::background,
                                  std::string uid = {}) override;
  task::Task<Result<void>> remove_now(Gvr r, Key key, std::string uid) override;
  task::Task<Result<std::unique_ptr<Watch>>> watch(Gvr r, std::string ns, std::uint64_t revision,
                                                   ListOptions options = {}) override;
  void close_watches() override;

  struct Impl;

 private:
  explicit RemoteClient(std::shared_ptr<Impl> impl);
  task::Task<Result<ObjectPtr>> replace(Gvr r, Object object, std::string subresource);
  std::shared_ptr<Impl> impl_;
};

}  // namespace mr::kube
