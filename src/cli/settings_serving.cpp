#include "cli/settings_serving.h"

#include <CLI/CLI.hpp>

#include "cli/settings.h"
#include "core/read_file.h"
#include "log/log.h"
#include "node/env.h"
#include "serving/model_cache.h"
#include "serving/onnx/locate.h"
#include "serving/python/host.h"
#include "serving/repository.h"
#include "serving/request_log.h"

namespace mr::cli {

void add_engine_options(CLI::App* c, Settings& s) {
  auto& e = s.engine;
  c->add_option("--engine", e.engine,
                "What computes a model: native reads it as data, python runs its own library in a sandboxed worker; "
                "auto takes a worker for what no native engine knows")
      ->check(CLI::IsMember({"auto", "native", "python"}))
      ->capture_default_str();
  c->add_option("--check", e.check,
                "Before a model answers: auto computes its logged input example, and compares with a stored output, or "
                "with its own library where an environment is there; strict refuses models that cannot be checked")
      ->check(CLI::IsMember({"auto", "off", "strict"}))
      ->capture_default_str();
  c->add_option("--onnxruntime", e.onnxruntime,
                "ONNX Runtime's library, or a folder that has it; otherwise the machine's is taken, or the one that a "
                "model's own requirements bring")
      ->type_name("PATH");
  c->add_flag("--allow-network", e.allow_network, "Python workers may use the network");
  c->add_option("--worker-memory", e.memory, "How much memory a Python worker may use: 512Mi, 4Gi; 0: no limit")
      ->type_name("SIZE")
      ->capture_default_str();
  c->add_option("--worker-start-timeout", e.start_timeout_s,
                "Seconds in which a Python worker must have loaded its model, once its environment is there")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str();
  c->add_option("--worker-timeout", e.timeout_s, "Seconds in which a Python worker must have answered a request")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str();
  c->add_option("--worker-replicas", e.replicas, "Python workers of each model")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  c->add_option("--worker-batch", e.batch,
                "How many rows of waiting requests a Python worker is given at once; 1: each request alone")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  c->add_option("--worker-queue", e.queue, "How many requests may wait for a model's workers; further ones get 429")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
}

void add_repository_options(CLI::App* c, Settings& s) {
  c->add_flag("--lazy", s.lazy, "Read a model of --model-repository when it is first asked for, not at the start");
  c->add_option(
       "--model-memory", s.model_memory,
       "What loaded models may take: 512Mi, 8Gi; the one not used for longest gives way and is read again when "
       "it is asked for. 0: no limit")
      ->type_name("SIZE")
      ->capture_default_str();
  c->add_option("--model-cache", s.model_cache,
                "How much fetched models may take on disk; the one used least recently goes. 0: none is kept")
      ->type_name("SIZE")
      ->capture_default_str();
  c->add_option("--model-cache-dir", s.model_cache_dir,
                "Where fetched models are kept; programs on one machine may share it (default: model-cache in --data)")
      ->type_name("DIR");
  c->add_option("--max-concurrency", s.max_concurrency, "Requests that a model computes at once; 0: any number")
      ->check(CLI::Range(0, 100'000))
      ->capture_default_str();
  c->add_option("--max-queue", s.max_queue, "Requests that may wait for that; further ones get 429 with Retry-After")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  c->add_option("--request-timeout", s.request_timeout_s, "Seconds that a request may wait for its model: 504 beyond")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str();
}

Result<std::shared_ptr<serving::ModelCache>> model_cache(const Settings& s) {
  auto size = node::parse_quantity(s.model_cache);
  if (size < 0 || size > 1e15)
    return fail(Code::invalid_argument,
                fmt::format("--model-cache {}: write a size, like 512Mi or 20Gi", s.model_cache));
  return serving::ModelCache::open(s.model_cache_dir.empty() ? s.data + "/model-cache" : s.model_cache_dir,
                                   static_cast<std::uint64_t>(size));
}

Result<serving::RepositoryOptions> repository_options(const Settings& s) {
  serving::RepositoryOptions out;
  out.lazy = s.lazy;
  auto memory = node::parse_quantity(s.model_memory);
  if (memory < 0 || memory > 1e15)
    return fail(Code::invalid_argument,
                fmt::format("--model-memory {}: write a size, like 512Mi or 8Gi", s.model_memory));
  out.memory = static_cast<std::uint64_t>(memory);
  out.limits.concurrency = static_cast<std::size_t>(s.max_concurrency);
  out.limits.queue = static_cast<std::size_t>(s.max_queue);
  out.limits.timeout_ms = s.request_timeout_s * 1000L;
  return out;
}

void add_request_log_options(CLI::App* c, Settings& s) {
  auto& l = s.request_log;
  c->add_option("--log-url", l.url, "Send each request and answer as a CloudEvent to this URL, as KServe's logger does")
      ->type_name("URL");
  c->add_option("--log-mode", l.mode, "What is sent: request, response or all")
      ->check(CLI::IsMember({"all", "request", "response"}))
      ->capture_default_str();
  c->add_option("--source-uri", l.source, "The events' source (default: http://localhost:PORT/)")->type_name("URI");
  c->add_option("--inference-service", l.service, "Attribute inferenceservicename of the events")->type_name("NAME");
  c->add_option("--namespace", l.ns, "Attribute namespace of the events")->type_name("NAME");
  c->add_option("--component", l.component, "Attribute component of the events")
      ->type_name("NAME")
      ->capture_default_str();
  c->add_option("--endpoint", l.endpoint, "Attribute endpoint of the events: default or canary")->type_name("NAME");
  c->add_option("--metadata-headers", l.metadata_headers,
                "Request headers that go into the events' attribute metadata, separated by commas")
      ->type_name("NAMES");
  c->add_option("--metadata-annotations", l.metadata_annotations,
                "Pairs for the events' attribute annotations: NAME=VALUE, separated by commas")
      ->type_name("PAIRS");
  c->add_option("--logger-ca-cert-file", l.ca_file, "Whom to believe under https (default: the system's authorities)")
      ->type_name("FILE");
  c->add_flag("--logger-tls-skip-verify", l.insecure, "Believe any certificate of the URL's server");
}

void add_batcher_options(CLI::App* c, Settings& s) {
  auto& b = s.batcher;
  c->add_flag(
      "--enable-batcher", b.enable,
      "Compute the rows of V1 predictions that come while others are computed as one batch, as KServe's batcher "
      "does; who comes alone does not wait");
  c->add_option("--max-batchsize", b.max_size, "Rows of a batch")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  c->add_option("--max-latency", b.max_latency_ms, "Milliseconds that a request may wait for its batch")
      ->check(CLI::Range(1, 3'600'000))
      ->capture_default_str();
}

Result<std::shared_ptr<serving::RequestLog>> request_log(const Settings& s, int port) {
  const auto& l = s.request_log;
  if (l.url.empty()) return nullptr;
  serving::RequestLogOptions o;
  o.url = l.url;
  MR_TRY(o.mode, serving::parse_log_mode(l.mode));
  o.source = l.source.empty() ? fmt::format("http://localhost:{}/", port) : l.source;
  o.service = l.service;
  o.ns = l.ns;
  o.component = l.component;
  o.endpoint = l.endpoint;
  o.metadata_headers = serving::parse_names(l.metadata_headers);
  MR_TRY(o.annotations, serving::parse_annotations(l.metadata_annotations));
  if (!l.ca_file.empty()) {
    MR_TRY(o.tls.ca_pem, read_whole(l.ca_file, 1U << 20));
  }
  o.tls.insecure = l.insecure;
  o.say = [](std::string_view text) { log::warn("request log", {{"trouble", text}}); };
  return serving::RequestLog::make(std::move(o));
}

void add_model_command(CLI::App& app, Settings& s) {
  auto& m = s.model;
  auto* c = app.add_subcommand(
      "model", "Look at a model before it is served: explain says which engine takes it, predict computes a file");
  c->add_option("ACTION", m.action, "explain or predict")
      ->type_name("")
      ->required()
      ->check(CLI::IsMember({"explain", "predict"}));
  c->add_option("URI", m.uri, "A folder, models:/NAME/VERSION, models:/NAME@ALIAS, runs:/ID/PATH or s3://BUCKET/KEY")
      ->type_name("")
      ->required();
  c->add_flag("--json", m.json, "For programs");
  c->add_option("-i,--input", m.input,
                "For predict: a .json file in a form of MLflow's scoring protocol, or a .csv file with a header; - is "
                "JSON from standard input")
      ->type_name("FILE");
  c->add_option("--data", s.data, "Folder where Python environments are kept")->type_name("DIR");
  c->add_option("--tracking-uri", s.tracking_uri,
                "Tracking server that resolves models:/ and runs:/ (default: MLFLOW_TRACKING_URI, else "
                "http://127.0.0.1:5000)")
      ->type_name("URL");
  c->add_option("--s3-endpoint", s.s3_endpoint, "S3 endpoint of s3:// models")->type_name("URL");
  c->add_option("--access-key", s.access_key, "S3 access key");
  c->add_option("--secret-key", s.secret_key, "S3 secret key (better: MILLRACE_SECRET_KEY)");
  c->add_option("--log-level", s.log_level, "debug, info, warn or error")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}));
  add_engine_options(c, s);
  c->footer(
      "Examples:\n  millrace model explain ./model\n  millrace model explain models:/churn@champion --json\n"
      "  millrace model predict ./model --input rows.csv");
}

