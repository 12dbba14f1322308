#include <fstream>

#include "cli/commands.h"
#include "cli/listener.h"
#include "cli/model_fetch.h"
#include "cli/settings_serving.h"
#include "json/parse.h"
#include "log/log.h"
#include "node/env.h"
#include "serving/api.h"
#include "serving/batcher.h"
#include "serving/grpc_service.h"
#include "serving/request_log.h"

namespace mr::cli {

namespace {

// KServe's containers say only the model's name where the files lie at the usual place.
Settings with_default_folder(const Settings& s) {
  std::error_code ec;
  constexpr const char* kFolder = "/mnt/models";
  auto out = s;
  if (s.model_uris.empty() && s.model_names.size() == 1 && std::filesystem::is_directory(kFolder, ec))
    out.model_uris.emplace_back(kFolder);
  return out;
}

// MLServer's settings.json at the top of its repository says what no flag and no variable does.
Result<Settings> with_server_settings(Settings s) {
  if (s.model_repository.empty()) return s;
  auto path = s.model_repository + "/settings.json";
  std::ifstream in(path);
  if (!in) return s;
  std::string text(64 * 1024, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  auto doc = json::parse(text);
  if (!doc || !doc->is_object()) return fail(Code::invalid_argument, fmt::format("{} is no JSON object", path));
  auto port = [&](const char* key, int& out, bool unset) -> Result<> {
    const auto* v = json::find(*doc, key);
    if (v == nullptr || !unset) return {};
    if (!v->is_int64() || v->get_int64() < 1 || v->get_int64() > 65535)
      return fail(Code::invalid_argument, fmt::format("{}: {} is no port", path, key));
    out = static_cast<int>(v->get_int64());
    return {};
  };
  MR_CHECK(port("http_port", s.port, s.port == 0));
  MR_CHECK(port("grpc_port", s.grpc_port, s.grpc_port < 0));
  MR_CHECK(port("metrics_port", s.metrics_port, s.metrics_port == 0));
  if (const auto* v = json::find(*doc, "load_models_at_startup"); v != nullptr && v->is_bool())
    s.lazy = s.lazy || !v->get_bool();
  return s;
}

struct Tls {
  std::shared_ptr<const http::TlsContext> rest, grpc;  // null: in cleartext
};

Result<std::string> pem_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text(1U << 20, '\0');
  if (in) in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.empty()) return fail(Code::invalid_argument, fmt::format("{} cannot be read, or is empty", path));
  return text;
}

Result<Tls> tls_of(const Settings& s) {
  Tls out;
  if (s.tls_cert.empty()) return out;
  http::TlsOptions o;
  MR_TRY(o.certificate_pem, pem_file(s.tls_cert));
  MR_TRY(o.key_pem, pem_file(s.tls_key));
  auto made = [&](const char* protocol) -> Result<std::shared_ptr<const http::TlsContext>> {
    o.protocol = protocol;
    auto context = http::TlsContext::make(o);
    if (!context)
      return fail(Code::invalid_argument,
                  fmt::format("--tls-cert {} and --tls-key {}: {}", s.tls_cert, s.tls_key, context.error().message));
    return std::shared_ptr<const http::TlsContext>(std::move(*context));
  };
  MR_TRY(out.rest, made("http/1.1"));
  MR_TRY(out.grpc, made("h2"));
  return out;
}

}  // namespace

