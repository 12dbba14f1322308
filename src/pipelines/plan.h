// The plan of a pipeline: what PipelineSpec and PlatformSpec say, checked and linked, so that the engine never looks at
// JSON again. Immutable after compile(): thread safe, shared by the runs of one spec.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pipelines/cel.h"
#include "pipelines/types.h"
#include "pipelines/value.h"

namespace mr::pipelines {

struct InputParameter {
  ParameterType type = ParameterType::string;
  std::optional<Value> fallback;  // defaultValue
  bool optional = false;
  std::vector<Value> literals;  // allowed values; empty: any
};
struct InputArtifact {
  ArtifactType type;
  bool list = false, optional = false;
};
struct OutputArtifact {
  ArtifactType type;
  Object metadata;
  bool list = false;
};

// Where an input of a task comes from. Exactly one kind.
struct Source {
  enum class Kind : std::uint8_t { constant, scope_input, task_output, final_status } kind = Kind::constant;
  Value constant;
  std::string input;     // scope_input: the enclosing DAG's input
  std::size_t task = 0;  // task_output, final_status: index in the same DAG
  std::string output;    // task_output: its output
  std::optional<Expression> selector;
};
// Where an output of a DAG comes from: one of its tasks' outputs, or the one of several that ran (OneOf).
struct OutputSource {
  struct From {
    std::size_t task = 0;
    std::string output;
  };
  std::vector<From> from;
  bool one_of = false;
};

struct RetryPolicy {
  int max_retries = 0;
  double backoff_s = 0, factor = 2, max_backoff_s = 3600;
};
struct Iterator {
  bool over_artifacts = false;
  std::string items_input;  // empty: raw
  std::optional<Array> raw;
  std::string item_input;  // the name under which an item reaches the iteration
  int parallelism = 0;     // 0: no limit
};

struct Task {
  std::string key, display_name;
  std::size_t component = 0;  // index into Plan::components
  std::map<std::string, Source> parameters, artifacts;
  std::vector<std::size_t> upstream;    // indices of tasks that must be over first
  std::vector<std::size_t> downstream;  // the inverse
  bool run_always = false;              // ALL_UPSTREAM_TASKS_COMPLETED
  std::optional<Expression> condition;
  std::optional<Iterator> iterator;
  std::optional<RetryPolicy> retry;
  bool cache = false;
  std::string cache_key;
};

struct EnvVar {
  std::string name, value;
};
struct ContainerSpec {
  std::string image;
  std::vector<std::string> command, args;
  std::vector<EnvVar> env;
  // Texts, perhaps placeholders: quantities as Kubernetes writes them. Empty: none.
  std::string cpu_limit, cpu_request, memory_limit, memory_request, accelerator_type, accelerator_count;
};
struct ImporterSpec {
  std::string uri;        // constant, or
  std::string uri_input;  // the name of an input
  ArtifactType type;
  Object metadata;  // may hold placeholders
  bool reimport = false, to_workspace = false;
};

enum class ComponentKind : std::uint8_t { dag, container, importer };
struct Component {
  std::string name;  // "comp-train"
  ComponentKind kind = ComponentKind::container;
  std::map<std::string, InputParameter> input_parameters;
  std::map<std::string, InputArtifact> input_artifacts;
  std::map<std::string, ParameterType> output_parameters;
  std::map<std::string, OutputArtifact> output_artifacts;
  // dag
  std::vector<Task> tasks;         // as the spec orders them
  std::vector<std::size_t> order;  // topological
  std::map<std::string, OutputSource> dag_parameters, dag_artifacts;
  // container, importer
  std::string executor;  // its label
  ContainerSpec container;
  ImporterSpec importer;
  Object kubernetes;  // KubernetesExecutorConfig of the PlatformSpec, checked for unknown fields; empty: none
  Array task_config_passthroughs;
};

struct Plan {
  std::string name, display_name, description, default_root, schema_version, sdk_version;
  std::vector<Component> components;
  std::size_t root = 0;
  Object pipeline_config;  // platforms.kubernetes.pipelineConfig: resourceTtl…, activeDeadlineSeconds, workspace
  [[nodiscard]] const Component& root_component() const { return components[root]; }
};

// Splits what a client sends as `pipeline_spec` (the spec itself, or {"pipeline_spec", "platform_spec"}) and compiles
// it. Bounds: 10,000 tasks in all components, 64 levels of nesting. Errors: invalid_argument, naming component, task
// and field: unknown fields, components that are not there, cycles, inputs without a source, types that cannot fit,
// placeholders that nobody fills, resolvers and custom jobs.
Result<std::shared_ptr<const Plan>> compile(const Value& spec);
// All that compile() would refuse, in the order of the spec; empty: it compiles.
std::vector<Error> compile_errors(const Value& spec);

// A package as a client uploads it: YAML or JSON text, one or two documents -> the form that the API keeps.
// Errors: invalid_argument with line and column.
Result<Value> parse_package(std::string_view text);

// Checks the values that a run gives against the root's inputs and adds nothing. Errors: a name that is not defined,
// one that is required and missing, a wrong type, a value outside the literals.
Result<void> check_parameters(const Plan& plan, const Object& parameters);

}  // namespace mr::pipelines
