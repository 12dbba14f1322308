#include "dashboard/dashboard.h"

#include <atomic>

#include "dashboard/assets.h"
#include "dashboard/caller.h"
#include "dashboard/inside.h"
#include "json/parse.h"
#include "log/log.h"
#include "task/pool.h"
#include "text/text.h"
#include "text/uri.h"

namespace mr::dashboard {

namespace {

// No script, style or request leaves this origin; nothing frames the pages.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src "
    "'self'; frame-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

constexpr std::size_t kMaxTopics = 8;
constexpr std::size_t kNextRuns = 5;

// First parts of the pages' addresses: web/src/pages.ts has the same.
constexpr std::string_view kPages[] = {"pipelines", "experiments", "models", "endpoints", "objects", "resources"};

bool page_address(std::string_view path) {
  if (path == "/" || path == "/index.html") return true;
  path.remove_prefix(1);
  auto first = path.substr(0, path.find('/'));
  return std::ranges::find(kPages, first) != std::end(kPages);
}

http::Response page_headers(http::Response res) {
  res.headers.set("Content-Security-Policy", std::string(kPolicy));
  res.headers.set("X-Content-Type-Options", std::string("nosniff"));
  res.headers.set("Referrer-Policy", std::string("no-referrer"));
  res.headers.set("Cross-Origin-Opener-Policy", std::string("same-origin"));
  return res;
}
http::Response refused(int status, std::string_view message) {
  return page_headers(http::Response::json(status, json::serialize(Object{{"message", message}})));
}
http::Response answer(std::string body) {
  auto res = http::Response::json(200, std::move(body));
  res.headers.add("Cache-Control", "no-store");
  return page_headers(std::move(res));
}

}  // namespace

struct Dashboard::Impl {
  DashboardDeps deps;
  std::shared_ptr<std::atomic<std::uint64_t>> changes = std::make_shared<std::atomic<std::uint64_t>>(0);
  std::optional<Live> live;
  Callers callers;

  task::Task<http::Response> api(http::Request& rq) {
    auto query = text::parse_query(rq.query);
    auto param = [&](std::string_view name) {
      for (const auto& [k, v] : query)
        if (k == name) return v;
      return std::string();
    };
    if (rq.method != http::Method::get && rq.method != http::Method::head)
      co_return refused(405, "this API only reads");
    auto name = rq.path.substr(std::string_view("/dashboard/api/v1/").size());
    if (name == "frame") co_return answer(co_await frame(deps));
    if (name == "overview") co_return answer(co_await overview(deps, param("namespace")));
    if (name == "search") co_return answer(co_await search(deps, param("q")));
    if (name == "schedule") {
      if (!deps.next_runs) co_return refused(501, "there are no schedules here");
      auto times = deps.next_runs(param("id"), param("cron"), kNextRuns);
      if (!times) {
        const auto code = times.error().code;
        co_return refused(code == Code::not_found          ? 404
                          : code == Code::invalid_argument ? 400
                                                           : 503,
                          times.error().message);
      }
      Array list;
      for (auto t : *times) list.emplace_back(t);
      co_return answer(json::serialize(Object{{"times", std::move(list)}}));
    }
    if (name == "live") {
      std::vector<std::string> topics;
      for (auto t : text::split(param("topics"), ','))
        if (!t.empty()) topics.emplace_back(t);
      if (topics.empty() || topics.size() > kMaxTopics) co_return refused(400, "topics: one to eight, with commas");
      co_return page_headers(live->stream(rq, std::move(topics)));
    }
    co_return refused(404, "there is nothing of this name: docs/dashboard.md lists what there is");
  }

  task::Task<http::Response> serve(http::Request& rq) {
    constexpr std::string_view kAssets = "/dashboard/assets/";
    if (rq.path.starts_with(kAssets)) {
      if (rq.method != http::Method::get && rq.method != http::Method::head) co_return refused(405, "files are read");
      const auto* a = Assets::embedded().find(rq.path.substr(std::string_view("/dashboard/").size()));
      co_return page_headers(asset_response(rq, a, true));
    }
    if (!deps.local)
      co_return refused(403,
                        "Other machines can reach this address, and the dashboard knows no users yet: its data is for "
                        "--listen 127.0.0.1. From elsewhere: ssh -L 8080:127.0.0.1:8080 HOST");
    if (!host_is_ours(rq.headers.get("Host"), deps.allowed_hosts))
      co_return refused(403, "this Host is not one of this machine's names: add it with --allowed-hosts");
    if (!same_site(rq)) co_return refused(403, "this was asked by a page of another site");
    auto pod = co_await task::run_on(task::disk_pool(), [this, ip = std::string(rq.remote), port = rq.remote_port] {
      return deps.is_pod ? deps.is_pod(ip, port) : callers.is_pod(ip, port);
    });
    if (!pod) co_return refused(503, "too many requests are waiting; try again later");
    if (*pod)
      co_return refused(403, "the dashboard is for people of this machine; a pod asks the APIs with its own account");
    if (rq.path.starts_with("/dashboard/api/v1/")) co_return co_await api(rq);
    if (rq.path.starts_with("/dashboard/kube/")) co_return co_await to_kube(deps, rq);
    if (rq.path.starts_with("/dashboard/mlflow/")) co_return co_await to_tracking(deps, rq);
    if (rq.path.starts_with("/dashboard/s3/")) co_return co_await to_objects(deps, rq);
    if (rq.path == "/dashboard" || rq.path == "/dashboard/") {
      auto res = http::Response::text(302, "");
      res.headers.add("Location", "/");
      co_return page_headers(std::move(res));
    }
    co_return refused(404, "there is nothing at this address");
  }

