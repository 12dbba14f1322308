// The wire of the Kubernetes API: HTTP requests to the rules of Api and back. Discovery, resources, watches, pods'
// streams, reviews. Thread safe; everything named in ServerDeps must outlive it.
#pragma once
#include <memory>
#include <string>

#include "http/message.h"
#include "kube/api.h"
#include "kube/auth.h"
#include "kube/pods.h"

namespace mr::kube {

class Usages;

struct ServerDeps {
  Api* api = nullptr;
  const Authorizer* authorizer = nullptr;
  const Tokens* tokens = nullptr;
  Pods* pods = nullptr;            // null: no node; pods' streams answer 503
  std::shared_ptr<Usages> usages;  // for metrics.k8s.io; null: the server makes its own
  std::string program_version;
  std::string address;  // "127.0.0.1:6443", as clients reach it
};

class Server {
 public:
  explicit Server(ServerDeps deps);
  ~Server();
  task::Task<http::Response> handle(http::Request& request);

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace mr::kube
