#include "tracking/encode.h"

namespace mr::tracking {

void write_pairs(json::Writer& w, std::string_view key, const Tags& pairs) {
  if (pairs.empty()) return;
  w.key(key);
  w.begin_array();
  for (const auto& p : pairs) {
    w.begin_object();
    w.field("key", p.key);
    w.field("value", p.value);
    w.end_object();
  }
  w.end_array();
}

void write(json::Writer& w, const Experiment& e) {
  w.begin_object();
  w.field("experiment_id", std::to_string(e.id));
  w.field("name", e.name);
  w.field("artifact_location", e.artifact_location);
  w.field("lifecycle_stage", e.lifecycle_stage);
  if (e.last_update_time != 0) w.field("last_update_time", e.last_update_time);
  if (e.creation_time != 0) w.field("creation_time", e.creation_time);
  write_pairs(w, "tags", e.tags);
  w.field("workspace", "default");
  w.end_object();
}

void write(json::Writer& w, const RunInfo& i) {
  w.begin_object();
  w.field("run_uuid", i.run_id);
  w.field("experiment_id", std::to_string(i.experiment_id));
  w.field("run_name", i.run_name);
  w.field("user_id", i.user_id);
  w.field("status", i.status);
  w.field("start_time", i.start_time);
  if (i.end_time.value_or(0) != 0) w.field("end_time", *i.end_time);
  w.field("artifact_uri", i.artifact_uri);
  w.field("lifecycle_stage", i.lifecycle_stage);
  w.field("run_id", i.run_id);
  w.end_object();
}

void write_metric(json::Writer& w, const Metric& m, const std::string& run_id) {
  w.begin_object();
  w.field("key", m.key);
  w.key("value");
  if (m.is_nan)
    w.string("NaN");
  else
    w.number(m.value);
  w.field("timestamp", m.timestamp);
  w.field("step", m.step);
  if (!m.dataset_name.empty()) w.field("dataset_name", m.dataset_name);
  if (!m.dataset_digest.empty()) w.field("dataset_digest", m.dataset_digest);
  if (!m.model_id.empty()) w.field("model_id", m.model_id);
  if (!run_id.empty())
    w.field("run_id", run_id);
  else if (!m.run_id.empty())
    w.field("run_id", m.run_id);
  w.end_object();
}

namespace {
void write_metrics(json::Writer& w, const std::vector<Metric>& metrics) {
  if (metrics.empty()) return;
  w.key("metrics");
  w.begin_array();
  for (const auto& m : metrics) write_metric(w, m);
  w.end_array();
}
}  // namespace

void write(json::Writer& w, const Run& r, bool outputs) {
  w.begin_object();
  w.key("info");
  write(w, r.info);
  w.key("data");
  w.begin_object();
  write_metrics(w, r.metrics);
  write_pairs(w, "params", r.params);
  write_pairs(w, "tags", r.tags);
  w.end_object();
  w.key("inputs");
  w.begin_object();
  if (!r.dataset_inputs.empty()) {
    w.key("dataset_inputs");
    w.begin_array();
    for (const auto& d : r.dataset_inputs) {
      w.begin_object();
      write_pairs(w, "tags", d.tags);
      w.key("dataset");
      w.begin_object();
      w.field("name", d.dataset.name);
      w.field("digest", d.dataset.digest);
      w.field("source_type", d.dataset.source_type);
      w.field("source", d.dataset.source);
      if (!d.dataset.schema.empty()) w.field("schema", d.dataset.schema);
      if (!d.dataset.profile.empty()) w.field("profile", d.dataset.profile);
      w.end_object();
      w.end_object();
    }
    w.end_array();
  }
  if (!r.model_inputs.empty()) {
    w.key("model_inputs");
    w.begin_array();
    for (const auto& m : r.model_inputs) {
      w.begin_object();
      w.field("model_id", m);
      w.end_object();
    }
    w.end_array();
  }
  w.end_object();
  if (outputs) {
    w.key("outputs");
    w.begin_object();
    if (!r.model_outputs.empty()) {
      w.key("model_outputs");
      w.begin_array();
      for (const auto& m : r.model_outputs) {
        w.begin_object();
        w.field("model_id", m.model_id);
        w.field("step", m.step);
        w.end_object();
      }
      w.end_array();
    }
    w.end_object();
  }
  w.end_object();
}

std::string_view status_name(ModelStatus s) {
  switch (s) {
    case ModelStatus::unspecified:
      return "LOGGED_MODEL_STATUS_UNSPECIFIED";
    case ModelStatus::pending:
      return "LOGGED_MODEL_PENDING";
    case ModelStatus::ready:
      return "LOGGED_MODEL_READY";
    case ModelStatus::upload_failed:
      return "LOGGED_MODEL_UPLOAD_FAILED";
  }
  return "LOGGED_MODEL_STATUS_UNSPECIFIED";
}

void write(json::Writer& w, const LoggedModel& m) {
  w.begin_object();
  w.key("info");
  w.begin_object();
  w.field("model_id", m.model_id);
  w.field("experiment_id", std::to_string(m.experiment_id));
  w.field("name", m.name);
  w.field("creation_timestamp_ms", m.creation_ms);
  w.field("last_updated_timestamp_ms", m.last_updated_ms);
  w.field("artifact_uri", m.artifact_location);
  w.field("status", status_name(m.status));
  w.field("model_type", m.model_type);
  w.field("source_run_id", m.source_run_id);
  if (m.status_message) w.field("status_message", *m.status_message);
  write_pairs(w, "tags", m.tags);
  w.end_object();
  w.key("data");
  w.begin_object();
  write_pairs(w, "params", m.params);
  write_metrics(w, m.metrics);
  w.end_object();
  w.end_object();
}

void write(json::Writer& w, const ModelVersion& v) {
  w.begin_object();
  w.field("name", v.name);
  w.field("version", std::to_string(v.version));
  w.field("creation_timestamp", v.creation_time);
  w.field("last_updated_timestamp", v.last_updated_time);
  if (v.user_id) w.field("user_id", *v.user_id);
  w.field("current_stage", v.stage);
  if (v.description) w.field("description", *v.description);
  if (v.source) w.field("source", *v.source);
  if (v.run_id) w.field("run_id", *v.run_id);
  w.field("status", v.status);
  if (v.status_message) w.field("status_message", *v.status_message);
  write_pairs(w, "tags", v.tags);
  if (v.run_link) w.field("run_link", *v.run_link);
  if (!v.aliases.empty()) {
    w.key("aliases");
    w.begin_array();
    for (const auto& a : v.aliases) w.string(a);
    w.end_array();
  }
  w.end_object();
}

void write(json::Writer& w, const RegisteredModel& m) {
  w.begin_object();
  w.field("name", m.name);
  w.field("creation_timestamp", m.creation_time);
  w.field("last_updated_timestamp", m.last_updated_time);
  if (m.description && !m.description->empty()) w.field("description", *m.description);
  if (!m.latest_versions.empty()) {
    w.key("latest_versions");
    w.begin_array();
    for (const auto& v : m.latest_versions) write(w, v);
    w.end_array();
  }
  write_pairs(w, "tags", m.tags);
  if (!m.aliases.empty()) {
    w.key("aliases");
    w.begin_array();
    for (const auto& [alias, version] : m.aliases) {
      w.begin_object();
      w.field("alias", alias);
      w.field("version", std::to_string(version));
      w.end_object();
    }
    w.end_array();
  }
  w.end_object();
}

}  // namespace mr::tracking