int run_serve(const Settings& given) {
  auto settings = with_server_settings(given);
  if (!settings) return report(settings.error());
  const auto& s = *settings;
  auto tls = tls_of(s);
  if (!tls) return report(tls.error());
  auto specs = paired_models(with_default_folder(s));
  if (!specs) return report(specs.error());
  if (specs->empty() && s.model_repository.empty())
    return report(Error{
        Code::invalid_argument,
        "there is nothing to serve: give --model URI --name NAME, or --model-repository DIR (millrace serve --help)",
        {},
        {}});
  // A model that cannot be read is trouble at run time, not a wrong command line.
  auto unreadable = [](Error e) {
    e.code = Code::internal;
    return report(e);
  };
  std::vector<std::shared_ptr<serving::CachedModel>> places;  // until the end
  std::shared_ptr<serving::ModelCache> cache;
  auto load = load_options(s);
  if (!load) return report(load.error());
  auto own = repository_options(s);
  if (!own) return report(own.error());
  // Before the models: readings that still go on when it all ends tell the loops of it.
  Listeners listeners(s, s.loops != 0 ? s.loops : std::thread::hardware_concurrency());
  serving::Repository repository(std::move(*load), *own);
  for (const auto& m : *specs) {
    auto place = fetch_cached_model(s, m.uri, cache);
    if (!place) return unreadable(place.error());
    places.push_back(*place);
    serving::ModelSource source{m.name, "", (*place)->path()};
    if (const char* i = std::getenv("MLSERVER_MODEL_IMPLEMENTATION")) source.settings.implementation = i;
    if (auto r = repository.add(std::move(source)); !r) return unreadable(r.error());
  }
  if (!s.model_repository.empty())
    if (auto r = repository.add_tree(s.model_repository); !r) return unreadable(r.error());
  if (s.workers > 1) log::info("one process uses all cores", {{"workers_asked_for", s.workers}});
  http::Router routes;
  serving::add_server_routes(routes, repository);
  const int port = s.port != 0 ? s.port : 8080 + s.port_offset;
  auto log = request_log(s, port);
  if (!log) return report(log.error());
  auto handler = serving::make_handler(std::move(routes));
  if (s.batcher.enable)
    handler = serving::with_batcher(std::move(handler), repository,
                                    {.max_batch = static_cast<std::size_t>(s.batcher.max_size),
                                     .max_latency_ms = s.batcher.max_latency_ms,
                                     .timeout_ms = s.request_timeout_s * 1000L});
  if (*log) handler = serving::with_request_log(std::move(handler), *log);
  if (auto r = listeners.add(
          "inference", s.listen, port, std::move(handler),
          fmt::format("V2 inference of {} model{}", repository.size(), repository.size() == 1 ? "" : "s"), tls->rest);
      !r)
    return report(r.error());
  if (s.metrics_port > 0 && s.metrics_port != s.port)
    if (auto r = listeners.add("metrics", s.listen, s.metrics_port, serving::make_handler({}), "/metrics"); !r)
      return report(r.error());
  auto grpc_port = s.grpc_port >= 0 ? s.grpc_port : 8081 + s.port_offset;
  auto message = node::parse_quantity(s.grpc_max_message);
  if (message < 1 || message > 4e9)
    return report(Error{Code::invalid_argument,
                        fmt::format("--grpc-max-message {}: write a size, like 64Mi", s.grpc_max_message),
                        {},
                        {}});
  auto grpc = serving::make_grpc_server(listeners.loops(), repository, s.listen, static_cast<std::uint16_t>(grpc_port),
                                        static_cast<std::size_t>(message), tls->grpc);
  if (grpc_port > 0) {
    if (grpc_port > 65535)
      return report(Error{Code::invalid_argument, fmt::format("gRPC port {} is out of range", grpc_port), {}, {}});
    auto r = grpc->start();
    // Who did not ask for the port does not miss it: two servers on one machine need only --port each.
    if (!r && s.grpc_port > 0) return report(r.error());
    if (r)
      listeners.also("grpc", fmt::format("{}:{}", s.listen, grpc->port()),
                     tls->grpc ? "V2 inference over gRPC under TLS" : "V2 inference over gRPC (cleartext HTTP/2)",
                     [&grpc](int grace_s) { grpc->stop(grace_s); });
    else
      log::warn("no gRPC: give a free port with --grpc-port", {{"reason", r.error().message}});
  }
  listeners.run();
  if (*log) (*log)->stop(2);
  listeners.loops().stop();
  return 0;
}

}  // namespace mr::cli
