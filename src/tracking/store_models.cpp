#include "crypto/random.h"
#include "time/clock.h"
#include "tracking/errors.h"
#include "tracking/store.h"
#include "tracking/validate.h"

namespace mr::tracking::store {

namespace {

constexpr std::string_view kModelColumns =
    "l.model_id, l.experiment_id, l.name, l.artifact_location, l.creation_timestamp_ms, l.last_updated_timestamp_ms, "
    "l.status, l.lifecycle_stage, l.model_type, l.source_run_id, l.status_message";
constexpr std::string_view kModelTypes = "sissiiissss";

LoggedModel logged_model_of(const sql::Row& r) {
  LoggedModel m;
  m.model_id = r.text(0);
  m.experiment_id = r.i64(1);
  m.name = r.text(2);
  m.artifact_location = r.text(3);
  m.creation_ms = r.i64(4);
  m.last_updated_ms = r.i64(5);
  m.status = static_cast<ModelStatus>(std::clamp<std::int64_t>(r.i64(6), 0, 3));
  m.lifecycle_stage = r.text(7);
  m.model_type = r.text(8);
  m.source_run_id = r.text(9);
  m.status_message = r.opt_text(10);
  return m;
}

Result<> load_data(sql::Connection& c, std::vector<LoggedModel>& models) {
  std::unordered_map<std::string, LoggedModel*> by_id;
  std::vector<std::string> ids;
  for (auto& m : models) {
    by_id[m.model_id] = &m;
    ids.push_back(m.model_id);
  }
  return for_id_groups(ids, [&](const std::string& in, std::span<const sql::Arg> args) -> Result<> {
    MR_CHECK(c.query(
        "SELECT model_id, tag_key, tag_value FROM logged_model_tags WHERE model_id IN " + in + " ORDER BY tag_key",
        "sss", args, [&](const sql::Row& r) { by_id[r.text(0)]->tags.push_back({r.text(1), r.text(2)}); }));
    MR_CHECK(c.query("SELECT model_id, param_key, param_value FROM logged_model_params WHERE model_id IN " + in +
                         " ORDER BY param_key",
                     "sss", args,
                     [&](const sql::Row& r) { by_id[r.text(0)]->params.push_back({r.text(1), r.text(2)}); }));
    return c.query(
        "SELECT model_id, metric_name, metric_value, metric_timestamp_ms, metric_step, dataset_name, dataset_digest, "
        "run_id FROM logged_model_metrics WHERE model_id IN " +
            in + " ORDER BY rowid",
        "ssdiisss", args, [&](const sql::Row& r) {
          Metric m;
          m.model_id = r.text(0);
          m.key = r.text(1);
          m.value = r.real(2);
          m.timestamp = r.i64(3);
          m.step = r.i64(4);
          m.dataset_name = r.text(5);
          m.dataset_digest = r.text(6);
          m.run_id = r.text(7);
          by_id[r.text(0)]->metrics.push_back(std::move(m));
        });
  });
}

Result<> insert_pairs(sql::Connection& c, const LoggedModel& m, const Params& params, const Tags& tags) {
  auto once = [](Result<std::int64_t> r, std::string_view table, std::string_view column) -> Result<> {
    if (r) return {};
    if (r.error().reason == "CONSTRAINT")
      return bad_request(
          fmt::format("(sqlite3.IntegrityError) UNIQUE constraint failed: {0}.model_id, {0}.{1}", table, column));
    return std::unexpected(r.error());
  };
  for (const auto& p : params)
    MR_CHECK(once(
        c.exec("INSERT INTO logged_model_params (model_id, experiment_id, param_key, param_value) VALUES (?, ?, ?, ?)",
               m.model_id, m.experiment_id, p.key, p.value),
        "logged_model_params", "param_key"));
  for (const auto& t : tags)
    MR_CHECK(
        once(c.exec("INSERT INTO logged_model_tags (model_id, experiment_id, tag_key, tag_value) VALUES (?, ?, ?, ?)",
                    m.model_id, m.experiment_id, t.key, t.value),
             "logged_model_tags", "tag_key"));
  return {};
}

}  // namespace

Result<LoggedModel> create_logged_model(sql::Connection& c, const LoggedModel& in) {
  MR_TRY(auto e, active_experiment(c, in.experiment_id));
  LoggedModel m = in;
  m.model_id = "m-" + crypto::random_hex(16);
  m.artifact_location = join_uri(e.artifact_location, "models/" + m.model_id + "/artifacts");
  m.creation_ms = m.last_updated_ms = time::now_ms();
  MR_CHECK(
      c.exec("INSERT INTO logged_models (model_id, experiment_id, name, artifact_location, creation_timestamp_ms, "
             "last_updated_timestamp_ms, status, lifecycle_stage, model_type, source_run_id, status_message) "
             "VALUES (?, ?, ?, ?, ?, ?, 1, 'active', ?, ?, NULL)",
             m.model_id, m.experiment_id, m.name, m.artifact_location, m.creation_ms, m.last_updated_ms, m.model_type,
             m.source_run_id));
  MR_CHECK(insert_pairs(c, m, m.params, m.tags));
  return get_logged_model(c, m.model_id);
}

Result<LoggedModel> get_logged_model(sql::Connection& c, const std::string& id, bool allow_deleted) {
  std::vector<LoggedModel> one;
  MR_CHECK(c.query(fmt::format("SELECT {} FROM logged_models l WHERE l.model_id = ?", kModelColumns), kModelTypes, {id},
                   [&](const sql::Row& r) { one.push_back(logged_model_of(r)); }));
  if (one.empty() || (one[0].lifecycle_stage != "active" && !allow_deleted))
    return missing(fmt::format("Logged model with ID '{}' not found.", id));
  MR_CHECK(load_data(c, one));
  return std::move(one[0]);
}

Result<LoggedModel> finalize_logged_model(sql::Connection& c, const std::string& id, ModelStatus status) {
  MR_CHECK(get_logged_model(c, id, true));
  MR_CHECK(c.exec("UPDATE logged_models SET status = ?, last_updated_timestamp_ms = ? WHERE model_id = ?",
                  static_cast<int>(status), time::now_ms(), id));
  return get_logged_model(c, id, true);
}

Result<> log_model_params(sql::Connection& c, const std::string& id, const Params& params) {
  MR_TRY(auto m, get_logged_model(c, id, true));
  return insert_pairs(c, m, params, {});
}

Result<> set_model_tags(sql::Connection& c, const std::string& id, const Tags& tags) {
  MR_TRY(auto m, get_logged_model(c, id, true));
  for (const auto& t : tags)
    MR_CHECK(
        c.exec("INSERT INTO logged_model_tags (model_id, experiment_id, tag_key, tag_value) VALUES (?, ?, ?, ?) ON "
               "CONFLICT (model_id, tag_key) DO UPDATE SET tag_value = excluded.tag_value",
               id, m.experiment_id, t.key, t.value));
  return {};
}

Result<> delete_model_tag(sql::Connection& c, const std::string& id, const std::string& key) {
  MR_CHECK(get_logged_model(c, id, true));
  MR_TRY(auto n, c.exec("DELETE FROM logged_model_tags WHERE model_id = ? AND tag_key = ?", id, key));
  if (n == 0)
    return missing(fmt::format("No tag with key {} found for model with ID {}.", python_repr(key), python_repr(id)));
  return {};
}

Result<> delete_logged_model(sql::Connection& c, const std::string& id) {
  MR_CHECK(get_logged_model(c, id, true));
  MR_CHECK(
      c.exec("UPDATE logged_models SET lifecycle_stage = 'deleted', last_updated_timestamp_ms = ? WHERE model_id = ?",
             time::now_ms(), id));
  return {};
}

Result<Page<LoggedModel>> search_logged_models(sql::Connection& c, const SearchSql& s,
                                               const std::vector<std::int64_t>& experiments, std::int64_t max,
                                               std::int64_t offset) {
  Page<LoggedModel> page;
  if (experiments.empty()) return page;
  SqlText q;
  q.add(fmt::format("SELECT {} FROM logged_models l", kModelColumns));
  q.append(s.joins);
  q.add(" WHERE l.lifecycle_stage != 'deleted' AND l.experiment_id IN (");
  for (std::size_t i = 0; i < experiments.size(); ++i) {
    q.add(i > 0 ? ",?" : "?");
    q.arg(experiments[i]);
  }
  q.add(")");
  q.append(s.where);
  q.add(fmt::format(" ORDER BY {} LIMIT ? OFFSET ?", s.order));
  q.arg(max + 1);
  q.arg(offset);
  MR_CHECK(
      c.query(q.sql, kModelTypes, q.bound(), [&](const sql::Row& r) { page.items.push_back(logged_model_of(r)); }));
  if (page.items.size() > static_cast<std::size_t>(max)) {
    page.items.pop_back();
    page.next_token = "more";  // the caller binds the token to the query
  }
  MR_CHECK(load_data(c, page.items));
  return page;
}

}  // namespace mr::tracking::store
