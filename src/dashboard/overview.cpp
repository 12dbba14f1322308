// GET /dashboard/api/v1/frame and .../overview: what stands around all pages, and what the start page shows, in one
// answer each.
#include "dashboard/inside.h"
#include "json/parse.h"
#include "text/uri.h"
#include "time/clock.h"

namespace mr::dashboard {

namespace {

constexpr int kRecent = 8;
constexpr int kExperiments = 200;  // of which the latest runs are looked for
constexpr std::size_t kWarnings = 20;

struct Gathering {
  const DashboardDeps& deps;
  std::string ns;
  Object out, counts, errors;

  // The document, or an empty one with the error noted.
  static Value take(Object& errors, std::string_view room, Result<Value> r) {
    if (r) return std::move(*r);
    if (r.error().code != Code::not_found) errors[room] = r.error().message;
    return Object{};
  }

  task::Task<void> frame() {
    Array names;
    auto list = take(errors, "kubernetes", co_await ask(deps.kube, "/api/v1/namespaces", {}, &viewer()));
    for (const auto& n : list_of(list, "items")) names.emplace_back(text_of(n, "metadata.name"));
    out["namespaces"] = std::move(names);
    // Kubeflow's own dashboard reads its menu here; entries may lead to this host's paths only.
    Array menu;
    auto config =
        take(errors, "menu",
             co_await ask(deps.kube, "/api/v1/namespaces/kubeflow/configmaps/centraldashboard-config", {}, &viewer()));
    if (auto links = json::parse(text_of(config, "data.links")); links) {
      for (const auto& e : list_of(*links, "menuLinks")) {
        auto link = text_of(e, "link");
        if (text_of(e, "type") != "item" || !link.starts_with('/') || link.starts_with("//")) continue;
        menu.push_back(Object{{"text", text_of(e, "text")}, {"link", link}});
      }
    } else if (!text_of(config, "data.links").empty()) {
      errors["menu"] = "the links of ConfigMap kubeflow/centraldashboard-config are not JSON";
    }
    out["menu"] = std::move(menu);
  }

  task::Task<void> pipelines() {
    auto within = ns.empty() ? std::string() : "&namespace=" + text::percent_encode(ns);
    auto runs =
        take(errors, "pipelines",
             co_await ask(deps.pipelines,
                          fmt::format("/apis/v2beta1/runs?page_size={}&sort_by=created_at%20desc{}", kRecent, within)));
    out["pipeline_runs"] = list_of(runs, "runs");
    counts["pipeline_runs"] = number_of(runs, "total_size");
    auto all = take(errors, "pipelines", co_await ask(deps.pipelines, "/apis/v2beta1/pipelines?page_size=1" + within));
    counts["pipelines"] = number_of(all, "total_size");
    auto count_of = [&](std::string_view state, std::string_view since) -> task::Task<std::int64_t> {
      Array predicates{Object{{"operation", "EQUALS"}, {"key", "state"}, {"string_value", state}}};
      if (!since.empty())
        predicates.push_back(Object{{"operation", "GREATER_THAN"}, {"key", "created_at"}, {"timestamp_value", since}});
      auto filter = json::serialize(Object{{"predicates", std::move(predicates)}});
      auto found = take(errors, "pipelines",
                        co_await ask(deps.pipelines, fmt::format("/apis/v2beta1/runs?page_size=1&filter={}{}",
                                                                 text::percent_encode(filter), within)));
      co_return number_of(found, "total_size");
    };
    counts["runs_running"] = co_await count_of("RUNNING", {});
    auto yesterday = time::iso8601_ms(time::now_ms() - 86'400'000).substr(0, 19) + "Z";
    counts["runs_failed_today"] = co_await count_of("FAILED", yesterday);
    counts["runs_succeeded_today"] = co_await count_of("SUCCEEDED", yesterday);
  }

  task::Task<void> tracking() {
    auto found = take(
        errors, "tracking",
        co_await ask(deps.tracking, "/api/2.0/mlflow/experiments/search",
                     json::serialize(Object{{"max_results", 1000}, {"order_by", Array{"last_update_time DESC"}}})));
    const auto& experiments = list_of(found, "experiments");
    counts["experiments"] = experiments.size();
    Array ids;
    Object names;
    for (const auto& e : experiments) {
      if (ids.size() == kExperiments) break;
      ids.emplace_back(text_of(e, "experiment_id"));
      names[text_of(e, "experiment_id")] = text_of(e, "name");
    }
    Array runs;
    if (!ids.empty()) {
      auto latest = take(errors, "tracking",
                         co_await ask(deps.tracking, "/api/2.0/mlflow/runs/search",
                                      json::serialize(Object{{"experiment_ids", std::move(ids)},
                                                             {"max_results", kRecent},
                                                             {"order_by", Array{"attributes.start_time DESC"}}})));
      for (const auto& r : list_of(latest, "runs")) {
        Object info = at(r, "info") != nullptr && at(r, "info")->is_object() ? at(r, "info")->get_object() : Object{};
        auto id = text_of(r, "info.experiment_id");
        if (const auto* n = names.if_contains(id)) info["experiment_name"] = *n;
        Array metrics;
        for (const auto& m : list_of(r, "data.metrics")) {
          if (metrics.size() == 3) break;
          metrics.push_back(m);
        }
        info["metrics"] = std::move(metrics);
        runs.push_back(std::move(info));
      }
    }
    out["tracking_runs"] = std::move(runs);
    auto models = take(errors, "tracking",
                       co_await ask(deps.tracking, "/api/2.0/mlflow/registered-models/search?max_results=200"));
    Array recent;
    for (const auto& m : list_of(models, "registered_models")) {
      if (recent.size() < kRecent) recent.push_back(m);
    }
    counts["models"] = list_of(models, "registered_models").size();
    out["models"] = std::move(recent);
  }

