// What the client commands (get, apply, …) ask a Kubernetes API: one connection, its discovery, its errors as values.
// One object, one thread; clone() makes another connection for another thread.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/client_config.h"
#include "cli/settings.h"
#include "http/client.h"
#include "kube/object.h"

namespace mr::cli {

// A collection that the server has.
struct Resource {
  std::string group, version, plural, singular, kind;
  std::vector<std::string> short_names, categories, verbs;
  bool namespaced = false;

  [[nodiscard]] bool can(std::string_view verb) const;
  // "pods", "deployments.apps": as error texts name it.
  [[nodiscard]] std::string qualified() const;
  // "pod/x", "deployment.apps/x": as results name one.
  [[nodiscard]] std::string named(std::string_view name) const;
  // The path of the collection, or of one object in it. `ns` is not looked at when cluster scoped; empty: all.
  [[nodiscard]] std::string path(std::string_view ns, std::string_view name = {}) const;
};

struct Ask {
  http::Method method = http::Method::get;
  std::string path;  // with its query
  std::string accept = "application/json";
  std::string body, content_type = "application/json";
  bool endless = false;  // no time limit between two pieces: watches and followed logs
  std::function<bool(std::string_view)> sink;
};

class Api {
 public:
  // Errors: of reading the kubeconfig. Nothing is asked yet.
  static Result<Api> open(const Settings& s);
  [[nodiscard]] Api clone() const { return {access_, ns_given_, ns_}; }

  // A 2xx answer. Errors: what the server said ("Error from server (NotFound): …", its reason in Error::reason), or
  // unavailable with what to do. Warnings of the server go to stderr.
  Result<http::ClientResponse> send(const Ask& ask);
  // The same, with the answer as a document.
  Result<kube::Object> json(const Ask& ask);
  // The object, or the list at `path` with all of its pages gathered into one.
  Result<kube::Object> get(const std::string& path, const std::string& accept = "application/json");
  Result<std::vector<kube::Object>> list(const std::string& path);

  // By any name that kubectl takes: kind, plural, singular, short name, with ".GROUP" or ".VERSION.GROUP".
  // Errors: not_found, with names that are near.
  Result<Resource> resource(std::string_view word);
  // As above, with categories ("all") and lists ("pods,svc").
  Result<std::vector<Resource>> resources(std::string_view words);
  // Errors: not_found.
  Result<Resource> resource_of(std::string_view api_version, std::string_view kind);
  void forget_discovery() { discovered_.clear(); }

  [[nodiscard]] const Access& access() const { return access_; }
  // The namespace to act in: -n, else the context's.
  [[nodiscard]] const std::string& ns() const { return ns_; }
  [[nodiscard]] bool ns_given() const { return ns_given_; }

 private:
  Api(Access access, bool ns_given, std::string ns)
      : access_(std::move(access)),
        ns_given_(ns_given),
        ns_(std::move(ns)),
        client_(std::make_unique<http::Client>(access_.tls)) {}
  Result<> discover();
  [[nodiscard]] std::string near_names(std::string_view word) const;

  Access access_;
  bool ns_given_;
  std::string ns_;
  std::unique_ptr<http::Client> client_;
  std::vector<Resource> discovered_;  // in the server's order; preferred versions first
};

// One thing that arguments name.
struct Target {
  Resource resource;
  std::string name;  // empty: the whole collection
};
// "pods", "pods a b", "pod/a svc/b", "pods,svc", "all". Errors: invalid_argument, not_found.
Result<std::vector<Target>> targets_of(Api& api, const std::vector<std::string>& args);
// The pods that a workload or Service selects ("app=web,tier in (a,b)"), or nullopt when it selects none.
Result<std::string> selector_of(const kube::Object& object);

// Appends "&name=value" (or "?…") with the value escaped; nothing when it is empty.
void add_query(std::string& path, std::string_view name, std::string_view value);
// Prints "error: …" (or the server's own words) and returns exit code 1.
int complain(const Error& e);
// To stdout at once. False, for instance, when the reader of a pipe has gone: the command ends then.
bool put(std::string_view text);

}  // namespace mr::cli
