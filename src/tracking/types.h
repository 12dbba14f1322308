// The tracking room's nouns, as MLflow names them. Plain values.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mr::tracking {

struct KeyValue {
  std::string key;
  std::string value;
};
using Tags = std::vector<KeyValue>;
using Params = std::vector<KeyValue>;

struct Experiment {
  std::int64_t id = 0;
  std::string name;
  std::string artifact_location;
  std::string lifecycle_stage;
  std::int64_t creation_time = 0;     // ms
  std::int64_t last_update_time = 0;  // ms
  Tags tags;
};

struct Metric {
  std::string key;
  double value = 0;  // as stored: NaN is 0 with is_nan, infinities are the largest doubles
  std::int64_t timestamp = 0;
  std::int64_t step = 0;
  bool is_nan = false;
  std::string model_id;
  std::string dataset_name;
  std::string dataset_digest;
  std::string run_id;
};

struct RunInfo {
  std::string run_id;
  std::int64_t experiment_id = 0;
  std::string run_name;
  std::string user_id;
  std::string status = "RUNNING";
  std::int64_t start_time = 0;
  std::optional<std::int64_t> end_time;
  std::string artifact_uri;
  std::string lifecycle_stage = "active";
};

struct Dataset {
  std::string name;
  std::string digest;
  std::string source_type;
  std::string source;
  std::string schema;
  std::string profile;
};
struct DatasetInput {
  Tags tags;
  Dataset dataset;
};
struct ModelOutput {
  std::string model_id;
  std::int64_t step = 0;
};

struct Run {
  RunInfo info;
  std::vector<Metric> metrics;  // the latest of each key
  Params params;
  Tags tags;
  std::vector<DatasetInput> dataset_inputs;
  std::vector<std::string> model_inputs;
  std::vector<ModelOutput> model_outputs;
};

enum class ModelStatus : std::uint8_t { unspecified = 0, pending = 1, ready = 2, upload_failed = 3 };

struct LoggedModel {
  std::string model_id;
  std::int64_t experiment_id = 0;
  std::string name;
  std::string artifact_location;
  std::int64_t creation_ms = 0;
  std::int64_t last_updated_ms = 0;
  ModelStatus status = ModelStatus::pending;
  std::string lifecycle_stage = "active";
  std::string model_type;
  std::string source_run_id;
  std::optional<std::string> status_message;
  Params params;
  Tags tags;
  std::vector<Metric> metrics;
};

struct ModelVersion {
  std::string name;
  std::int64_t version = 0;
  std::int64_t creation_time = 0;
  std::int64_t last_updated_time = 0;
  std::optional<std::string> description;
  std::optional<std::string> user_id;
  std::string stage = "None";
  std::optional<std::string> source;
  std::optional<std::string> run_id;
  std::string status = "READY";
  std::optional<std::string> status_message;
  std::optional<std::string> run_link;
  std::optional<std::string> storage_location;
  Tags tags;
  std::vector<std::string> aliases;
};

struct RegisteredModel {
  std::string name;
  std::int64_t creation_time = 0;
  std::int64_t last_updated_time = 0;
  std::optional<std::string> description;
  Tags tags;
  std::vector<ModelVersion> latest_versions;
  std::vector<std::pair<std::string, std::int64_t>> aliases;
};

// Runs that share a value of a parameter, a tag or an attribute, and what some metrics came to among them.
struct RunGroup {
  struct Numbers {
    std::int64_t count = 0;  // of runs that have a number there
    std::optional<double> mean, min, max;
  };
  std::optional<std::string> value;  // of the runs that have none: nothing
  std::int64_t count = 0;
  std::optional<std::int64_t> last_start;
  std::vector<Numbers> metrics;  // in the order in which they were asked for
};

template <class T>
struct Page {
  std::vector<T> items;
  std::string next_token;  // empty on the last page
};

enum class ViewType : std::uint8_t { active_only, deleted_only, all };

}  // namespace mr::tracking
