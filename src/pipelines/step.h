// One attempt of a container step: its folder on this machine, its Pod, and what it leaves behind. The folder holds
//   kfp/          mounted at /tmp/kfp: output parameter files, the module and arguments of lightweight components
//   roots/s3 …    mounted read-only at /s3, /minio, /gcs, /oci: the input artifacts, as links
//   out/          mounted at the local path of the task's root URI: output artifacts, output_metadata.json
// Used on the runner's loop.
#pragma once
#include <string>
#include <vector>

#include "kube/object.h"
#include "pipelines/artifact_files.h"
#include "pipelines/engine.h"

namespace mr::pipelines {

struct StepOptions {
  std::string folder;  // of this attempt
  std::string pod_name;
  std::string root_uri;  // of the run: "s3://mlpipeline/v2/artifacts/NAME/RUN"
  std::string service_account;
  std::vector<std::pair<std::string, std::string>> env;  // that every step gets
  std::string workspace_folder;                          // empty: the pipeline has none
  std::string resource_ttl;                              // of the run's pods, as the runner reads it; empty: none
  std::string disk_limit;                                // a quantity; empty: none
};

class Step {
 public:
  // Finds the outputs' places and fills the placeholders. `scope` resolves values of the platform's settings in the
  // task's scope. Errors: invalid_argument, with the placeholder or setting that has no value.
  using Scope = std::function<Result<std::optional<Value>>(const Value& input_parameter_spec)>;
  static Result<Step> make(const RunFacts& run, const NodeView& node, StepOptions options, const Scope& scope);
  // Makes the folder and links the inputs into it.
  task::Task<Result<void>> prepare(ArtifactFiles& files);
  [[nodiscard]] const kube::Object& pod() const { return pod_; }
  // After the end: output parameters and artifacts, the files of artifacts kept. `ok`: the step succeeded; otherwise
  // what is missing is no error. Errors: an output parameter that was not written or does not fit its type.
  struct Outputs {
    Object parameters;
    std::map<std::string, std::vector<Artifact>> artifacts;
  };
  task::Task<Result<Outputs>> collect(ArtifactFiles& files, bool ok) const;

 private:
  Result<void> make_pod(const RunFacts& run, const Scope& scope);
  [[nodiscard]] std::string output_file(const std::string& parameter) const;
  NodeView node_;
  StepOptions options_;
  std::string task_root_;  // URI, without the outputs' names
  Object executor_input_;
  std::map<std::string, std::vector<Artifact>> outputs_;
  std::vector<std::string> argv_;      // command and args, placeholders filled
  std::string source_, requirements_;  // of a lightweight component
  bool lightweight_ = false;
  kube::Object pod_;
};

// The settings of the platform document in the pod: secrets, config maps, volumes, metadata, selectors and so on.
Result<void> apply_kubernetes(const Object& config, const Step::Scope& scope, kube::Object& pod);

// What the component's TASK_CONFIG input gets, and what is left for its own pod: `kubernetes` of the platform's
// settings, and whether its resources and environment are its own too.
struct TaskConfig {
  Object value, kubernetes;
  bool resources = true, env = true;
};
Result<TaskConfig> task_config(const Component& c, const Object& resources, const Array& env, const Step::Scope& scope);

}  // namespace mr::pipelines