CLI::App* add_onnx_worker_command(CLI::App& app, Settings& s) {
  auto& o = s.onnx;
  auto* c = app.add_subcommand("onnx-worker", "Compute one ONNX model for the program that starts this")->group("");
  c->add_option("--fd", o.fd)->required();
  c->add_option("--library", o.library)->required();
  c->add_option("--model", o.model)->required();
  c->add_option("--memory", o.memory);
  c->add_option("--threads", o.threads);
  c->add_option("--parallel", o.parallel);
  c->add_option("--optimization", o.optimization);
  c->add_flag("--concurrent", o.concurrent);
  return c;
}

Result<serving::LoadOptions> load_options(const Settings& s, bool workers) {
  const auto& e = s.engine;
  serving::LoadOptions out;
  out.engine = e.engine == "native"   ? serving::EngineChoice::native
               : e.engine == "python" ? serving::EngineChoice::python
                                      : serving::EngineChoice::automatic;
  out.check = e.check == "off"      ? serving::CheckMode::off
              : e.check == "strict" ? serving::CheckMode::strict
                                    : serving::CheckMode::automatic;
  auto memory = node::parse_quantity(e.memory);
  if (memory < 0 || memory > 1e15)
    return fail(Code::invalid_argument, fmt::format("--worker-memory {}: write a size, like 512Mi or 4Gi", e.memory));
  out.log = [](std::string_view line) { log::info("model", {{"said", line}}); };
  if (!workers) return out;
  serving::python::HostOptions host;
  host.data = s.data;
  host.worker.allow_network = e.allow_network;
  host.worker.memory = static_cast<std::int64_t>(memory);
  host.worker.start_timeout_ms = e.start_timeout_s * 1000L;
  host.worker.request_timeout_ms = e.timeout_s * 1000L;
  host.worker.replicas = e.replicas;
  host.worker.batch_rows = static_cast<std::size_t>(e.batch);
  host.worker.queue = static_cast<std::size_t>(e.queue);
  if (!e.onnxruntime.empty()) {
    auto library = serving::onnx::library_at(e.onnxruntime);
    if (!library) return fail(Code::invalid_argument, fmt::format("--onnxruntime {}", library.error().message));
    host.onnxruntime = std::move(*library);
  }
  auto made = serving::python::make_workers(std::move(host));
  out.python = std::move(made.python);
  out.onnx = std::move(made.onnx);
  return out;
}

}  // namespace mr::cli
