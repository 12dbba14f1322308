// The rules of the pipelines API, between the routes and the store. Thread safe: calls come from any loop; runs are
// handed to the Runner, which lives on a loop of its own.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "http/router.h"
#include "pipelines/store.h"

namespace mr::pipelines {

// Who carries runs out. Implemented by the runner (runner.h); calls may come from any loop.
class Runs {
 public:
  virtual ~Runs() = default;
  virtual void start(const std::string& run_id) = 0;  // just created, or after a restart
  virtual task::Task<Result<>> terminate(std::string run_id) = 0;
  virtual task::Task<Result<>> retry(std::string run_id) = 0;  // failed_precondition unless FAILED or CANCELED
  // The nodes of a run, live or from its events.
  virtual task::Task<Result<std::vector<NodeView>>> nodes(std::string run_id) = 0;
  // One of them with its parameters, which nodes() leaves out. not_found: no such node, or nobody keeps them.
  virtual task::Task<Result<NodeView>> node(std::string run_id, std::string path);
  // The run was deleted: what of it lies elsewhere than in the store goes too (logs, folders, pods).
  virtual void forget(const std::string& run_id);
  // A step's log so far, of its last attempt; `follow`: until it ends. not_found: no such step, or no log any more.
  virtual task::Task<Result<http::Response>> log(std::string run_id, std::string node, bool follow) = 0;
};

struct ServiceOptions {
  std::string default_namespace = "kubeflow";
  std::string default_root = "s3://mlpipeline/v2/artifacts";
  std::function<std::int64_t()> now_ms;                                       // the clock
  std::function<task::Task<Result<std::string>>(std::string url)> fetch_url;  // pipeline packages by URL
  // Makes an artifact appear as a file at `path` (ArtifactFiles::fetch); empty: artifacts cannot be read through the
  // API.
  std::function<task::Task<Result<void>>(std::string uri, std::string path)> fetch_artifact;
  std::string scratch;  // a folder for such files, on the artifacts' file system
  // Why a recurring run's last try to make a run failed; may be empty.
  std::function<std::optional<Error>(const std::string& recurring_id)> recurring_error;
  std::function<void()> recurring_changed;  // a recurring run was made, enabled, disabled or deleted; may be empty
};

class Service {
 public:
  Service(Store& store, Runs& runs, ServiceOptions options);
  ~Service();
  // Adds /apis/v2beta1/… (and what current clients still call of v1beta1) to `router`.
  void add_routes(http::Router& router);

  // Checks the request, compiles the spec, keeps the run and starts it. Used by the API and by schedules.
  // `run`: name, experiment_id or ns, spec or pipeline/version ids, parameters, root, plugins_input. With
  // recurring_run_id and scheduled_ms the schedule moves on in the same commit, and a name that the schedule has used
  // gives the old run.
  task::Task<Result<Run>> submit(Run run);
  [[nodiscard]] Store& store() const;
  [[nodiscard]] const ServiceOptions& options() const;

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace mr::pipelines
