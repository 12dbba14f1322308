// What the command line, the environment and the configuration file say, checked. Plain values.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"

namespace mr::cli {

enum class Command : std::uint8_t {
  none,
  up,
  tracking,
  serve,
  version,
  doctor,
  completion,
  kubeconfig,
  exec,
  client,
  pipelines,
  model,
  containers_guard,
  onnx_worker
};

// What `millrace get|describe|apply|delete|logs|port-forward` are told.
struct ClientSettings {
  std::string verb;               // the command's name
  std::vector<std::string> args;  // KIND NAME…, POD, ports
  std::string kubeconfig;
  bool data_given = false;  // --data goes before KUBECONFIG, its default does not
  std::string ns;
  std::string selector, field_selector;
  bool all_namespaces = false;
  std::vector<std::string> files;
  // get
  std::string output;
  bool watch = false, no_headers = false, show_labels = false;
  // apply
  std::string dry_run;
  bool force_conflicts = false;
  // delete
  bool all = false, wait = true, ignore_not_found = false;
  int grace_period = -1, timeout_s = 0;
  // logs
  std::string container, since;
  bool follow = false, previous = false, timestamps = false, all_containers = false, prefix = false;
  std::int64_t tail = -2;  // -2: not given, -1: all
  // port-forward
  std::string address = "localhost";
};

// What `millrace run|pipeline|lineage` are told.
struct PipelineSettings {
  std::string verb;               // the command's name
  std::vector<std::string> args;  // a package; an action and what it is about; a URI
  std::string server;             // empty: found by the rest
  bool data_given = false, offset_given = false;
  std::string ns, output;
  // run
  std::vector<std::string> parameters;  // NAME=VALUE
  std::string parameters_file, name, experiment;
  bool watch = false, no_cache = false;
  std::string follow, terminate;  // ids of runs
};

// How models are computed, and what their Python workers may.
struct EngineSettings {
  std::string engine = "auto", check = "auto";
  bool allow_network = false;
  std::string memory = "0";  // a quantity
  std::string onnxruntime;   // the library, or a folder that has it
  int start_timeout_s = 120, timeout_s = 60, replicas = 1, batch = 64, queue = 1000;
};

// Where the requests of `millrace serve` are logged to, in the words of KServe's agent.
struct RequestLogSettings {
  std::string url, mode = "all", source, service, ns, endpoint, component = "predictor";
  std::string metadata_headers, metadata_annotations, ca_file;
  bool insecure = false;
};

// What `millrace onnx-worker` is told by the program that starts it.
struct OnnxWorkerSettings {
  int fd = -1;
  std::string library, model;
  std::int64_t memory = 0;
  int threads = 1, parallel = 1, optimization = 99;
  bool concurrent = false;
};

// How V1 predictions are joined, in the words of KServe's agent.
struct BatcherSettings {
  bool enable = false;
  int max_size = 32, max_latency_ms = 5000;
};

// What `millrace model` is told.
struct ModelSettings {
  std::string action, uri, input;
  bool json = false;
};

struct ModelSpec {
  std::string uri;
  std::string name;
};

struct Settings {
  Command command = Command::none;
  // common
  std::string config;
  std::string data;  // default ~/.millrace
  int port_offset = 0;
  std::string listen = "127.0.0.1";
  std::string log_level = "info";
  std::string log_format = "text";
  std::string log_file;
  bool access_log = false;
  unsigned loops = 0;  // 0: one a core
  int grace_s = 20;
  // S3
  std::string access_key = "minio";
  std::string secret_key = "minio123";
  bool keys_given = false;
  // tracking, with the names of `mlflow server`
  std::string backend_store_uri;
  std::string default_artifact_root;
  std::string artifacts_destination;
  bool serve_artifacts = true;
  std::string host = "127.0.0.1";
  int port = 0;  // 0: the command's default
  std::string static_prefix;
  std::string mlflow_ui;
  std::vector<std::string> allowed_hosts;
  // serving
  std::vector<std::string> model_uris;
  std::vector<std::string> model_names;
  std::string model_repository;
  int grpc_port = -1;    // -1: the default; 0: none
  int metrics_port = 0;  // 0: on the port of the answers alone
  std::string grpc_max_message = "256Mi";
  std::string tls_cert, tls_key;  // files of PEM; both or none
  bool lazy = false;
  std::string model_memory = "0";    // a quantity
  std::string model_cache = "20Gi";  // likewise
  std::string model_cache_dir;
  int max_concurrency = 0, max_queue = 100, request_timeout_s = 60;
  int workers = 0;  // of KServe's and MLServer's processes: there is one here
  std::string tracking_uri;
  std::string s3_endpoint;
  // up
  bool mysql = false;
  std::vector<std::string> images;  // NAME=RUNTIME
  std::string container_engine = "auto";
  int warm_interpreters = 4;
  int scale_window_s = 60, scale_grace_s = 30;
  bool pipeline_cache = true;
  int pipeline_cache_days = 0, pipeline_pods = 16;
  std::string cron_timezone = "UTC";
  std::vector<std::string> pipeline_cache_ignore;
  int pipeline_cache_entries = 100'000, pipeline_start_limit = 600;
  std::string pipeline_step_disk = "64Gi", min_free_disk = "512Mi";
  bool pipeline_private_urls = false;
  // containers-guard
  std::string guard_engine, guard_label, guard_prefix;
  // exec
  std::vector<std::string> exec_command;
  // completion
  std::string shell;
  ClientSettings client;
  PipelineSettings pipelines;
  OnnxWorkerSettings onnx;
  EngineSettings engine;
  RequestLogSettings request_log;
  BatcherSettings batcher;
  ModelSettings model;
};

// Parses; on --help or an error prints and returns the process's exit code in `exit_code`.
// Precedence: flag, then environment MILLRACE_*, then the file of --config.
bool parse(int argc, char** argv, Settings& out, int& exit_code);

}  // namespace mr::cli
