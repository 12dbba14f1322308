// SQL of the tracking database (MLflow's own schema, schema/sqlite.sql). Every function runs inside the caller's
// transaction on its Connection: writes on the database's writer, reads on a reader. Errors are MLflow's, with its
// texts.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sql/sql.h"
#include "tracking/search.h"
#include "tracking/types.h"

namespace mr::tracking::store {

// ---- schema (store_schema.cpp) ----
inline constexpr std::string_view kHead = "f4a9b2c7d1e6";      // MLflow 3.18.0
inline constexpr std::string_view kPrevious = "dc11669786a5";  // MLflow 3.17.2: the tables used here are the same
// Makes the schema in an empty database; checks the revision of another; writes the Default experiment when it is
// missing.
Result<> prepare(sql::Connection& c, const std::string& path, const std::string& artifact_root);
// The revision in a file, before it is opened for writing; empty when it has no tables.
Result<std::string> revision(const std::string& path);

// ---- experiments (store_experiments.cpp) ----
Result<std::int64_t> create_experiment(sql::Connection& c, const std::string& name, const std::string& location,
                                       const std::string& root, const Tags& tags);
Result<Experiment> get_experiment(sql::Connection& c, std::int64_t id);
Result<Experiment> get_experiment_by_name(sql::Connection& c, const std::string& name);
Result<> delete_experiment(sql::Connection& c, std::int64_t id);
Result<> restore_experiment(sql::Connection& c, std::int64_t id);
Result<> rename_experiment(sql::Connection& c, std::int64_t id, const std::string& name);
Result<> set_experiment_tag(sql::Connection& c, std::int64_t id, const KeyValue& tag);
Result<> delete_experiment_tag(sql::Connection& c, std::int64_t id, const std::string& key);
Result<Page<Experiment>> search_experiments(sql::Connection& c, const SearchSql& search, ViewType view,
                                            std::int64_t max, std::int64_t offset);
// The experiment, which must be active.
Result<Experiment> active_experiment(sql::Connection& c, std::int64_t id);

// ---- runs (store_runs.cpp) ----
struct NewRun {
  std::int64_t experiment_id = 0;
  std::string user_id;
  std::string run_name;
  std::int64_t start_time = 0;
  Tags tags;
};
Result<Run> create_run(sql::Connection& c, const NewRun& run);
struct RunUpdate {
  std::optional<std::string> status;
  std::optional<std::int64_t> end_time;
  std::string run_name;  // empty: keep
};
Result<RunInfo> update_run(sql::Connection& c, const std::string& run_id, const RunUpdate& update);
Result<> set_run_lifecycle(sql::Connection& c, const std::string& run_id, bool deleted);
Result<RunInfo> run_info(sql::Connection& c, const std::string& run_id);
Result<RunInfo> active_run(sql::Connection& c, const std::string& run_id);
Result<Run> get_run(sql::Connection& c, const std::string& run_id);
Result<Page<Run>> search_runs(sql::Connection& c, const SearchSql& search, const std::vector<std::int64_t>& experiments,
                              ViewType view, std::int64_t max, std::int64_t offset);
Result<Page<RunGroup>> group_runs(sql::Connection& c, const GroupSql& groups, std::size_t metrics,
                                  const std::vector<std::int64_t>& experiments, ViewType view, std::int64_t max,
                                  std::int64_t offset);
Result<> set_tag(sql::Connection& c, const std::string& run_id, const KeyValue& tag);
Result<> delete_tag(sql::Connection& c, const std::string& run_id, const std::string& key);
Result<> log_param(sql::Connection& c, const std::string& run_id, const KeyValue& param);

// ---- metrics and batches (store_metrics.cpp) ----
Result<> log_metric(sql::Connection& c, const std::string& run_id, const Metric& metric);
Result<> log_batch(sql::Connection& c, const std::string& run_id, const std::vector<Metric>& metrics,
                   const Params& params, const Tags& tags);
struct Point {
  double value;
  std::int64_t timestamp;
  std::int64_t step;
  bool is_nan;
};
// Hands each point of the page to `sink` as it is read; the token of the next page, or empty.
Result<std::string> metric_history(sql::Connection& c, const std::string& run_id, const std::string& key,
                                   std::optional<std::int64_t> max, std::int64_t offset,
                                   const std::function<void(const Point&)>& sink);
struct BulkMetric {
  Metric metric;
  std::string run_id;
};
Result<std::vector<BulkMetric>> metric_history_bulk(sql::Connection& c, std::vector<std::string> run_ids,
                                                    const std::string& key, std::int64_t max);
// Samples for the charts of the web UI: at most `max` points of each run, the first and the last among them.
Result<std::vector<BulkMetric>> metric_history_interval(sql::Connection& c, const std::vector<std::string>& run_ids,
                                                        const std::string& key, std::optional<std::int64_t> start_step,
                                                        std::optional<std::int64_t> end_step, std::int64_t max);

// ---- inputs and outputs (store_inputs.cpp) ----
Result<> log_inputs(sql::Connection& c, const std::string& run_id, const std::vector<DatasetInput>& datasets,
                    const std::vector<std::string>& models);
Result<> log_outputs(sql::Connection& c, const std::string& run_id, const std::vector<ModelOutput>& models);
struct DatasetSummary {
  std::int64_t experiment_id = 0;
  std::string name;
  std::string digest;
  std::optional<std::string> context;
};
Result<std::vector<DatasetSummary>> search_datasets(sql::Connection& c, const std::vector<std::int64_t>& experiments);
// Fills the inputs and outputs of runs, in place.
Result<> load_inputs(sql::Connection& c, std::vector<Run>& runs, bool models);

// ---- logged models (store_models.cpp) ----
Result<LoggedModel> create_logged_model(sql::Connection& c, const LoggedModel& model);
Result<LoggedModel> get_logged_model(sql::Connection& c, const std::string& id, bool allow_deleted = false);
Result<LoggedModel> finalize_logged_model(sql::Connection& c, const std::string& id, ModelStatus status);
Result<> log_model_params(sql::Connection& c, const std::string& id, const Params& params);
Result<> set_model_tags(sql::Connection& c, const std::string& id, const Tags& tags);
Result<> delete_model_tag(sql::Connection& c, const std::string& id, const std::string& key);
Result<> delete_logged_model(sql::Connection& c, const std::string& id);
Result<Page<LoggedModel>> search_logged_models(sql::Connection& c, const SearchSql& search,
                                               const std::vector<std::int64_t>& experiments, std::int64_t max,
                                               std::int64_t offset);

// ---- registry (store_registry.cpp, store_versions.cpp) ----
Result<RegisteredModel> create_registered_model(sql::Connection& c, const std::string& name,
                                                const std::string& description, const Tags& tags);
Result<RegisteredModel> get_registered_model(sql::Connection& c, const std::string& name);
Result<RegisteredModel> update_registered_model(sql::Connection& c, const std::string& name,
                                                const std::string& description);
Result<RegisteredModel> rename_registered_model(sql::Connection& c, const std::string& name,
                                                const std::string& new_name);
Result<> delete_registered_model(sql::Connection& c, const std::string& name);
Result<Page<RegisteredModel>> search_registered_models(sql::Connection& c, const SearchSql& search, std::int64_t max,
                                                       std::int64_t offset);
Result<std::vector<ModelVersion>> latest_versions(sql::Connection& c, const std::string& name,
                                                  const std::vector<std::string>& stages);
Result<> set_registered_model_tag(sql::Connection& c, const std::string& name, const KeyValue& tag);
Result<> delete_registered_model_tag(sql::Connection& c, const std::string& name, const std::string& key);
Result<> set_alias(sql::Connection& c, const std::string& name, const std::string& alias, std::int64_t version);
Result<> delete_alias(sql::Connection& c, const std::string& name, const std::string& alias);
Result<ModelVersion> version_by_alias(sql::Connection& c, const std::string& name, const std::string& alias);
// Errors when no model has this name.
Result<> require_registered_model(sql::Connection& c, const std::string& name);
Result<> touch_registered_model(sql::Connection& c, const std::string& name, std::int64_t now);

struct NewVersion {
  std::string name;
  std::string source;
  std::string run_id;
  std::string run_link;
  std::string description;
  std::string model_id;
  Tags tags;
};
Result<ModelVersion> create_version(sql::Connection& c, NewVersion v);
Result<ModelVersion> get_version(sql::Connection& c, const std::string& name, std::int64_t version);
Result<ModelVersion> update_version(sql::Connection& c, const std::string& name, std::int64_t version,
                                    const std::optional<std::string>& description);
Result<ModelVersion> transition_stage(sql::Connection& c, const std::string& name, std::int64_t version,
                                      const std::string& stage, bool archive_existing);
Result<> delete_version(sql::Connection& c, const std::string& name, std::int64_t version);
Result<std::string> download_uri(sql::Connection& c, const std::string& name, std::int64_t version);
Result<Page<ModelVersion>> search_versions(sql::Connection& c, const SearchSql& search, std::int64_t max,
                                           std::int64_t offset);
Result<> set_version_tag(sql::Connection& c, const std::string& name, std::int64_t version, const KeyValue& tag);
Result<> delete_version_tag(sql::Connection& c, const std::string& name, std::int64_t version, const std::string& key);
// All versions that `where` selects, with tags and aliases, in its order.
Result<std::vector<ModelVersion>> load_versions(sql::Connection& c, const std::string& where_and_order,
                                                std::span<const sql::Arg> args);
// "staging" -> "Staging"; an error for what is no stage.
Result<std::string> canonical_stage(std::string_view stage);

// ---- shared ----
// Calls fn for groups of at most 500 ids with the text "(?,?,…)" and the ids as arguments; few different texts, so that
// statements stay prepared.
Result<> for_id_groups(const std::vector<std::string>& ids,
                       const std::function<Result<>(const std::string& in, std::span<const sql::Arg>)>& fn);

}  // namespace mr::tracking::store
