// The Kubernetes side of `millrace up`: the API server, its controllers, the node that runs pods, Services on loopback,
// InferenceServices. Owned by the command's function; made before the listeners start, stopped after them.
// Thread safety: open, start and stop from one thread; handler() and gateway() serve any loop.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "cli/builtin_parts.h"
#include "cli/settings.h"
#include "http/message.h"
#include "http/server.h"
#include "http/tls.h"
#include "kube/client.h"
#include "kube/pods.h"
#include "serving/controller/storage.h"
#include "serving/load.h"
#include "serving/model_cache.h"
#include "task/loop.h"

namespace mr::cli {

struct PlatformOptions {
  std::string data;     // the data folder
  std::string address;  // where the API listens, as clients reach it
  std::uint16_t api_port = 6443;
  std::uint16_t gateway_port = 8080;
  std::string version;
  serving::StorageOptions storage;  // how predictors reach models
  std::shared_ptr<serving::ModelCache> model_cache;
  serving::LoadOptions load;                  // and by which engines they serve them
  std::map<std::string, Part> parts;          // image -> part of this program that its pods stand for
  std::map<std::string, std::string> images;  // further image names -> what runs them (node::NodeOptions)
  int warm_interpreters = 4;
  long scale_window_ms = 60'000, scale_grace_ms = 30'000;  // serving::ScaleDefaults
  std::string container_engine = "auto";                   // and what runs those that none of them names
  std::int64_t min_free_disk = std::int64_t{512} << 20;    // node::NodeOptions
  bool mysql = false;                                      // publish the Service of a MariaDB
};

class Platform {
 public:
  static Result<std::unique_ptr<Platform>> open(task::Loops& loops, PlatformOptions options);
  ~Platform();
  // The API behind TLS.
  [[nodiscard]] http::Handler handler();
  [[nodiscard]] std::shared_ptr<const http::TlsContext> tls() const;
  // The front door: what routes of the cluster take, else `fallback`.
  [[nodiscard]] http::Handler gateway(http::Handler fallback);
  // The same for HTTP/2: calls of gRPC, else to the gRPC server at `address` and `port`.
  [[nodiscard]] http::TakeOver gateway_http2(std::string address, std::uint16_t port);
  // host and port of a Service's name -> an address that answers; empty: no such Service.
  [[nodiscard]] std::string resolve(const std::string& host, int port) const;
  // For one Manager outside, which stops first: the API as this program's own user, and the pods' logs.
  [[nodiscard]] kube::Client& client();
  [[nodiscard]] kube::Pods& pods();
  void start();
  void stop();

 private:
  struct Impl;
  explicit Platform(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mr::cli