  std::string place(std::string_view root, std::string_view plural) const {
    return ns.empty() ? fmt::format("{}/{}", root, plural)
                      : fmt::format("{}/namespaces/{}/{}", root, text::percent_encode(ns), plural);
  }

  task::Task<void> cluster() {
    auto services =
        take(errors, "kubernetes",
             co_await ask(deps.kube, place("/apis/serving.kserve.io/v1beta1", "inferenceservices"), {}, &viewer()));
    Array endpoints;
    std::int64_t ready = 0;
    for (const auto& s : list_of(services, "items")) {
      bool is_ready = false;
      std::string why;
      for (const auto& c : list_of(s, "status.conditions"))
        if (text_of(c, "type") == "Ready") {
          is_ready = text_of(c, "status") == "True";
          why = text_of(c, "message");
        }
      ready += is_ready ? 1 : 0;
      if (endpoints.size() < kRecent)
        endpoints.push_back(Object{{"name", text_of(s, "metadata.name")},
                                   {"namespace", text_of(s, "metadata.namespace")},
                                   {"ready", is_ready},
                                   {"message", why},
                                   {"url", text_of(s, "status.url")},
                                   {"created", text_of(s, "metadata.creationTimestamp")}});
    }
    counts["endpoints"] = list_of(services, "items").size();
    counts["endpoints_ready"] = ready;
    out["endpoints"] = std::move(endpoints);

    auto pods = take(errors, "kubernetes", co_await ask(deps.kube, place("/api/v1", "pods"), {}, &viewer()));
    std::int64_t running = 0;
    for (const auto& p : list_of(pods, "items")) running += text_of(p, "status.phase") == "Running" ? 1 : 0;
    counts["pods"] = list_of(pods, "items").size();
    counts["pods_running"] = running;

    auto events =
        take(errors, "kubernetes",
             co_await ask(deps.kube, place("/api/v1", "events") + "?fieldSelector=type%3DWarning", {}, &viewer()));
    std::vector<Object> warnings;
    for (const auto& e : list_of(events, "items")) {
      auto when = text_of(e, "lastTimestamp");
      if (when.empty()) when = text_of(e, "eventTime");
      if (when.empty()) when = text_of(e, "metadata.creationTimestamp");
      warnings.push_back(Object{{"time", when},
                                {"kind", text_of(e, "involvedObject.kind")},
                                {"name", text_of(e, "involvedObject.name")},
                                {"namespace", text_of(e, "metadata.namespace")},
                                {"reason", text_of(e, "reason")},
                                {"message", text_of(e, "message")}});
    }
    std::ranges::sort(warnings, [](const Object& a, const Object& b) {
      return a.at("time").get_string() > b.at("time").get_string();
    });
    if (warnings.size() > kWarnings) warnings.resize(kWarnings);
    Array shown;
    for (auto& w : warnings) shown.push_back(std::move(w));
    out["warnings"] = std::move(shown);
  }
};

}  // namespace

task::Task<std::string> frame(const DashboardDeps& deps) {
  Gathering g{.deps = deps, .ns = {}, .out = {}, .counts = {}, .errors = {}};
  co_await g.frame();
  g.out["version"] = deps.version;
  g.out["errors"] = std::move(g.errors);
  co_return json::serialize(g.out);
}

task::Task<std::string> overview(const DashboardDeps& deps, std::string ns) {
  Gathering g{.deps = deps, .ns = std::move(ns), .out = {}, .counts = {}, .errors = {}};
  co_await g.frame();
  co_await g.pipelines();
  co_await g.tracking();
  co_await g.cluster();
  Object addresses;
  for (const auto& [name, url] : deps.addresses) addresses[name] = url;
  g.out["version"] = deps.version;
  g.out["addresses"] = std::move(addresses);
  g.out["counts"] = std::move(g.counts);
  g.out["errors"] = std::move(g.errors);
  co_return json::serialize(g.out);
}

}  // namespace mr::dashboard
