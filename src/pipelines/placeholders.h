// Placeholders of commands, arguments, environments and resource fields: {{$.inputs.parameters['x']}} and its kin,
// {"Concat": …} and {"IfPresent": …}. Pure functions. Source: kfp-ir (KFP 2.17 launcher and driver).
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "pipelines/types.h"

namespace mr::pipelines {

struct PlaceholderContext {
  Object executor_input;  // ExecutorInput, camelCase; defaults of left-out inputs are not in it
  Object default_values;  // of inputs left out: for placeholders only
  std::map<std::string, std::string>
      variables;  // "pipeline_job_name", "pipeline_job_resource_name", "pipeline_job_uuid", "pipeline_task_name",
                  // "pipeline_task_uuid", "pipeline_job_create_time_utc", "pipeline_job_schedule_time_utc",
                  // "workspace_path", "pipeline_root"
  // The path on which user code sees a URI ("s3://B/K" -> "/s3/B/K"); see local_path().
  std::function<std::string(const Artifact&)> path = {};
};

// "gs://B/K" -> "/gcs/B/K", "minio://B/K" -> "/minio/B/K", "s3://B/K" -> "/s3/B/K", "oci://I" -> "/oci/I with / as
// _/models"; any other URI is the path itself; below "/kfp-workspace/.artifacts" when the metadata says _kfp_workspace;
// custom_path wins.
std::string local_path(const Artifact& a);

// One text with every placeholder in it replaced, once: what comes out is not searched again. A placeholder is {{$}} or
// {{$.name…}} with a lower-case name; other texts in braces (Go templates) stay. Errors: invalid_argument naming the
// placeholder that is unknown or has no value.
Result<std::string> substitute(std::string_view text, const PlaceholderContext& c);
// Command or args: structures (Concat, IfPresent) first, then placeholders; an element may vanish or become several.
Result<std::vector<std::string>> substitute_all(const std::vector<std::string>& texts, const PlaceholderContext& c);
// A constant parameter: replaced only when the whole string is one engine variable; workspace_path anywhere.
std::string substitute_constant(std::string_view text, const std::map<std::string, std::string>& variables);
// Every placeholder that `text` names ("inputs.parameters['x']", …) with its kind, for checks at submission; errors:
// an unknown form of placeholder or structure.
struct PlaceholderUse {
  enum class Kind : std::uint8_t {
    executor_input,
    input_parameter,
    input_artifact,
    output_parameter,
    output_artifact,
    variable
  } kind;
  std::string name;
};
Result<std::vector<PlaceholderUse>> placeholders_of(std::string_view text);

}  // namespace mr::pipelines
