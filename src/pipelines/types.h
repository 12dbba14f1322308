// What the pipelines room speaks of: states, artifacts, records of the store. Plain values.
#pragma once
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace mr::pipelines {

using Value = boost::json::value;
using Object = boost::json::object;
using Array = boost::json::array;

// Of runs and tasks; the names on the wire are state_name(). `cached` tasks are SKIPPED on KFP's wire only in
// executions of its metadata store; tasks of a run say SUCCEEDED, and their detail says why.
enum class State : std::uint8_t { unspecified, pending, running, succeeded, skipped, failed, canceling, canceled };
std::string_view state_name(State s);  // "SUCCEEDED"; unspecified: "RUNTIME_STATE_UNSPECIFIED"
std::optional<State> parse_state(std::string_view name);
constexpr bool is_final(State s) {
  return s == State::succeeded || s == State::skipped || s == State::failed || s == State::canceled;
}

// The id of a task of a run, as the API and {{$.pipeline_task_uuid}} give it: the same run and path, the same UUID.
std::string task_id(std::string_view run_id, std::string_view path);

struct StateChange {
  std::int64_t time_ms = 0;
  State state = State::unspecified;
  std::optional<Error> error;
};

struct ArtifactType {
  std::string title;     // schemaTitle, "system.Dataset"
  std::string version;   // schemaVersion, "0.0.1"
  std::string instance;  // instanceSchema, of old specs; empty otherwise
};

struct Artifact {
  std::int64_t id = 0;  // of the store; 0: not stored yet
  std::string name;
  ArtifactType type;
  std::string uri;
  Object metadata;
  std::string custom_path;
};
// As RuntimeArtifact of ExecutorInput, and back (snake_case and camelCase).
Value to_json(const Artifact& a);
Result<Artifact> artifact_from_json(const Value& v);

struct Experiment {
  std::string id, name, description, ns;
  std::int64_t created_ms = 0, last_run_ms = 0;
  bool archived = false;
};
struct Pipeline {
  std::string id, name, display_name, description, ns;
  std::int64_t created_ms = 0;
  std::map<std::string, std::string> tags;
};
struct Version {
  std::string id, pipeline_id, name, display_name, description, url, code_url;
  std::int64_t created_ms = 0;
  Value spec;  // as the API returns it: the PipelineSpec, or {"pipeline_spec", "platform_spec"}; null in lists when not
               // asked
  std::map<std::string, std::string> tags;
};
struct Run {
  std::string id, experiment_id, name, resource_name, ns, description, service_account, recurring_run_id;
  std::string pipeline_id, version_id;  // empty: the spec came with the run
  std::string pipeline_name;            // pipelineInfo.name
  bool archived = false;
  Value spec;                                                      // null in lists
  Object parameters;                                               // runtime_config.parameters
  std::string pipeline_root;                                       // runtime_config.pipeline_root
  std::int64_t created_ms = 0, scheduled_ms = 0, finished_ms = 0;  // 0: not yet
  State state = State::pending;
  std::optional<Error> error;
  std::vector<StateChange> history;
  Object plugins_input, plugins_output;
};
enum class TriggerKind : std::uint8_t { none, cron, periodic };
struct RecurringRun {
  std::string id, name, description, ns, experiment_id, service_account;
  std::string pipeline_id, version_id;  // version empty, pipeline set: the latest version at each time
  Value spec;
  Object parameters;
  std::string pipeline_root;
  TriggerKind kind = TriggerKind::none;
  std::string cron;
  std::int64_t interval_s = 0, start_ms = 0, end_ms = 0;  // 0: none
  std::int64_t max_concurrency = 1;
  bool enabled = true, no_catchup = false;
  std::int64_t created_ms = 0, updated_ms = 0;
  std::int64_t last_ms = 0;  // the scheduled time of the last run that was made; 0: none yet
  std::int64_t next_index = 1;
  Object plugins_input;
};

}  // namespace mr::pipelines
