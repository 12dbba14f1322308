// The rows of the pipelines room, in pipelines.db. Knows SQL and nothing of the wire. Thread safe; methods that return
// Task run on a loop and answer after the commit, the rest read on the caller's thread (short reads).
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "pipelines/engine.h"
#include "pipelines/types.h"
#include "sql/database.h"
#include "task/task.h"

namespace mr::pipelines {

// One predicate of a list's filter, names already checked against the collection's fields.
struct Predicate {
  enum class Op : std::uint8_t {
    equals,
    not_equals,
    greater,
    greater_equals,
    less,
    less_equals,
    in,
    substring
  } op = Op::equals;
  std::string key;
  std::vector<Value> values;  // strings or int64 (times as ms since the epoch); several only with `in`
};
struct ListQuery {
  std::string ns;                              // empty: all
  std::string experiment_id;                   // runs, recurring runs; empty: all
  std::string pipeline_id;                     // versions
  std::vector<Predicate> all_of;               // every one holds,
  std::vector<std::vector<Predicate>> any_of;  // and of each group one
  std::string sort_key = "created_at";
  bool descending = false;
  std::int64_t page_size = 20;
  std::string page_token;  // opaque; holds sort value and id of the last row, so that inserts do not move pages
};
template <class T>
struct Page {
  std::vector<T> items;
  std::int64_t total = 0;
  std::string next_token;
};

// An artifact as it is kept, and where it was made and read.
struct ArtifactRecord {
  Artifact artifact;
  std::string ns;
  std::int64_t created_ms = 0;
};
struct ArtifactUse {
  std::int64_t id = 0, artifact_id = 0;
  std::string run_id, node, key;
  bool output = false;
  std::int64_t created_ms = 0;
};

// Where an artifact comes from: artifacts (the one that was asked for first) and the steps that made them.
struct LineageStep {
  std::string run_id, node, run_name, pipeline_name, ns;  // the names are empty when the run was deleted
  std::vector<ArtifactUse> inputs, outputs;
};
struct Lineage {
  std::vector<ArtifactRecord> artifacts;
  std::vector<LineageStep> steps;
  std::vector<ArtifactUse> readers;  // steps that read the first artifact, newest first
  bool cut = false;                  // there was more
};

// An execution whose outputs can stand for a later one with the same key.
struct CacheEntry {
  std::string run_id, node;
  std::int64_t created_ms = 0;
  Object parameters;
  std::map<std::string, std::vector<Artifact>> artifacts;
  Object inputs;  // what went into the key, for "miss because input X changed"
};

class Store {
 public:
  static Result<std::unique_ptr<Store>> open(const std::string& path);
  ~Store();
  void stop();

  task::Task<Result<Experiment>> create_experiment(Experiment e);  // reason AlreadyExists: (ns, name)
  Result<Experiment> experiment(const std::string& id);
  Result<Page<Experiment>> experiments(const ListQuery& q);
  // The one named "Default" of a namespace, made when it is not there.
  task::Task<Result<Experiment>> default_experiment(std::string ns);
  task::Task<Result<>> set_experiment_archived(std::string id, bool archived);  // with its runs and recurring runs
  task::Task<Result<>> delete_experiment(std::string id);

  task::Task<Result<Pipeline>> create_pipeline(Pipeline p, std::optional<Version> first);
  Result<Pipeline> pipeline(const std::string& id);
  Result<Pipeline> pipeline_by_name(const std::string& ns, const std::string& name);
  Result<Page<Pipeline>> pipelines(const ListQuery& q);
  task::Task<Result<>> update_pipeline(Pipeline p);  // display_name and tags
  task::Task<Result<>> delete_pipeline(std::string id, bool cascade);
  task::Task<Result<Version>> create_version(Version v);
  Result<Version> version(const std::string& pipeline_id, const std::string& id);  // pipeline_id empty: of any
  Result<Version> latest_version(const std::string& pipeline_id);
  Result<Page<Version>> versions(const ListQuery& q);
  task::Task<Result<>> update_version(Version v);
  task::Task<Result<>> delete_version(std::string pipeline_id, std::string id);

