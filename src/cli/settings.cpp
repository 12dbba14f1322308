#include "cli/settings.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <fstream>

#include "cli/settings_pipelines.h"
#include "cli/settings_serving.h"
#include "text/text.h"

namespace mr::cli {

namespace {

std::string default_data() {
  const char* home = std::getenv("HOME");
  return (home != nullptr && *home != 0 ? std::string(home) : std::string(".")) + "/.millrace";
}

void common(CLI::App* c, Settings& s) {
  c->add_option("--data", s.data, "Folder that holds everything the platform stores")->capture_default_str();
  c->add_option("--port-offset", s.port_offset,
                "Added to every default port, so that several platforms run side by side")
      ->check(CLI::Range(0, 50000))
      ->capture_default_str();
  c->add_option("--log-level", s.log_level, "debug, info, warn or error")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
  c->add_option("--log-format", s.log_format, "text for people, json for programs")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  c->add_option("--log-file", s.log_file, "Write the log here instead of standard error");
  c->add_flag("--access-log", s.access_log, "One log record for each request");
  c->add_option("--loops", s.loops, "Event loops; 0 is one for each core")
      ->check(CLI::Range(0, 256))
      ->capture_default_str();
  c->add_option("--grace", s.grace_s, "Seconds that requests under way get to finish at shutdown")
      ->check(CLI::Range(0, 600))
      ->capture_default_str();
  c->add_option("--config", s.config,
                "Read options from this file: lines of key = value, in [COMMAND] sections or for all commands; a flag "
                "or an environment variable wins")
      ->type_name("FILE");
}

void listen(CLI::App* c, Settings& s) {
  c->add_option("--listen", s.listen, "Address to listen on; loopback unless you say otherwise")->capture_default_str();
}

void s3_keys(CLI::App* c, Settings& s) {
  c->add_option("--access-key", s.access_key, "S3 access key")->capture_default_str();
  c->add_option("--secret-key", s.secret_key,
                "S3 secret key (better: MILLRACE_SECRET_KEY, which no process list shows)");
}

void models(CLI::App* c, Settings& s) {
  c->add_option("--model,--model_dir", s.model_uris,
                "A model to serve: models:/NAME/VERSION, models:/NAME@ALIAS, runs:/ID/PATH, s3://BUCKET/KEY, or a "
                "folder with an MLmodel file. May be repeated, each with its --name")
      ->type_name("URI");
  c->add_option("--name,--model_name", s.model_names, "The name that the model before it is served under")
      ->type_name("NAME");
  c->add_option("--model-repository", s.model_repository,
                "Serve every model of this folder: sub-folders with model-settings.json or MLmodel files")
      ->type_name("DIR");
}

void allowed_hosts(CLI::App* c, Settings& s) {
  c->add_option("--allowed-hosts", s.allowed_hosts,
                "Host names that the tracking server answers to besides this machine's and private addresses; * is any")
      ->delimiter(',')
      ->type_name("NAMES");
}

void ui(CLI::App* c, Settings& s) {
  c->add_option("--mlflow-ui", s.mlflow_ui,
                "Folder with MLflow's built web UI; found by itself when the mlflow package is installed")
      ->type_name("DIR");
}

// --- the commands that ask the Kubernetes API ---

void connection(CLI::App* c, Settings& s) {
  auto& k = s.client;
  c->add_option("-n,--namespace", k.ns, "Namespace to act in (default: the kubeconfig's)")->type_name("NAME");
  c->add_option("--kubeconfig", k.kubeconfig,
                "Kubeconfig to use (default: the one in --data if given, else KUBECONFIG, else the one in ~/.millrace)")
      ->type_name("FILE");
  c->add_option("--data", s.data, "Folder of the platform to speak to")->type_name("DIR");
}

void selector(CLI::App* c, ClientSettings& k) {
  c->add_option("-l,--selector", k.selector, "Only objects with these labels: app=web,tier!=test,env in (a,b)")
      ->type_name("LABELS");
}

void files(CLI::App* c, ClientSettings& k) {
  c->add_option("-f,--filename", k.files,
                "YAML or JSON file with one or more objects, a folder of such files, or - for standard input; may be "
                "repeated")
      ->type_name("FILE")
      ->allow_extra_args(false);
}

void client_commands(CLI::App& app, Settings& s) {
  auto& k = s.client;
  auto* get = app.add_subcommand("get", "Show objects of the Kubernetes API, as kubectl does");
  get->add_option("KIND", k.args, "KIND, KIND NAME…, KIND/NAME…, KIND,KIND or all")->type_name("");
  connection(get, s);
  get->add_flag("-A,--all-namespaces", k.all_namespaces, "Of every namespace");
  selector(get, k);
  get->add_option("--field-selector", k.field_selector, "Only objects with these fields: status.phase=Running");
  get->add_option("-o,--output", k.output, "wide, yaml, json or name")
      ->check(CLI::IsMember({"wide", "yaml", "json", "name"}));
  get->add_flag("-w,--watch", k.watch, "Go on showing what changes; Ctrl-C ends");
  get->add_flag("--no-headers", k.no_headers, "Without the line of column names");
  get->add_flag("--show-labels", k.show_labels, "With a column of labels");
  get->footer(
      "Examples:\n  millrace get all\n  millrace get pods -A -o wide\n  millrace get isvc bankchurn -o yaml\n"
      "  millrace get deploy,svc -l app=web\n  millrace get pods -w\n"
      "Kinds may be named as pods, pod, po or Pod; deployments.apps names the group as well.");

  auto* describe = app.add_subcommand("describe", "Show everything about objects, with the events that they had");
  describe->add_option("KIND", k.args, "KIND, KIND NAME… or KIND/NAME…")->type_name("");
  connection(describe, s);
  selector(describe, k);
  describe->footer(
      "Examples:\n  millrace describe pod web-0\n  millrace describe isvc/bankchurn\n"
      "  millrace describe pods -l app=web");

  auto* apply = app.add_subcommand("apply", "Create or change objects so that they are as files say");
  files(apply, k);
  connection(apply, s);
  apply->add_flag("--dry-run{server}", k.dry_run, "The server checks and answers, but keeps nothing")
      ->check(CLI::IsMember({"server", "none"}));
  apply->add_flag("--force-conflicts", k.force_conflicts, "Take fields over that another manager has set");
  apply->footer(
      "Examples:\n  millrace apply -f inferenceservice.yaml\n  millrace apply -f manifests/ -n kubeflow\n"
      "  millrace apply -f - < secret.yaml\n  millrace apply -f deployment.yaml --dry-run");

  auto* del = app.add_subcommand("delete", "Delete objects and wait until they are gone");
  del->add_option("KIND", k.args, "KIND NAME… or KIND/NAME…")->type_name("");
  files(del, k);
  connection(del, s);
  selector(del, k);
  del->add_flag("--all", k.all, "All objects of the kind in the namespace");
  del->add_flag("--wait,!--no-wait", k.wait, "Wait until they are gone (default: yes; --wait=false does not)");
  del->add_option("--timeout", k.timeout_s, "Seconds to wait for one object; 0: for ever")->check(CLI::Range(0, 86400));
  del->add_flag("--ignore-not-found", k.ignore_not_found, "An object that is not there is no error");
  del->add_option("--grace-period", k.grace_period, "Seconds that a pod gets to end (default: what it says itself)")
      ->check(CLI::Range(0, 86400));
  del->footer(
      "Examples:\n  millrace delete pod web-0\n  millrace delete -f inferenceservice.yaml\n"
      "  millrace delete pods -l app=web --wait=false");

  auto* logs = app.add_subcommand("logs", "Show what containers have printed");
  logs->add_option("POD", k.args, "POD, or KIND/NAME of what has pods: deploy/web, svc/web, isvc/bankchurn")
      ->type_name("");
  connection(logs, s);
  selector(logs, k);
  logs->add_flag("-f,--follow", k.follow, "Go on with what they print; Ctrl-C ends");
  logs->add_option("--tail", k.tail, "Only the last lines (default: all; 10 of each pod with -l)")
      ->check(CLI::Range(std::int64_t{-1}, std::int64_t{1} << 40));
  logs->add_option("-c,--container", k.container, "The container (default: the first)");
  logs->add_flag("--all-containers", k.all_containers, "Of every container");
  logs->add_flag("-p,--previous", k.previous, "Of the run before the last restart");
  logs->add_option("--since", k.since, "Only what is younger: 30s, 5m, 2h, 1h30m")->type_name("TIME");
  logs->add_flag("--timestamps", k.timestamps, "With the time of each line");
  logs->add_flag("--prefix", k.prefix, "With the pod and container before each line");
  logs->footer(
      "Examples:\n  millrace logs web-0\n  millrace logs deploy/web -f --tail 20\n"
      "  millrace logs isvc/bankchurn\n  millrace logs -l app=web --prefix --since 5m");

  auto* forward = app.add_subcommand("port-forward", "Make ports of a pod or Service reachable on this machine");
  forward->add_option("POD", k.args, "POD or KIND/NAME, then ports: REMOTE, LOCAL:REMOTE, or :REMOTE for a free one")
      ->type_name("");
  connection(forward, s);
  forward->add_option("--address", k.address, "Addresses to listen on, separated by commas")->capture_default_str();
  forward->footer(
      "Examples:\n  millrace port-forward svc/mysql 3307:3306 -n kubeflow\n"
      "  millrace port-forward deploy/web 8000\n  millrace port-forward web-0 :80\nCtrl-C ends it.");
}

struct ConfigLine {
  int number = 0;
  std::string key;
  std::string value;
};

// key = value lines; '#' starts a comment, [section] limits what follows to that command. Throws CLI::FileError.
std::vector<ConfigLine> read_config(const std::string& path, const std::string& command) {
  std::ifstream in(path);
  if (!in) throw CLI::FileError(fmt::format("--config {}: the file cannot be read", path));
  std::vector<ConfigLine> out;
  std::string line;
  bool ours = true;
  for (int n = 1; std::getline(in, line); ++n) {
    auto t = text::trim(line);
    if (t.empty() || t.front() == '#') continue;
    if (t.front() == '[' && t.back() == ']') {
      ours = t.substr(1, t.size() - 2) == command;
      continue;
    }
    auto eq = t.find('=');
    if (eq == std::string_view::npos)
      throw CLI::FileError(fmt::format("{}:{}: expected 'key = value', found '{}'", path, n, t.substr(0, 80)));
    auto value = text::trim(t.substr(eq + 1));
    if (value.size() >= 2 && (value.front() == '"' || value.front() == '\'') && value.back() == value.front())
      value = value.substr(1, value.size() - 2);
    if (ours) out.push_back({n, std::string(text::trim(t.substr(0, eq))), std::string(value)});
  }
  return out;
}

// MLServer's variable for an option of `serve`; its own come first.
const char* mlserver_variable(const std::string& option) {
  static const std::map<std::string, const char*> names{{"port", "MLSERVER_HTTP_PORT"},
                                                        {"grpc-port", "MLSERVER_GRPC_PORT"},
                                                        {"metrics-port", "MLSERVER_METRICS_PORT"},
                                                        {"listen", "MLSERVER_HOST"},
                                                        {"model", "MLSERVER_MODEL_URI"},
                                                        {"name", "MLSERVER_MODEL_NAME"},
                                                        {"workers", "MLSERVER_PARALLEL_WORKERS"},
                                                        {"grpc-max-message", "MLSERVER_GRPC_MAX_MESSAGE_LENGTH"},
                                                        {"model-repository", "MLSERVER_MODEL_REPOSITORY_ROOT"}};
  auto it = names.find(option);
  if (it != names.end()) return std::getenv(it->second);
  // What is not loaded at the start is loaded when it is asked for.
  if (option == "lazy")
    if (const char* at_start = std::getenv("MLSERVER_LOAD_MODELS_AT_STARTUP");
        at_start != nullptr && (text::iequals(at_start, "false") || std::string_view(at_start) == "0"))
      return "true";
  return nullptr;
}

// MILLRACE_PORT_OFFSET=3 stands for --port-offset=3, behind what the command line says. mlflow server's own names count
// for `tracking`.
std::vector<std::string> with_environment(int argc, char** argv, CLI::App& app) {
  std::vector<std::string> args(argv + 1, argv + argc);
  // As kubectl takes them: `millrace -n kubeflow get pods`.
  std::size_t lead = 0;
  while (lead < args.size()) {
    const auto& a = args[lead];
    auto among = [&](const char* flag) { return a == flag || a.starts_with(std::string(flag) + "="); };
    if (!among("-n") && !among("--namespace") && !among("--kubeconfig") && !among("--data")) break;
    lead += a.find('=') == std::string::npos ? 2 : 1;
  }
  if (lead > 0 && lead < args.size() && args[lead][0] != '-')
    std::rotate(args.begin(), args.begin() + static_cast<std::ptrdiff_t>(lead),
                args.begin() + static_cast<std::ptrdiff_t>(lead) + 1);
  CLI::App* sub = nullptr;
  std::size_t at = 0;
  for (; at < args.size() && sub == nullptr; ++at)
    for (auto* c : app.get_subcommands([](CLI::App*) { return true; }))
      if (c->get_name() == args[at]) sub = c;
  if (sub == nullptr) return args;
  std::vector<std::string> extra;
  auto given = [&](const std::string& flag) {
    for (const auto& a : args)
      if (a == flag || a.starts_with(flag + "=")) return true;
    return false;
  };
  for (auto* o : sub->get_options()) {
    if (o->get_lnames().empty()) continue;
    const auto& name = o->get_lnames()[0];
    if (name == "help" || name == "config") continue;
    const auto& names = o->get_lnames();
    if (std::any_of(names.begin(), names.end(), [&](const std::string& n) { return given("--" + n); })) continue;
    std::string env = "MILLRACE_" + text::upper(name);
    for (char& c : env)
      if (c == '-') c = '_';
    const char* v = std::getenv(env.c_str());
    if (v == nullptr && sub->get_name() == "tracking") {
      static const std::map<std::string, const char*> mlflow{{"backend-store-uri", "MLFLOW_BACKEND_STORE_URI"},
                                                             {"default-artifact-root", "MLFLOW_DEFAULT_ARTIFACT_ROOT"},
                                                             {"artifacts-destination", "MLFLOW_ARTIFACTS_DESTINATION"},
                                                             {"host", "MLFLOW_HOST"},
                                                             {"port", "MLFLOW_PORT"},
                                                             {"workers", "MLFLOW_WORKERS"},
                                                             {"static-prefix", "MLFLOW_STATIC_PREFIX"},
                                                             {"allowed-hosts", "MLFLOW_SERVER_ALLOWED_HOSTS"},
                                                             {"serve-artifacts", "MLFLOW_SERVE_ARTIFACTS"}};
      if (auto it = mlflow.find(name); it != mlflow.end()) v = std::getenv(it->second);
    }
    if (v == nullptr && sub->get_name() == "serve") v = mlserver_variable(name);
    if (v != nullptr && *v != 0) extra.push_back("--" + name + "=" + v);
  }
  std::string config;
  for (std::size_t i = 0; i < args.size(); ++i) {
    if (args[i] == "--config" && i + 1 < args.size()) config = args[i + 1];
    if (args[i].starts_with("--config=")) config = args[i].substr(9);
  }
  if (const char* v = std::getenv("MILLRACE_CONFIG"); config.empty() && v != nullptr) config = v;
  std::vector<std::string> from_file;
  // A command without --config takes what it knows from a file that the environment names, and passes over the rest.
  const bool asks_file = sub->get_option_no_throw("--config") != nullptr;
  if (!config.empty()) {
    for (const auto& line : read_config(config, sub->get_name())) {
      auto flag = "--" + line.key;
      bool known = false;
      for (auto* o : sub->get_options())
        for (const auto& n : o->get_lnames()) known = known || (n == line.key && n != "help" && n != "config");
      if (!known && !asks_file) continue;
      if (!known)
        throw CLI::FileError(fmt::format("{}:{}: '{}' is no option of millrace {}; see millrace {} --help", config,
                                         line.number, line.key, sub->get_name(), sub->get_name()));
      bool in_environment =
          std::any_of(extra.begin(), extra.end(), [&](const std::string& e) { return e.starts_with(flag + "="); });
      if (!given(flag) && !in_environment) from_file.push_back(flag + "=" + line.value);
    }
  }
  auto place = args.begin() + static_cast<std::ptrdiff_t>(at);
  place = args.insert(place, extra.begin(), extra.end());
  args.insert(place, from_file.begin(), from_file.end());
  return args;
}

}  // namespace

bool parse(int argc, char** argv, Settings& s, int& exit_code) {
  CLI::App app{
      "Millrace: experiment tracking, model registry, object store and model serving in one program.\n"
      "The real clients (mlflow, boto3, curl, KServe's) work against it unchanged."};
  app.name("millrace");
  app.require_subcommand(1);
  app.footer(
      "Start here:\n  millrace up                 everything, on this machine's loopback\n  export "
      "MLFLOW_TRACKING_URI=http://127.0.0.1:5000\n"
      "  millrace COMMAND --help     every command explains itself");
  app.set_version_flag("--version", std::string("millrace " MILLRACE_VERSION));
  s.data = default_data();

  auto* up = app.add_subcommand(
      "up", "Start the platform: tracking on 5000, S3 on 9000, gateway on 8080, Kubernetes API on 6443");
  common(up, s);
  listen(up, s);
  allowed_hosts(up, s);
  s3_keys(up, s);
  ui(up, s);
  models(up, s);
  up->add_option("--image", s.images,
                 "An image name and what runs it here: registry/team/trainer:7=python:3.11, NAME=host for this "
                 "machine's own programs, or NAME=container for the image itself. May be repeated")
      ->type_name("NAME=RUNTIME");
  up->add_option("--container-engine", s.container_engine,
                 "What runs images that no process of this machine stands for: podman or docker; auto takes the one "
                 "that is installed, podman before docker")
      ->check(CLI::IsMember({"auto", "podman", "docker", "none"}))
      ->capture_default_str();
  up->add_option("--pipeline-cache", s.pipeline_cache,
                 "Whether steps of pipelines may stand on the outputs of earlier ones with the same inputs")
      ->capture_default_str();
  up->add_option("--pipeline-cache-days", s.pipeline_cache_days, "How old such outputs may be; 0: of any age")
      ->check(CLI::Range(0, 36500))
      ->capture_default_str();
  up->add_option(
        "--warm-interpreters", s.warm_interpreters,
        "How many Python interpreters stand by for steps of pipelines, one for each namespace and environment of "
        "packages; 0 for none")
      ->check(CLI::Range(0, 64))
      ->capture_default_str();
  up->add_option(
        "--scale-window", s.scale_window_s,
        "Seconds over which requests to an InferenceService are averaged to find its number of pods; without any "
        "for so long, one with minReplicas 0 has none")
      ->check(CLI::Range(1, 3600))
      ->capture_default_str();
  up->add_option("--scale-to-zero-grace", s.scale_grace_s, "Further seconds that the last pod of such a service stays")
      ->check(CLI::Range(0, 86400))
      ->capture_default_str();
  up->add_option("--pipeline-pods", s.pipeline_pods, "How many steps of pipelines run at once; further ones wait")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  up->add_option("--pipeline-cache-ignore", s.pipeline_cache_ignore,
                 "An input of any step whose value does not matter to the cache: run_date. May be repeated")
      ->type_name("NAME")
      ->allow_extra_args(false);
  up->add_option("--pipeline-cache-entries", s.pipeline_cache_entries,
                 "How many results the cache of pipelines remembers; the oldest go first")
      ->check(CLI::Range(1, 100'000'000))
      ->capture_default_str();
  up->add_option("--pipeline-step-disk", s.pipeline_step_disk,
                 "How much of the disk a step of a pipeline may take: 500Mi, 64Gi; 0: as much as there is")
      ->type_name("SIZE")
      ->capture_default_str();
  up->add_option("--pipeline-start-limit", s.pipeline_start_limit,
                 "Seconds that a step waits for a Secret, ConfigMap or claim that is not there before it fails; 0: for "
                 "ever, as on a cluster")
      ->check(CLI::Range(0, 31'536'000))
      ->capture_default_str();
  up->add_flag("--pipeline-private-urls", s.pipeline_private_urls,
               "Pipelines may be fetched by URL from any address. Without it: from public ones, and from this machine "
               "and private networks while --listen is a loopback address");
  up->add_option("--min-free-disk", s.min_free_disk,
                 "While less than this is free on the data folder's disk, the pod that takes most of it is evicted; 0: "
                 "never")
      ->type_name("SIZE")
      ->capture_default_str();
  up->add_option("--cron-timezone", s.cron_timezone, "The zone of the cron texts of recurring runs: Europe/Berlin")
      ->capture_default_str();
  up->add_flag(
      "--mysql", s.mysql,
      "Also run a MariaDB server on 3306 (Debian package mariadb-server), published as Service mysql in namespace "
      "kubeflow");
  up->footer(
      "Examples:\n  millrace up\n  millrace up --port-offset 100 --data ./scratch\n  millrace up --model "
      "models:/bankchurn-model@champion --name bankchurn-model");

  add_engine_options(up, s);
  add_repository_options(up, s);

  auto* tracking =
      app.add_subcommand("tracking", "The MLflow tracking server alone; takes `mlflow server`'s own flags");
  common(tracking, s);
  ui(tracking, s);
  tracking
      ->add_option("--backend-store-uri", s.backend_store_uri,
                   "sqlite:///PATH of the database (default: millrace.db in --data)")
      ->type_name("URI");
  tracking
      ->add_option("--default-artifact-root", s.default_artifact_root,
                   "Where new experiments keep artifacts (default: mlflow-artifacts:/ when artifacts are served)")
      ->type_name("URI");
  tracking
      ->add_option("--artifacts-destination", s.artifacts_destination,
                   "Folder, file: or s3://BUCKET/PREFIX behind mlflow-artifacts:/ (default: ./mlartifacts); S3 is "
                   "reached as the clients do, by MLFLOW_S3_ENDPOINT_URL and AWS_ACCESS_KEY_ID")
      ->type_name("URI");
  tracking->add_flag("--serve-artifacts,!--no-serve-artifacts", s.serve_artifacts,
                     "Answer artifact requests through this server (default: yes)");
  tracking->set_help_flag("--help", "Print this help message and exit");  // -h is the host, as for mlflow server
  tracking->add_option("-h,--host", s.host, "Address to listen on")->capture_default_str();
  allowed_hosts(tracking, s);
  tracking->add_option("-p,--port", s.port, "Port to listen on (default: 5000)")->check(CLI::Range(1, 65535));
  tracking->add_option("--static-prefix", s.static_prefix, "A path before every route, like /mlflow");
  tracking->add_option("-w,--workers", s.loops, "Event loops (mlflow server's name for --loops)");
  tracking->footer(
      "Examples:\n  millrace tracking --backend-store-uri sqlite:///mlflow.db --artifacts-destination ./mlartifacts "
      "--port 5000");

  auto* serve = app.add_subcommand("serve", "Serve models alone: the V2 inference protocol on 8080");
  common(serve, s);
  listen(serve, s);
  models(serve, s);
  serve->add_option("DIR", s.model_repository, "The same as --model-repository")->type_name("");
  // Names with an underscore are those of KServe's servers.
  serve->add_option("--port,--http_port", s.port, "Port to listen on (default: 8080)")->check(CLI::Range(1, 65535));
  serve->add_option("--grpc-port,--grpc_port", s.grpc_port, "Port of the gRPC protocol (default: 8081); 0 is none")
      ->check(CLI::Range(0, 65535));
  serve->add_option("--grpc-max-message", s.grpc_max_message, "The largest message that a gRPC call may have")
      ->type_name("SIZE")
      ->capture_default_str();
  auto* cert = serve
                   ->add_option("--tls-cert", s.tls_cert,
                                "A certificate in PEM, then those between it and its authority: REST and gRPC are "
                                "answered under TLS")
                   ->type_name("FILE");
  auto* key = serve->add_option("--tls-key", s.tls_key, "Its key in PEM")->type_name("FILE");
  cert->needs(key);
  key->needs(cert);
  serve->add_option("--metrics-port", s.metrics_port, "A further port that answers /metrics (default: none)")
      ->check(CLI::Range(0, 65535));
  serve->add_option("--workers", s.workers, "Taken and passed over: one process uses all cores");
  add_repository_options(serve, s);
  serve
      ->add_option("--tracking-uri", s.tracking_uri,
                   "Tracking server that resolves models:/ and runs:/ (default: MLFLOW_TRACKING_URI, else "
                   "http://127.0.0.1:5000)")
      ->type_name("URL");
  serve
      ->add_option(
          "--s3-endpoint", s.s3_endpoint,
          "S3 endpoint of s3:// models (default: MLFLOW_S3_ENDPOINT_URL, AWS_ENDPOINT_URL, else http://127.0.0.1:9000)")
      ->type_name("URL");
  s3_keys(serve, s);
  add_engine_options(serve, s);
  add_request_log_options(serve, s);
  add_batcher_options(serve, s);
  serve->footer(
      "Examples:\n  millrace serve --model ./model --name churn\n  millrace serve --model models:/churn@champion "
      "--name churn --tracking-uri http://127.0.0.1:5000");

  client_commands(app, s);
  add_pipeline_commands(app, s);
  add_model_command(app, s);
  auto* kubeconfig = app.add_subcommand(
      "kubeconfig", "Print where the platform's kubeconfig lies: export KUBECONFIG=$(millrace kubeconfig)");
  kubeconfig->add_option("--data", s.data, "Folder of the platform")->capture_default_str();
  auto* exec = app.add_subcommand(
      "exec", "Run a command that sees the cluster's names: millrace exec -- curl http://mlflow.kubeflow:5000/health");
  exec->add_option("--data", s.data, "Folder of the platform")->capture_default_str();
  exec->add_option("command", s.exec_command, "The command and its arguments, behind --")->required();
  exec->prefix_command(false);
  auto* version = app.add_subcommand("version", "Print the version and what it was built with");
  auto* doctor = app.add_subcommand("doctor", "Check this machine and say what to do about each finding");
  common(doctor, s);
  doctor->add_option("--container-engine", s.container_engine, "The engine to look for")
      ->check(CLI::IsMember({"auto", "podman", "docker", "none"}))
      ->capture_default_str();
  // Not for users: `up` starts it beside itself once it runs containers.
  auto* guard = app.add_subcommand("containers-guard", "Remove a killed program's containers")->group("");
  guard->add_option("engine", s.guard_engine)->required();
  guard->add_option("label", s.guard_label)->required();
  guard->add_option("prefix", s.guard_prefix)->required();
  auto* onnx = add_onnx_worker_command(app, s);
  auto* completion = app.add_subcommand("completion", "Print a completion script: source <(millrace completion bash)");
  completion->add_option("shell", s.shell, "bash or zsh")->required()->check(CLI::IsMember({"bash", "zsh"}));

  for (auto* c : app.get_subcommands([](CLI::App*) { return true; }))
    for (auto* o : c->get_options())
      if (o->get_items_expected_max() <= 1 && !o->get_lnames().empty() && o->get_lnames()[0] != "help")
        o->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  auto known = [&](std::string_view name) {
    for (auto* c : app.get_subcommands([](CLI::App*) { return true; }))
      if (c->get_name() == name) return true;
    return false;
  };
  if (argc > 1 && argv[1][0] != '-' && !known(argv[1])) {
    fmt::print(
        stderr,
        "millrace: '{}' is no command; up, tracking, serve, run, pipeline, lineage, model, get, describe, apply, "
        "delete, logs, "
        "port-forward, kubeconfig, exec, version, doctor and completion are (millrace --help)\n",
        argv[1]);
    exit_code = 2;
    return false;
  }
  try {
    auto args = with_environment(argc, argv, app);
    std::reverse(args.begin(), args.end());
    app.parse(args);
  } catch (const CLI::ParseError& e) {
    int code = app.exit(e);
    exit_code = code == 0 ? 0 : 2;  // 2: the command line is wrong, as for most Unix tools
    return false;
  }
  s.command = up->parsed()           ? Command::up
              : tracking->parsed()   ? Command::tracking
              : serve->parsed()      ? Command::serve
              : version->parsed()    ? Command::version
              : doctor->parsed()     ? Command::doctor
              : kubeconfig->parsed() ? Command::kubeconfig
              : exec->parsed()       ? Command::exec
              : completion->parsed() ? Command::completion
              : guard->parsed()      ? Command::containers_guard
              : onnx->parsed()       ? Command::onnx_worker
                                     : Command::client;
  if (s.command == Command::client) {
    auto* c = app.get_subcommands()[0];
    if (c->get_name() == "model") {
      s.command = Command::model;
      return true;
    }
    s.client.verb = c->get_name();
    s.client.data_given = c->get_option("--data")->count() > 0;
    if (const auto& verb = c->get_name(); verb == "run" || verb == "pipeline" || verb == "lineage") {
      s.command = Command::pipelines;
      s.pipelines.verb = verb;
      s.pipelines.data_given = s.client.data_given;
      s.pipelines.offset_given = c->get_option("--port-offset")->count() > 0;
    }
  }
  s.keys_given = s.secret_key != "minio123";
  return true;
}

}  // namespace mr::cli
