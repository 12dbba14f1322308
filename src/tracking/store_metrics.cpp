#include "crypto/random.h"
#include "tracking/errors.h"
#include "tracking/store.h"
#include "tracking/validate.h"

namespace mr::tracking::store {

namespace {

// A point that is there already changes nothing. The latest value is the largest (step, timestamp, value).
Result<> insert_metric(sql::Connection& c, const std::string& run_id, const Metric& m) {
  MR_TRY(auto n, c.exec("INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, ?) "
                        "ON CONFLICT DO NOTHING",
                        m.key, m.value, m.timestamp, run_id, m.step, m.is_nan));
  if (n == 0) return {};
  MR_CHECK(
      c.exec("INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, ?, ?) ON "
             "CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value, "
             "timestamp = excluded.timestamp, step = excluded.step, is_nan = excluded.is_nan WHERE (excluded.step, "
             "excluded.timestamp, excluded.value) > "
             "(latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)",
             m.key, m.value, m.timestamp, m.step, m.is_nan, run_id));
  return {};
}

Result<> insert_model_metric(sql::Connection& c, const RunInfo& run, const Metric& m) {
  auto text = [](const std::string& s) { return s.empty() ? std::optional<std::string>() : std::optional(s); };
  auto name = text(m.dataset_name);
  auto digest = text(m.dataset_digest);
  auto r = c.exec(
      "INSERT INTO logged_model_metrics (model_id, metric_name, metric_timestamp_ms, metric_step, metric_value, "
      "experiment_id, run_id, dataset_uuid, dataset_name, dataset_digest) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, NULL, ?, ?)",
      m.model_id, m.key, m.timestamp, m.step, m.value, run.experiment_id, run.run_id, name, digest);
  if (r) return {};
  if (r.error().reason != "CONSTRAINT") return std::unexpected(r.error());
  bool same = false;
  MR_CHECK(
      c.query("SELECT 1 FROM logged_model_metrics WHERE model_id = ? AND metric_name = ? AND metric_timestamp_ms = ? "
              "AND metric_step = ? AND run_id = ? AND metric_value = ? AND dataset_name IS ? AND dataset_digest IS ?",
              "i", {m.model_id, m.key, m.timestamp, m.step, run.run_id, m.value, name, digest},
              [&](const sql::Row&) { same = true; }));
  if (same) return {};
  bool known = false;
  MR_CHECK(c.query("SELECT 1 FROM logged_models WHERE model_id = ?", "i", {m.model_id},
                   [&](const sql::Row&) { known = true; }));
  if (!known)
    return bad_request(fmt::format(
        "(sqlite3.IntegrityError) FOREIGN KEY constraint failed: no logged model has the ID '{}'", m.model_id));
  return bad_request(
      "(sqlite3.IntegrityError) UNIQUE constraint failed: logged_model_metrics.model_id, "
      "logged_model_metrics.metric_name, logged_model_metrics.metric_timestamp_ms, "
      "logged_model_metrics.metric_step, logged_model_metrics.run_id");
}

Result<> require_active(sql::Connection& c, const std::string& run_id) {
  bool active = false;
  MR_CHECK(c.query("SELECT lifecycle_stage FROM runs WHERE run_uuid = ?", "s", {run_id},
                   [&](const sql::Row& r) { active = r.text(0) == "active"; }));
  if (active) return {};
  MR_CHECK(active_run(c, run_id));  // says what is wrong
  return {};
}

Metric metric_row(const sql::Row& r) {
  Metric m;
  m.key = r.text(0);
  m.value = r.real(1);
  m.timestamp = r.i64(2);
  m.step = r.i64(3);
  m.is_nan = r.i64(4) != 0;
  return m;
}

}  // namespace

Result<> log_metric(sql::Connection& c, const std::string& run_id, const Metric& m) {
  if (!m.model_id.empty()) {
    MR_TRY(auto run, active_run(c, run_id));
    MR_CHECK(insert_model_metric(c, run, m));
  } else {
    MR_CHECK(require_active(c, run_id));
  }
  return insert_metric(c, run_id, m);
}

Result<> log_batch(sql::Connection& c, const std::string& run_id, const std::vector<Metric>& metrics,
                   const Params& params, const Tags& tags) {
  MR_TRY(auto run, active_run(c, run_id));
  if (!params.empty()) {
    std::unordered_map<std::string, std::string> old;
    MR_CHECK(c.query("SELECT key, value FROM params WHERE run_uuid = ?", "ss", {run_id},
                     [&](const sql::Row& r) { old[r.text(0)] = r.text(1); }));
    std::string conflicts;
    for (const auto& p : params) {
      auto it = old.find(p.key);
      if (it != old.end() && it->second != p.value)
        conflicts += fmt::format("{}{{'key': {}, 'old_value': {}, 'new_value': {}}}", conflicts.empty() ? "" : ", ",
                                 python_repr(p.key), python_repr(it->second), python_repr(p.value));
    }
    if (!conflicts.empty())
      return invalid(
          fmt::format("Changing param values is not allowed. Params were already logged='[{}]' for run ID='{}'.",
                      conflicts, run_id));
    for (const auto& p : params)
      if (!old.contains(p.key))
        MR_CHECK(c.exec("INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)", p.key, p.value, run_id));
  }
  for (const auto& m : metrics) MR_CHECK(insert_metric(c, run_id, m));
  for (const auto& m : metrics)
    if (!m.model_id.empty()) MR_CHECK(insert_model_metric(c, run, m));
  for (const auto& t : tags) MR_CHECK(set_tag(c, run_id, t));
  return {};
}

Result<std::string> metric_history(sql::Connection& c, const std::string& run_id, const std::string& key,
                                   std::optional<std::int64_t> max, std::int64_t offset,
                                   const std::function<void(const Point&)>& sink) {
  std::int64_t limit = max && *max < INT64_MAX ? *max + 1 : -1;  // one more tells whether there is a next page
  std::int64_t seen = 0;
  MR_CHECK(
      c.query("SELECT value, timestamp, step, is_nan FROM metrics WHERE run_uuid = ? AND key = ? ORDER BY "
              "timestamp, step, value, rowid LIMIT ? OFFSET ?",
              "diii", {run_id, key, limit, offset}, [&](const sql::Row& r) {
                if (!max || seen < *max) sink({r.real(0), r.i64(1), r.i64(2), r.i64(3) != 0});
                ++seen;
              }));
  return max && seen > *max ? page_token(offset + *max) : std::string();
}

Result<std::vector<BulkMetric>> metric_history_bulk(sql::Connection& c, std::vector<std::string> ids,
                                                    const std::string& key, std::int64_t max) {
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  std::vector<BulkMetric> out;
  for (const auto& id : ids) {
    auto left = max - static_cast<std::int64_t>(out.size());
    if (left <= 0) break;
    MR_CHECK(
        c.query("SELECT key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = ? AND key = ? ORDER BY "
                "timestamp, step, value LIMIT ?",
                "sdiii", {id, key, left}, [&](const sql::Row& r) { out.push_back({metric_row(r), id}); }));
  }
  return out;
}

Result<std::vector<BulkMetric>> metric_history_interval(sql::Connection& c, const std::vector<std::string>& ids,
                                                        const std::string& key, std::optional<std::int64_t> start,
                                                        std::optional<std::int64_t> end, std::int64_t max) {
  std::vector<BulkMetric> out;
  for (const auto& id : ids) {
    std::vector<Metric> rows;
    MR_CHECK(
        c.query("SELECT key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = ? AND key = ? AND step "
                "BETWEEN ? AND ? ORDER BY step, timestamp, value, is_nan",
                "sdiii", {id, key, start.value_or(INT64_MIN), end.value_or(INT64_MAX)},
                [&](const sql::Row& r) { rows.push_back(metric_row(r)); }));
    if (static_cast<std::int64_t>(rows.size()) <= max) {
      for (auto& m : rows) out.push_back({std::move(m), id});
      continue;
    }
    // As SQL's NTILE(max): the first row of each bucket, the first buckets one row larger; the very last row takes the
    // last sample's place, so that a chart ends where the run does.
    auto buckets = static_cast<std::size_t>(max);
    auto size = rows.size() / buckets;
    auto larger = rows.size() % buckets;
    for (std::size_t b = 0; b < buckets; ++b) {
      auto at = b + 1 == buckets ? rows.size() - 1 : b * size + std::min(b, larger);
      out.push_back({rows[at], id});
    }
  }
  return out;
}

}  // namespace mr::tracking::store
