// Asking another room's handler from inside the process, as a client would ask it over HTTP. Internal to the dashboard.
#pragma once
#include <boost/json/value.hpp>
#include <memory>
#include <string>
#include <string_view>

#include "dashboard/dashboard.h"
#include "http/tls.h"

namespace mr::dashboard {

using Value = boost::json::value;
using Object = boost::json::object;
using Array = boost::json::array;

// A GET, or a POST of `body`. Errors carry the answer's text; not_found for 404.
task::Task<Result<std::string>> ask_text(const http::Handler& handler, std::string target, std::string body = {},
                                         const http::PeerCertificate* peer = nullptr);
task::Task<Result<Value>> ask(const http::Handler& handler, std::string target, std::string body = {},
                              const http::PeerCertificate* peer = nullptr);

// Who the pages are to the Kubernetes API, and who publishes what they may do.
const http::PeerCertificate& viewer();
const http::PeerCertificate& administrator();

// Of a document: the member, text, number or list at a path of names; nothing where it is not.
const Value* at(const Value& v, std::string_view path);
std::string_view text_of(const Value& v, std::string_view path);
std::int64_t number_of(const Value& v, std::string_view path);
const Array& list_of(const Value& v, std::string_view path);

// The API itself: each gives the JSON text of its answer. Errors of single rooms are told in it, in "errors".
task::Task<std::string> frame(const DashboardDeps& deps);                      // overview.cpp
task::Task<std::string> overview(const DashboardDeps& deps, std::string ns);   // overview.cpp
task::Task<std::string> search(const DashboardDeps& deps, std::string words);  // search.cpp
// What changed lately, by topic: "tracking", "pipelines", "run:ID", "kube:GROUP/VERSION/PLURAL".
class Live {
 public:
  Live(const DashboardDeps& deps, std::shared_ptr<const std::atomic<std::uint64_t>> changes);
  // A stream of server-sent events, one for each topic that changed, until the client goes or stop().
  [[nodiscard]] http::Response stream(const http::Request& rq, std::vector<std::string> topics) const;
  void stop();
  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

// A request of a page to a room's own API: /dashboard/kube/..., /dashboard/mlflow/..., /dashboard/s3/... .
task::Task<http::Response> to_kube(const DashboardDeps& deps, http::Request& rq);
task::Task<http::Response> to_tracking(const DashboardDeps& deps, http::Request& rq);
task::Task<http::Response> to_objects(const DashboardDeps& deps, http::Request& rq);
// Why a page may not ask this of the Kubernetes API, or empty. `path` begins with /api or /apis, decoded.
std::string refused_of_kube(http::Method method, std::string_view path, std::string_view query,
                            std::string_view accept);
// Whether a Host header names this machine, or one of `allowed`.
bool host_is_ours(std::string_view host, const std::vector<std::string>& allowed);
// Whether a request may come from a page of ours: no foreign page made the browser send it.
bool same_site(const http::Request& rq);

}  // namespace mr::dashboard