  // What the pages may do is a role like any other: an administrator may narrow it, and a start does not widen it
  // again.
  task::Task<void> publish() {
    constexpr std::string_view kApi = "/apis/rbac.authorization.k8s.io/v1/";
    Object role{{"apiVersion", "rbac.authorization.k8s.io/v1"},
                {"kind", "ClusterRole"},
                {"metadata", Object{{"name", "millrace-dashboard"}}},
                {"rules", Array{Object{{"apiGroups", Array{"*"}}, {"resources", Array{"*"}}, {"verbs", Array{"*"}}},
                                Object{{"nonResourceURLs", Array{"*"}}, {"verbs", Array{"get"}}}}}};
    Object binding{
        {"apiVersion", "rbac.authorization.k8s.io/v1"},
        {"kind", "ClusterRoleBinding"},
        {"metadata", Object{{"name", "millrace-dashboard"}}},
        {"roleRef",
         Object{{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", "ClusterRole"}, {"name", "millrace-dashboard"}}},
        {"subjects",
         Array{Object{{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", "Group"}, {"name", "millrace:dashboard"}}}}};
    for (auto& [plural, object] :
         {std::pair<const char*, const Object&>{"clusterroles", role}, {"clusterrolebindings", binding}}) {
      auto made = co_await ask(deps.kube, fmt::format("{}{}", kApi, plural), json::serialize(object), &administrator());
      if (!made && made.error().code != Code::already_exists)
        log::error("the dashboard's role cannot be published", {{"kind", plural}, {"error", made.error().message}});
    }
  }
};

Dashboard::Dashboard(DashboardDeps deps) : impl_(std::make_shared<Impl>()) {
  impl_->deps = std::move(deps);
  impl_->live.emplace(impl_->deps, impl_->changes);
}
Dashboard::~Dashboard() { stop(); }

http::Handler Dashboard::at_front_door(http::Handler fallback) const {
  return [i = impl_, fallback = std::move(fallback)](http::Request& rq) -> task::Task<http::Response> {
    if (rq.path == "/dashboard" || rq.path.starts_with("/dashboard/")) return i->serve(rq);
    // Clients of the APIs ask for no HTML: to them an unknown path stays what it was.
    // And to a host of the cluster's there is no dashboard, whether a rule has the host or not.
    if ((rq.method == http::Method::get || rq.method == http::Method::head) && page_address(rq.path) &&
        (rq.path == "/" || rq.headers.get("Accept").find("text/html") != std::string_view::npos) &&
        host_is_ours(rq.headers.get("Host"), i->deps.allowed_hosts))
      return [](http::Request& q) -> task::Task<http::Response> {
        co_return page_headers(index_response(q, Assets::embedded()));
      }(rq);
    return fallback(rq);
  };
}

http::Handler Dashboard::observed(http::Handler inner) const {
  return [changes = impl_->changes, inner = std::move(inner)](http::Request& rq) -> task::Task<http::Response> {
    const bool reads = rq.method == http::Method::get || rq.method == http::Method::head ||
                       rq.method == http::Method::options || rq.path.ends_with("search") ||
                       rq.path.ends_with("/runs/group") || rq.path.ends_with("/graphql");
    auto res = co_await inner(rq);
    if (!reads && res.status < 400) changes->fetch_add(1, std::memory_order_relaxed);
    co_return res;
  };
}

void Dashboard::start(task::Loop& loop) {
  loop.post([i = impl_] {
    task::detach([](std::shared_ptr<Impl> impl) -> task::Task<void> { co_await impl->publish(); }(i));
  });
}
void Dashboard::stop() { impl_->live->stop(); }

}  // namespace mr::dashboard
