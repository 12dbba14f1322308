#include "pipelines/messages.h"

namespace mr::pipelines::wire {

namespace {
using K = FieldKind;
using enum Many;

constexpr std::string_view storage_words[] = {"STORAGE_STATE_UNSPECIFIED", "AVAILABLE", "ARCHIVED"};
constexpr std::string_view state_words[] = {"RUNTIME_STATE_UNSPECIFIED",
                                            "PENDING",
                                            "RUNNING",
                                            "SUCCEEDED",
                                            "SKIPPED",
                                            "FAILED",
                                            "CANCELING",
                                            "CANCELED",
                                            "PAUSED"};
constexpr std::string_view mode_words[] = {"MODE_UNSPECIFIED", "ENABLE", "DISABLE"};
constexpr std::string_view status_words[] = {"STATUS_UNSPECIFIED", "ENABLED", "", "DISABLED"};
constexpr std::string_view plugin_words[] = {"PLUGIN_STATE_UNSPECIFIED", "PLUGIN_RUNNING", "PLUGIN_SUCCEEDED",
                                             "PLUGIN_FAILED"};
constexpr std::string_view render_words[] = {"UNSPECIFIED", "URL"};
constexpr std::string_view operation_words[] = {
    "OPERATION_UNSPECIFIED", "EQUALS",    "NOT_EQUALS",       "GREATER_THAN", "",
    "GREATER_THAN_EQUALS",   "LESS_THAN", "LESS_THAN_EQUALS", "IN",           "IS_SUBSTRING"};

constexpr MessageField status_fields[] = {{"code", K::integer}, {"message"}, {"details", K::value, list}};
constexpr MessageType rpc_status{"google.rpc.Status", status_fields};

constexpr MessageField experiment_wire[] = {{"experiment_id"},
                                            {"display_name"},
                                            {"description"},
                                            {"created_at", K::time},
                                            {"namespace"},
                                            {"storage_state", K::enumeration, one, nullptr, storage_words},
                                            {"last_run_created_at", K::time}};
constexpr MessageField pipeline_wire[] = {{"pipeline_id"}, {"display_name"},
                                          {"description"}, {"created_at", K::time},
                                          {"namespace"},   {"error", K::message, one, &rpc_status},
                                          {"name"},        {"tags", K::string, map}};
constexpr MessageField url_fields[] = {{"pipeline_url"}};
constexpr MessageType url_message{"Url", url_fields};
constexpr MessageField version_wire[] = {{"pipeline_id"},
                                         {"pipeline_version_id"},
                                         {"display_name"},
                                         {"description"},
                                         {"created_at", K::time},
                                         {"package_url", K::message, one, &url_message},
                                         {"pipeline_spec", K::document},
                                         {"error", K::message, one, &rpc_status},
                                         {"code_source_url"},
                                         {"name"},
                                         {"tags", K::string, map}};
constexpr MessageField reference_fields[] = {{"pipeline_id"}, {"pipeline_version_id"}};
constexpr MessageType version_reference{"PipelineVersionReference", reference_fields};
constexpr MessageField config_fields[] = {{"parameters", K::value, map}, {"pipeline_root"}};
constexpr MessageType runtime_config{"RuntimeConfig", config_fields};
constexpr MessageField runtime_status_fields[] = {{"update_time", K::time},
                                                  {"state", K::enumeration, one, nullptr, state_words},
                                                  {"error", K::message, one, &rpc_status}};
constexpr MessageType runtime_status{"RuntimeStatus", runtime_status_fields};
constexpr MessageField metadata_fields[] = {{"value", K::value},
                                            {"render_type", K::enumeration, one, nullptr, render_words}};
constexpr MessageType metadata_value{"MetadataValue", metadata_fields};
constexpr MessageField plugin_fields[] = {{"entries", K::message, map, &metadata_value},
                                          {"state", K::enumeration, one, nullptr, plugin_words},
                                          {"state_message"}};
constexpr MessageType plugin_output{"PluginOutput", plugin_fields};
constexpr MessageField ids_fields[] = {{"artifact_ids", K::number, list}};
constexpr MessageType artifact_ids{"ArtifactList", ids_fields};
constexpr MessageField child_fields[] = {{"task_id", K::string, one, nullptr, {}, "child_task"},
                                         {"pod_name", K::string, one, nullptr, {}, "child_task"}};
constexpr MessageType child_task{"ChildTask", child_fields};
constexpr MessageField executor_fields[] = {{"main_job"},
                                            {"pre_caching_check_job"},
                                            {"failed_main_jobs", K::string, list},
                                            {"failed_pre_caching_check_jobs", K::string, list}};
constexpr MessageType executor_detail{"PipelineTaskExecutorDetail", executor_fields};
// What the API of the original does not tell of a task: only in answers of /runs/{run_id}/tasks.
constexpr MessageField more_fields[] = {{"path"},
                                        {"key"},
                                        {"iteration", K::value},
                                        {"attempts", K::integer},
                                        {"input_parameters", K::value, map},
                                        {"output_parameters", K::value, map},
                                        {"cache"},
                                        {"cached_run_id"},
                                        {"cached_task_id"},
                                        {"waiting_for"}};
constexpr MessageType task_more{"TaskMore", more_fields};
constexpr MessageField task_fields[] = {{"run_id"},
                                        {"task_id"},
                                        {"display_name"},
                                        {"create_time", K::time},
                                        {"start_time", K::time},
                                        {"end_time", K::time},
                                        {"executor_detail", K::message, one, &executor_detail},
                                        {"state", K::enumeration, one, nullptr, state_words},
                                        {"execution_id", K::number},
                                        {"error", K::message, one, &rpc_status},
                                        {"inputs", K::message, map, &artifact_ids},
                                        {"outputs", K::message, map, &artifact_ids},
                                        {"parent_task_id"},
                                        {"state_history", K::message, list, &runtime_status},
                                        {"pod_name"},
                                        {"child_tasks", K::message, list, &child_task},
                                        {"more", K::message, one, &task_more}};
}  // namespace
constexpr MessageType kTaskDetail{"PipelineTaskDetail", task_fields};
namespace {
constexpr MessageField details_fields[] = {{"pipeline_context_id", K::number},
                                           {"pipeline_run_context_id", K::number},
                                           {"task_details", K::message, list, &kTaskDetail}};
constexpr MessageType run_details{"RunDetails", details_fields};
constexpr std::string_view source = "pipeline_source";
constexpr MessageField run_wire[] = {{"experiment_id"},
                                     {"run_id"},
                                     {"display_name"},
                                     {"storage_state", K::enumeration, one, nullptr, storage_words},
                                     {"description"},
                                     {"pipeline_version_id", K::string, one, nullptr, {}, source},
                                     {"pipeline_spec", K::document, one, nullptr, {}, source},
                                     {"runtime_config", K::message, one, &runtime_config},
                                     {"service_account"},
                                     {"created_at", K::time},
                                     {"scheduled_at", K::time},
                                     {"finished_at", K::time},
                                     {"state", K::enumeration, one, nullptr, state_words},
                                     {"error", K::message, one, &rpc_status},
                                     {"run_details", K::message, one, &run_details},
                                     {"recurring_run_id"},
                                     {"state_history", K::message, list, &runtime_status},
                                     {"pipeline_version_reference", K::message, one, &version_reference, {}, source},
                                     {"plugins_input", K::document, map},
                                     {"plugins_output", K::message, map, &plugin_output}};
constexpr MessageField cron_fields[] = {{"start_time", K::time}, {"end_time", K::time}, {"cron"}};
constexpr MessageType cron_schedule{"CronSchedule", cron_fields};
constexpr MessageField periodic_fields[] = {
    {"start_time", K::time}, {"end_time", K::time}, {"interval_second", K::number}};
constexpr MessageType periodic_schedule{"PeriodicSchedule", periodic_fields};
constexpr MessageField trigger_fields[] = {{"cron_schedule", K::message, one, &cron_schedule, {}, "trigger"},
                                           {"periodic_schedule", K::message, one, &periodic_schedule, {}, "trigger"}};
constexpr MessageType trigger_message{"Trigger", trigger_fields};
constexpr MessageField recurring_wire[] = {
    {"recurring_run_id"},
    {"display_name"},
    {"description"},
    {"pipeline_version_id", K::string, one, nullptr, {}, source},
    {"pipeline_spec", K::document, one, nullptr, {}, source},
    {"runtime_config", K::message, one, &runtime_config},
    {"service_account"},
    {"max_concurrency", K::number},
    {"trigger", K::message, one, &trigger_message},
    {"mode", K::enumeration, one, nullptr, mode_words},
    {"created_at", K::time},
    {"updated_at", K::time},
    {"status", K::enumeration, one, nullptr, status_words},
    {"error", K::message, one, &rpc_status},
    {"no_catchup", K::boolean},
    {"namespace"},
    {"experiment_id"},
    {"pipeline_version_reference", K::message, one, &version_reference, {}, source},
    {"plugins_input", K::document, map}};

constexpr MessageField ints_fields[] = {{"values", K::integer, list}};
constexpr MessageField longs_fields[] = {{"values", K::number, list}};
constexpr MessageField strings_fields[] = {{"values", K::string, list}};
constexpr MessageType int_values{"IntValues", ints_fields}, long_values{"LongValues", longs_fields},
    string_values{"StringValues", strings_fields};
constexpr MessageField predicate_fields[] = {{"operation", K::enumeration, one, nullptr, operation_words},
                                             {"key"},
                                             {"int_value", K::integer, one, nullptr, {}, "value"},
                                             {"long_value", K::number, one, nullptr, {}, "value"},
                                             {"string_value", K::string, one, nullptr, {}, "value"},
                                             {"timestamp_value", K::time, one, nullptr, {}, "value"},
                                             {"int_values", K::message, one, &int_values, {}, "value"},
                                             {"long_values", K::message, one, &long_values, {}, "value"},
                                             {"string_values", K::message, one, &string_values, {}, "value"}};
constexpr MessageType predicate_message{"Predicate", predicate_fields};
constexpr MessageField group_fields[] = {{"predicates", K::message, list, &predicate_message}};
constexpr MessageType filter_group{"FilterGroup", group_fields};
// `any_of` is ours: of the predicates of each group one must hold.
constexpr MessageField filter_fields[] = {{"predicates", K::message, list, &predicate_message},
                                          {"any_of", K::message, list, &filter_group}};

constexpr MessageField artifact_wire[] = {{"artifact_id", K::number},
                                          {"name"},
                                          {"description"},
                                          {"type"},
                                          {"uri"},
                                          {"metadata", K::value, map},
                                          {"number_value", K::value},
                                          {"created_at", K::time},
                                          {"namespace"}};
constexpr MessageField artifact_task_wire[] = {
    {"id", K::number}, {"artifact_id", K::number}, {"run_id"},       {"task_id"},
    {"type"},          {"producer_task_name"},     {"producer_key"}, {"artifact_key"}};
}  // namespace

constexpr MessageType kExperiment{"Experiment", experiment_wire};
constexpr MessageType kPipeline{"Pipeline", pipeline_wire};
constexpr MessageType kVersion{"PipelineVersion", version_wire};
constexpr MessageType kRun{"Run", run_wire};
constexpr MessageType kRecurringRun{"RecurringRun", recurring_wire};
constexpr MessageType kFilter{"Filter", filter_fields};
constexpr MessageType kArtifact{"Artifact", artifact_wire};
constexpr MessageType kArtifactTask{"ArtifactTask", artifact_task_wire};

namespace {
constexpr MessageField list_experiments[] = {
    {"experiments", K::message, list, &kExperiment}, {"next_page_token"}, {"total_size", K::integer}};
constexpr MessageField list_pipelines[] = {
    {"pipelines", K::message, list, &kPipeline}, {"total_size", K::integer}, {"next_page_token"}};
constexpr MessageField list_versions[] = {
    {"pipeline_versions", K::message, list, &kVersion}, {"next_page_token"}, {"total_size", K::integer}};
constexpr MessageField list_runs[] = {
    {"runs", K::message, list, &kRun}, {"total_size", K::integer}, {"next_page_token"}};
constexpr MessageField list_recurring[] = {
    {"recurringRuns", K::message, list, &kRecurringRun}, {"total_size", K::integer}, {"next_page_token"}};
constexpr MessageField list_tasks[] = {{"tasks", K::message, list, &kTaskDetail}, {"total_size", K::integer}};
constexpr MessageField list_artifacts[] = {
    {"artifacts", K::message, list, &kArtifact}, {"total_size", K::integer}, {"next_page_token"}};
constexpr MessageField list_artifact_tasks[] = {
    {"artifact_tasks", K::message, list, &kArtifactTask}, {"total_size", K::integer}, {"next_page_token"}};
constexpr MessageField pipeline_and_version[] = {{"pipeline", K::message, one, &kPipeline},
                                                 {"pipeline_version", K::message, one, &kVersion}};
}  // namespace
constexpr MessageType kListExperiments{"ListExperimentsResponse", list_experiments};
constexpr MessageType kListPipelines{"ListPipelinesResponse", list_pipelines};
constexpr MessageType kListVersions{"ListPipelineVersionsResponse", list_versions};
constexpr MessageType kListRuns{"ListRunsResponse", list_runs};
constexpr MessageType kListRecurringRuns{"ListRecurringRunsResponse", list_recurring};
constexpr MessageType kListTasks{"ListTasksResponse", list_tasks};
constexpr MessageType kListArtifacts{"ListArtifactsResponse", list_artifacts};
constexpr MessageType kListArtifactTasks{"ListArtifactTasksResponse", list_artifact_tasks};
constexpr MessageType kCreatePipelineAndVersion{"CreatePipelineAndVersionRequest", pipeline_and_version};

}  // namespace mr::pipelines::wire