  task::Task<Result<Run>> create_run(Run r);
  Result<Run> run(const std::string& id);
  Result<Page<Run>> runs(const ListQuery& q);  // without specs
  // The same; filters that walk many rows do so on the scan pool.
  task::Task<Result<Page<Run>>> find_runs(ListQuery q);
  task::Task<Result<>> set_run_archived(std::string id, bool archived);
  task::Task<Result<>> delete_run(std::string id);
  // Those of `ids` that are no runs.
  task::Task<Result<std::vector<std::string>>> unknown_runs(std::vector<std::string> ids);
  // The ids of runs that are not over, oldest first: what a start takes up again.
  Result<std::vector<std::string>> unfinished_runs();
  // Appends events (their seq counts on) and the state that follows from them, in one commit.
  task::Task<Result<>> append(std::string run_id, std::vector<Event> events, State state, std::int64_t finished_ms,
                              std::optional<Error> error, std::vector<StateChange> history);
  Result<std::vector<Event>> events(const std::string& run_id);
  task::Task<Result<>> set_plugins_output(std::string run_id, Object plugins_output);

  task::Task<Result<RecurringRun>> create_recurring(RecurringRun r);
  // Without `spec`, which may be large, its place holds the spec's hash.
  Result<RecurringRun> recurring(const std::string& id, bool spec = true);
  Result<Page<RecurringRun>> recurring_runs(const ListQuery& q);
  Result<std::vector<RecurringRun>> enabled_recurring();
  task::Task<Result<>> set_recurring_enabled(std::string id, bool enabled, std::int64_t now_ms);
  task::Task<Result<>> delete_recurring(std::string id);
  // Makes the run of a schedule's time and moves the schedule on, in one commit; a (schedule, name) pair is made once.
  task::Task<Result<Run>> create_scheduled(std::string recurring_id, Run r, std::int64_t last_ms,
                                           std::int64_t next_index);
  // How many runs of a schedule are not over.
  Result<std::int64_t> active_runs_of(const std::string& recurring_id);

  // Gives every artifact without an id one (the same URI and type: the same id), and says who made and who read it.
  task::Task<Result<std::vector<Artifact>>> record_artifacts(std::string ns, std::string run_id, std::string node,
                                                             std::string key, bool output,
                                                             std::vector<Artifact> artifacts);
  Result<ArtifactRecord> artifact(std::int64_t id);
  Result<Page<ArtifactRecord>> artifacts(const ListQuery& q, const std::string& run_id);  // run_id empty: of all runs
  Result<Page<ArtifactUse>> artifact_uses(const ListQuery& q, const std::string& run_id, std::int64_t artifact_id);
  // The newest artifact with the first of these URIs that there is. `ns` empty: in any namespace.
  Result<std::int64_t> find_artifact(const std::string& ns, const std::vector<std::string>& uris);
  // At most `most` artifacts, those nearest first.
  Result<Lineage> lineage(std::int64_t artifact_id, std::size_t most);
  Result<std::optional<CacheEntry>> cache_find(const std::string& key, const std::string& pipeline,
                                               const std::string& ns);
  // The latest entry of the same task, whatever its key: to say what changed.
  Result<std::optional<CacheEntry>> cache_latest(const std::string& task_identity, const std::string& ns);
  task::Task<Result<>> cache_put(std::string key, std::string pipeline, std::string ns, std::string task_identity,
                                 CacheEntry e);  // takes the place of those with the same key
  // Removes entries made before `before_ms`, and the oldest of more than `most`.
  task::Task<Result<>> cache_tidy(std::int64_t before_ms, std::int64_t most);

 private:
  explicit Store(std::unique_ptr<sql::Database> db);
  std::unique_ptr<sql::Database> db_;
};

}  // namespace mr::pipelines
