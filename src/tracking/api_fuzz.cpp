// Bodies and queries for the tracking API's own handler over a real database: no body may bring a 5xx, and every answer
// of the API is JSON.
#include "await.h"
#include "json/parse.h"
#include "log/log.h"
#include "memory_body.h"
#include "temp_dir.h"
#include "tracking/service.h"

namespace {

using namespace mr;

struct Call {
  http::Method method;
  const char* path;
};
using enum http::Method;
constexpr Call calls[] = {{post, "/api/2.0/mlflow/experiments/create"},
                          {post, "/api/2.0/mlflow/experiments/search"},
                          {post, "/api/2.0/mlflow/experiments/set-experiment-tag"},
                          {post, "/api/2.0/mlflow/runs/create"},
                          {post, "/api/2.0/mlflow/runs/update"},
                          {post, "/api/2.0/mlflow/runs/search"},
                          {post, "/api/2.0/mlflow/runs/log-metric"},
                          {post, "/api/2.0/mlflow/runs/log-parameter"},
                          {post, "/api/2.0/mlflow/runs/set-tag"},
                          {post, "/api/2.0/mlflow/runs/log-batch"},
                          {post, "/api/2.0/mlflow/runs/log-inputs"},
                          {post, "/api/2.0/mlflow/runs/log-model"},
                          {get, "/api/2.0/mlflow/runs/get"},
                          {get, "/api/2.0/mlflow/metrics/get-history"},
                          {get, "/api/2.0/mlflow/artifacts/list"},
                          {get, "/api/2.0/mlflow/experiments/get-by-name"},
                          {post, "/api/2.0/mlflow/registered-models/create"},
                          {get, "/api/2.0/mlflow/registered-models/search"},
                          {post, "/api/2.0/mlflow/registered-models/set-tag"},
                          {post, "/api/2.0/mlflow/registered-models/alias"},
                          {post, "/api/2.0/mlflow/model-versions/create"},
                          {get, "/api/2.0/mlflow/model-versions/search"},
                          {post, "/api/2.0/mlflow/model-versions/transition-stage"},
                          {post, "/api/2.0/mlflow/logged-models"},
                          {post, "/api/2.0/mlflow/logged-models/search"},
                          {patch, "/api/2.0/mlflow/registered-models/update"},
                          {del, "/api/2.0/mlflow/registered-models/delete-tag"},
                          {post, "/graphql"}};

struct Service {
  testing::TempDir dir;
  task::Loops loops{1};
  std::unique_ptr<tracking::Tracking> tracking;
  http::Handler handler;
  Service() {
    log::configure({.level = log::Level::off});
    auto t = tracking::Tracking::open({.database = dir.file("t.db")},
                                      tracking::make_folder_store(dir.file("artifacts")), {});
    if (!t) std::abort();
    tracking = std::move(*t);
    http::Router router;
    tracking->add_routes(router);
    handler = tracking->handler(std::move(router));
    // Something to name: experiment 0 is there; a run and a model with ids that seeds know.
    (void)ask({post, "/api/2.0/mlflow/registered-models/create"}, R"({"name":"m"})");
  }
  http::Response ask(const Call& c, std::string_view input) {
    bool in_query = c.method == get;
    testing::MadeRequest made(c.method, c.path, in_query ? input : "", {std::string(in_query ? "" : input)},
                              in_query ? 0 : input.size());
    made.request.headers.add("Host", "127.0.0.1:5000");
    made.request.headers.add("Content-Type", "application/json");
    return testing::await_on(loops, handler(made.request));
  }
};

}  // namespace

// First byte: which call. The rest: its body, or its query for GET.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static Service service;
  const auto& call = calls[data[0] % std::size(calls)];
  auto r = service.ask(call, {reinterpret_cast<const char*>(data) + 1, size - 1});
  const auto* text = std::get_if<std::string>(&r.body);
  if (r.status >= 500) {
    std::fprintf(stderr, "%s: %d %s\n", call.path, r.status, text == nullptr ? "" : text->c_str());
    std::abort();
  }
  if (text != nullptr && r.headers.get("Content-Type").starts_with("application/json") && !json::parse(*text)) {
    std::fprintf(stderr, "%s: %d is no JSON: %s\n", call.path, r.status, text->c_str());
    std::abort();
  }
  return 0;
}
