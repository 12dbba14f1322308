#include "json/parse.h"
#include "json/writer.h"
#include "log/log.h"
#include "serving/api.h"
#include "serving/api_docs.h"
#include "serving/exchange.h"
#include "serving/scoring.h"
#include "serving/server_info.h"
#include "serving/v1.h"
#include "task/pool.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::serving {

namespace {

using http::Method;
using Reply = task::Task<http::Response>;

// Why a model does not answer: it is not there, or cannot be read.
http::Response not_found(const Error& e) {
  return refused(refusal(e.code == Code::not_found ? 404 : engine_status(e), e.message));
}
http::Response empty(int status) {
  http::Response r;
  r.status = status;
  return r;
}

bool json_body(const http::Request& rq) {
  auto type = rq.headers.get("Content-Type");
  if (type.empty()) return true;
  type = text::trim(type.substr(0, type.find(';')));
  return text::iequals(type, "application/json") ||
         (type.size() > 5 && text::iequals(type.substr(type.size() - 5), "+json"));
}

// What it runs is in it, and it asks this server only.
http::Response page(std::string html) {
  auto r = http::Response::text(200, std::move(html), "text/html; charset=utf-8");
  r.headers.add("Content-Security-Policy",
                "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; "
                "base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
  return r;
}

// The bytes of JSON that the header announces in front of binary tensors.
Result<std::optional<std::size_t>> json_size(const http::Request& rq, std::size_t body) {
  auto header = rq.headers.get("Inference-Header-Content-Length");
  if (header.empty()) return std::nullopt;
  auto n = text::to_u64(header);
  if (!n || *n > body)
    return fail(Code::invalid_argument,
                fmt::format("Inference-Header-Content-Length is no size within the body of {} bytes", body));
  return static_cast<std::size_t>(*n);
}

http::Response answer_of(const Model& m, InferAnswer answer) {
  auto res = http::Response::json(200, std::move(answer.body));
  for (char& c : answer.id)
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  res.raw_headers.reserve(m.answer_head.size() + 2 * answer.id.size() + 32);
  res.raw_headers = m.answer_head;
  for (const char* h : {"ce-id: ", "ce-requestid: "}) res.raw_headers.append(h).append(answer.id).append("\r\n");
  if (answer.json_size != 0) {
    res.headers.set("Content-Type", "application/octet-stream");
    res.headers.set("Inference-Header-Content-Length", std::to_string(answer.json_size));
  }
  return res;
}

Reply run_infer(Repository& repo, http::Request& rq, std::string name, std::string version, bool stream) {
  auto model = repo.find(name, version);
  if (!model && model.error().reason == "waiting") model = co_await repo.get(name, version);
  if (!model) co_return not_found(model.error());
  Counted counted(*model);
  auto body = co_await http::read_all(rq, kBodyLimit);
  if (!body) co_return body_error(body.error());
  auto size = json_size(rq, body->size());
  if (!size) co_return refused(refusal(400, size.error().message));
  if (!*size && !json_body(rq))
    co_return refused(refusal_422("model_attributes_type", R"(["body"])",
                                  "Input should be a valid dictionary or object to extract fields from"));
  auto computed = co_await compute(
      *model, body->size(), [&] { return infer(**model, *body, *size); },
      [&] {
        return order_of(rq.headers.get("Priority"), std::string_view(*body).substr(0, size->value_or(body->size())));
      });
  if (!computed) co_return refused(computed.error());
  auto answer = std::move(*computed);
  if (!answer) co_return refused(answer.error());
  counted.answered();
  if (stream) co_return http::Response::text(200, "data: " + answer->body + "\n\n", "text/event-stream; charset=utf-8");
  co_return answer_of(**model, std::move(*answer));
}

void add_model_routes(http::Router& router, Repository& repo, const std::string& base, bool versioned) {
  auto version = [versioned](const http::Request& rq) { return versioned ? rq.params[1] : std::string(); };
  router.add(Method::get, base, [&repo, version](http::Request& rq) -> Reply {
    auto m = co_await repo.get(rq.params[0], version(rq));
    if (!m) co_return not_found(m.error());
    co_return http::Response::json(200, (*m)->metadata);
  });
  router.add(Method::get, base + "/ready", [&repo, version](http::Request& rq) -> Reply {
    auto m = co_await repo.get(rq.params[0], version(rq));
    if (!m) co_return not_found(m.error());
    co_return empty(200);
  });
  router.add(Method::get, base + "/docs", [&repo, version](http::Request& rq) -> Reply {
    auto m = co_await repo.get(rq.params[0], version(rq));
    if (!m) co_return not_found(m.error());
    co_return page(try_page(m->get()));
  });
  router.add(Method::get, base + "/docs/dataplane.json", [&repo, version](http::Request& rq) -> Reply {
    auto m = co_await repo.get(rq.params[0], version(rq));
    if (!m) co_return not_found(m.error());
    co_return http::Response::json(200, openapi_document(m->get()));
  });
  router.add(Method::get, base + "/stats", [&repo, version](http::Request& rq) -> Reply {
    auto m = co_await repo.get(rq.params[0], version(rq));
    if (!m) co_return not_found(m.error());
    co_return http::Response::json(200, statistics({*m}));
  });
  router.add(Method::get, base + "/config", [&repo, version](http::Request& rq) -> Reply {
    auto m = co_await repo.get(rq.params[0], version(rq));
    if (!m) co_return not_found(m.error());
    co_return http::Response::json(200, model_config(**m));
  });
  for (const char* verb : {"/infer", "/generate"})
    router.add(Method::post, base + verb, [&repo, version](http::Request& rq) -> Reply {
      auto name = rq.params[0];
      auto v = version(rq);
      return run_infer(repo, rq, name, v, false);
    });
  for (const char* verb : {"/infer_stream", "/generate_stream"})
    router.add(Method::post, base + verb, [&repo, version](http::Request& rq) -> Reply {
      auto name = rq.params[0];
      auto v = version(rq);
      return run_infer(repo, rq, name, v, true);
    });
}

}  // namespace

void add_routes(http::Router& router, Repository& repo) {
  router.add(Method::get, "/v2",
             [](http::Request&) -> Reply { co_return http::Response::json(200, server_metadata()); });
  router.add(Method::get, "/v2/", [](http::Request&) -> Reply {
    auto r = empty(307);
    r.headers.add("Location", "/v2");
    co_return r;
  });
  for (const char* p : {"/v2/health/live", "/v2/health/ready"})
    router.add(Method::get, p, [](http::Request&) -> Reply { co_return empty(200); });
  router.add(Method::get, "/v2/docs", [](http::Request&) -> Reply { co_return page(try_page(nullptr)); });
  router.add(Method::get, "/v2/docs/dataplane.json",
             [](http::Request&) -> Reply { co_return http::Response::json(200, openapi_document(nullptr)); });
  router.add(Method::get, "/v2/models/stats",
             [&repo](http::Request&) -> Reply { co_return http::Response::json(200, statistics(repo.loaded())); });
  add_model_routes(router, repo, "/v2/models/{name}", false);
  add_model_routes(router, repo, "/v2/models/{name}/versions/{version}", true);
  router.add(Method::post, "/v2/repository/index", [&repo](http::Request& rq) -> Reply {
    auto body = co_await http::read_all(rq, 1 << 20);
    if (!body) co_return body_error(body.error());
    // MLServer asks for a body; Triton's client sends none and is told all the same.
    const bool triton = rq.headers.get("User-Agent").find("gevent-http-client") != std::string_view::npos;
    if (text::trim(*body).empty()) {
      if (!triton) co_return refused(refusal_422("missing", R"(["body"])", "Field required"));
      *body = "{}";
    }
    auto doc = json::parse(*body);
    if (!doc) co_return refused(refusal_422("json_invalid", R"(["body",0])", "JSON decode error"));
    if (!doc->is_object())
      co_return refused(refusal_422("model_attributes_type", R"(["body"])",
                                    "Input should be a valid dictionary or object to extract fields from"));
    const auto* ready = json::find(*doc, "ready");
    bool only_ready = ready != nullptr && ready->is_bool() && ready->get_bool();
    std::string out;
    json::Writer w(out);
    w.begin_array();
    for (const auto& e : repo.index()) {
      if (only_ready && !e.ready) continue;
      w.begin_object();
      w.field("name", e.name);
      if (!e.version.empty()) w.field("version", e.version);
      w.field("state", e.ready ? "READY" : "UNAVAILABLE");
      w.field("reason", "");
      w.end_object();
    }
    w.end_array();
    co_return http::Response::json(200, std::move(out));
  });
  router.add(Method::post, "/v2/repository/models/{name}/load", [&repo](http::Request& rq) -> Reply {
    auto name = rq.params[0];
    // A model that Python serves may have its environment made now.
    auto r = co_await task::run_on(waiting_pool(), [&] { return repo.load(name); });
    if (!r) co_return refused(refusal(503, "too many loads are waiting; try again later"));
    if (!*r) co_return refused(refusal((*r).error().code == Code::not_found ? 404 : 400, (*r).error().message));
    co_return empty(200);
  });
  router.add(Method::post, "/v2/repository/models/{name}/unload", [&repo](http::Request& rq) -> Reply {
    auto r = repo.unload(rq.params[0]);
    if (!r) co_return not_found(r.error());
    co_return empty(200);
  });
}

void add_server_routes(http::Router& router, Repository& repo) {
  add_routes(router, repo);
  add_v1_routes(router, repo);
  add_scoring_routes(router, repo);
}

namespace {

// A path with its names replaced, so that metrics have few labels: "/v2/models/{model_name}/infer".
std::string path_label(std::string_view path) {
  std::string out;
  std::string_view before;
  for (auto part : text::split(path.substr(1), '/')) {
    out += '/';
    if (before == "models") {
      auto colon = part.rfind(':');
      out += "{model_name}";
      if (colon != std::string_view::npos) out += part.substr(colon);
    } else if (before == "versions") {
      out += "{model_version}";
    } else {
      out += part;
    }
    before = part;
  }
  return out;
}

// MLServer's metrics of its REST server, one set a route and thread.
struct RouteMetrics {
  metrics::Labels labels;
  metrics::Histogram seconds;
  metrics::Gauge running;
  std::map<int, metrics::Counter> by_status;
};
using RouteKey = std::pair<std::uint64_t, const http::Handler*>;  // of which handler's router
RouteMetrics& metrics_of(const RouteKey& key, const http::Request& rq) {
  thread_local std::map<RouteKey, RouteMetrics> known;
  auto it = known.find(key);
  if (it != known.end()) return it->second;
  metrics::Labels labels{
      {"app_name", "mlserver"}, {"method", std::string(rq.method_text.substr(0, 10))}, {"path", path_label(rq.path)}};
  RouteMetrics m{labels,
                 metrics::duration_histogram("rest_server_request_duration_seconds", "Time of REST requests.", labels),
                 metrics::gauge("rest_server_requests_in_progress", "REST requests under way.", labels),
                 {}};
  return known.emplace(key, std::move(m)).first->second;
}

void count_request(RouteMetrics& m, int status, std::int64_t began) {
  auto it = m.by_status.find(status);
  if (it == m.by_status.end()) {
    auto labels = m.labels;
    labels.emplace_back("status_code", std::to_string(status));
    it = m.by_status.emplace(status, metrics::counter("rest_server_requests_total", "REST requests.", labels)).first;
  }
  it->second.add();
  m.seconds.observe(static_cast<double>(time::mono_ns() - began) / 1e9);
}

}  // namespace

http::Handler make_handler(http::Router router) {
  static std::atomic<std::uint64_t> made = 0;
  auto routes = std::make_shared<http::Router>(std::move(router));
  return [routes, id = ++made](http::Request& rq) -> Reply {
    auto m = routes->find(rq.method, rq.path);
    if (m.handler != nullptr) {
      rq.params = std::move(m.params);
      auto& counted = metrics_of({id, m.handler}, rq);
      auto began = time::mono_ns();
      counted.running.add(1);
      auto answer = co_await (*m.handler)(rq);  // on this loop again, and so on this thread
      counted.running.add(-1);
      count_request(counted, answer.status, began);
      co_return answer;
    }
    if (m.other_method) {
      auto r = http::Response::json(405, R"({"detail":"Method Not Allowed"})");
      r.headers.add("Allow", m.allow);
      co_return r;
    }
    co_return http::Response::json(404, R"({"detail":"Not Found"})");
  };
}

}  // namespace mr::serving
