// GET /dashboard/api/v1/search?q=: things of every room whose name holds the words, each with the page that shows it.
#include "dashboard/inside.h"
#include "json/parse.h"
#include "text/text.h"
#include "text/uri.h"

namespace mr::dashboard {

namespace {

constexpr std::size_t kEach = 6;  // of a kind
constexpr std::size_t kMaxWords = 200;

struct Finding {
  const DashboardDeps& deps;
  std::string words;
  Array items;
  Object errors;

  void add(std::string_view kind, std::string_view title, std::string_view detail, std::string link) {
    items.push_back(Object{{"kind", kind}, {"title", title}, {"detail", detail}, {"link", std::move(link)}});
  }
  Value take(std::string_view room, Result<Value> r) {
    if (r) return std::move(*r);
    errors[room] = r.error().message;
    return Object{};
  }

  task::Task<void> pipelines() {
    auto filter = text::percent_encode(json::serialize(
        Object{{"predicates",
                Array{Object{{"operation", "IS_SUBSTRING"}, {"key", "display_name"}, {"string_value", words}}}}}));
    auto runs = take(
        "pipelines",
        co_await ask(deps.pipelines, fmt::format("/apis/v2beta1/runs?page_size={}&sort_by=created_at%20desc&filter={}",
                                                 kEach, filter)));
    for (const auto& r : list_of(runs, "runs"))
      add("Pipeline run", text_of(r, "display_name"), text_of(r, "state"),
          fmt::format("/pipelines/runs/{}", text_of(r, "run_id")));
    auto all = take(
        "pipelines",
        co_await ask(deps.pipelines, fmt::format("/apis/v2beta1/pipelines?page_size={}&filter={}", kEach, filter)));
    for (const auto& p : list_of(all, "pipelines"))
      add("Pipeline", text_of(p, "display_name"), text_of(p, "description"),
          fmt::format("/pipelines/definitions/{}", text_of(p, "pipeline_id")));
  }

  task::Task<void> tracking() {
    // A text of the filter's grammar ends at its own kind of quote; with both kinds in it there is no way to write it.
    char quote = words.find('\'') == std::string::npos ? '\'' : '"';
    if (words.find(quote) != std::string::npos) co_return;
    auto like = fmt::format("ILIKE {0}%{1}%{0}", quote, words);
    auto found =
        take("tracking", co_await ask(deps.tracking, "/api/2.0/mlflow/experiments/search",
                                      json::serialize(Object{{"max_results", kEach}, {"filter", "name " + like}})));
    for (const auto& e : list_of(found, "experiments"))
      add("Experiment", text_of(e, "name"), "", fmt::format("/experiments/{}", text_of(e, "experiment_id")));
    auto all = take("tracking", co_await ask(deps.tracking, "/api/2.0/mlflow/experiments/search",
                                             json::serialize(Object{{"max_results", 1000}})));
    Array ids;
    for (const auto& e : list_of(all, "experiments")) ids.emplace_back(text_of(e, "experiment_id"));
    if (!ids.empty()) {
      auto runs = take("tracking", co_await ask(deps.tracking, "/api/2.0/mlflow/runs/search",
                                                json::serialize(Object{{"experiment_ids", std::move(ids)},
                                                                       {"max_results", kEach},
                                                                       {"filter", "attributes.run_name " + like}})));
      for (const auto& r : list_of(runs, "runs"))
        add("Run", text_of(r, "info.run_name"), text_of(r, "info.status"),
            fmt::format("/experiments/{}/runs/{}", text_of(r, "info.experiment_id"), text_of(r, "info.run_id")));
    }
    auto models = take(
        "tracking",
        co_await ask(deps.tracking, fmt::format("/api/2.0/mlflow/registered-models/search?max_results={}&filter={}",
                                                kEach, text::percent_encode("name " + like))));
    for (const auto& m : list_of(models, "registered_models"))
      add("Model", text_of(m, "name"), text_of(m, "description"),
          fmt::format("/models/{}", text::percent_encode(text_of(m, "name"))));
  }

  task::Task<void> cluster() {
    auto needle = text::lower(words);
    struct Kind {
      const char *label, *list, *page;
    };
    static constexpr Kind kinds[] = {
        {"Endpoint", "/apis/serving.kserve.io/v1beta1/inferenceservices", ""},
        {"Pod", "/api/v1/pods", "/resources/core/v1/pods"},
        {"Deployment", "/apis/apps/v1/deployments", "/resources/apps/v1/deployments"},
        {"Service", "/api/v1/services", "/resources/core/v1/services"},
        {"ConfigMap", "/api/v1/configmaps", "/resources/core/v1/configmaps"},
        {"Notebook", "/apis/kubeflow.org/v1/notebooks", "/resources/kubeflow.org/v1/notebooks"},
    };
    for (const auto& k : kinds) {
      auto list = co_await ask(deps.kube, k.list, {}, &viewer());
      if (!list) {
        if (list.error().code != Code::not_found) errors["kubernetes"] = list.error().message;
        continue;
      }
      std::size_t shown = 0;
      for (const auto& o : list_of(*list, "items")) {
        auto name = text_of(o, "metadata.name");
        if (text::lower(name).find(needle) == std::string::npos) continue;
        if (++shown > kEach) break;
        auto ns = text_of(o, "metadata.namespace");
        add(k.label, name, ns,
            *k.page == 0 ? fmt::format("/endpoints/{}/{}", ns, name) : fmt::format("{}/{}/{}", k.page, ns, name));
      }
    }
  }
};

}  // namespace

task::Task<std::string> search(const DashboardDeps& deps, std::string words) {
  Finding f{
      .deps = deps, .words = std::string(text::utf8_prefix(text::trim(words), kMaxWords)), .items = {}, .errors = {}};
  if (!f.words.empty()) {
    co_await f.pipelines();
    co_await f.tracking();
    co_await f.cluster();
  }
  co_return json::serialize(Object{{"items", std::move(f.items)}, {"errors", std::move(f.errors)}});
}

}  // namespace mr::dashboard
