#include "cli/pipeline_tracking.h"

#include "http/async_client.h"
#include "json/parse.h"
#include "text/uri.h"
#include "time/clock.h"

namespace mr::cli {

namespace {

using Json = boost::json::object;

constexpr std::size_t kMaxTrackingAnswer = 1U << 20;
constexpr int kTrackingTimeoutMs = 10'000;

class RestTrackingLink final : public pipelines::TrackingLink {
 public:
  RestTrackingLink(std::string address, std::uint16_t port, std::string inside, std::string ui)
      : endpoint_{std::move(address), port}, inside_(std::move(inside)), ui_(std::move(ui)) {}

  task::Task<Result<Experiment>> experiment(std::string id, std::string name) override {
    auto by = id.empty() ? "/experiments/get-by-name?experiment_name=" + text::percent_encode(name)
                         : "/experiments/get?experiment_id=" + text::percent_encode(id);
    auto found = co_await call("GET", by, {});
    if (found) {
      const auto* e = json::find(*found, "experiment");
      if (e != nullptr)
        co_return Experiment{std::string(json::string_or_empty(*e, "experiment_id")),
                             std::string(json::string_or_empty(*e, "name"))};
    }
    if (!id.empty() || (!found && found.error().code != Code::not_found)) co_return std::unexpected(found.error());
    MR_CO_TRY(auto made, co_await call("POST", "/experiments/create", Json{{"name", name}}));
    co_return Experiment{std::string(json::string_or_empty(made, "experiment_id")), name};
  }

  task::Task<Result<std::string>> create_run(std::string experiment_id, std::string name,
                                             pipelines::Tags tags) override {
    boost::json::array list;
    for (const auto& [k, v] : tags) list.push_back(Json{{"key", k}, {"value", v}});
    MR_CO_TRY(auto made, co_await call("POST", "/runs/create",
                                       Json{{"experiment_id", experiment_id},
                                            {"run_name", name},
                                            {"start_time", time::now_ms()},
                                            {"tags", std::move(list)}}));
    const auto* run = json::find(made, "run");
    const auto* info = run == nullptr ? nullptr : json::find(*run, "info");
    if (info == nullptr) co_return fail(Code::internal, "the tracking server answered without a run");
    co_return std::string(json::string_or_empty(*info, "run_id"));
  }

  task::Task<Result<void>> log(std::string run_id, std::map<std::string, double> metrics,
                               std::map<std::string, std::string> params) override {
    boost::json::array m, p;
    for (const auto& [k, v] : metrics)
      m.push_back(Json{{"key", k}, {"value", v}, {"timestamp", time::now_ms()}, {"step", 0}});
    for (const auto& [k, v] : params) p.push_back(Json{{"key", k}, {"value", v}});
    auto r = co_await call("POST", "/runs/log-batch",
                           Json{{"run_id", run_id}, {"metrics", std::move(m)}, {"params", std::move(p)}});
    if (!r) co_return std::unexpected(r.error());
    co_return Result<void>{};
  }

  task::Task<Result<void>> update_run(std::string run_id, std::string status, std::int64_t end_ms) override {
    Json body{{"run_id", run_id}, {"status", status}};
    if (end_ms != 0) body["end_time"] = end_ms;
    auto r = co_await call("POST", "/runs/update", std::move(body));
    if (!r) co_return std::unexpected(r.error());
    co_return Result<void>{};
  }

  [[nodiscard]] std::string inside_url() const override { return inside_; }
  [[nodiscard]] std::string run_url(const std::string& experiment_id, const std::string& run_id) const override {
    return fmt::format("{}/#/experiments/{}/runs/{}", ui_, experiment_id, run_id);
  }

 private:
  task::Task<Result<boost::json::value>> call(std::string method, std::string path, Json body) {
    http::AsyncRequest q;
    q.method = method;
    q.target = "/api/2.0/mlflow" + path;
    q.timeout_ms = kTrackingTimeoutMs;
    if (method == "POST") {
      q.headers.add("Content-Type", "application/json");
      q.body = json::serialize(body);
    }
    MR_CO_TRY(auto answer, co_await client_.send(endpoint_, std::move(q)));
    std::string text;
    for (;;) {
      MR_CO_TRY(auto piece, co_await answer.body->read());
      if (piece.empty()) break;
      text += piece;
      if (text.size() > kMaxTrackingAnswer)
        co_return fail(Code::too_large, "the tracking server's answer is too large");
    }
    auto v = json::parse(text);
    if (answer.status == 200 && v) co_return std::move(*v);
    auto message = v ? std::string(json::string_or_empty(*v, "message")) : std::string();
    auto code =
        v && json::string_or_empty(*v, "error_code") == "RESOURCE_DOES_NOT_EXIST" ? Code::not_found : Code::unavailable;
    co_return fail(code, message.empty() ? fmt::format("the tracking server answered {}", answer.status) : message);
  }
  http::Endpoint endpoint_;
  std::string inside_, ui_;
  http::AsyncClient client_;
};

}  // namespace

std::unique_ptr<pipelines::TrackingLink> make_tracking_link(std::string address, std::uint16_t port,
                                                            std::string inside_url, std::string ui_url) {
  return std::make_unique<RestTrackingLink>(std::move(address), port, std::move(inside_url), std::move(ui_url));
}

}  // namespace mr::cli
