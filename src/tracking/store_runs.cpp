#include "crypto/random.h"
#include "time/clock.h"
#include "tracking/errors.h"
#include "tracking/store.h"
#include "tracking/validate.h"

namespace mr::tracking::store {

namespace {

constexpr std::string_view kRunColumns =
    "r.run_uuid, r.experiment_id, r.name, r.user_id, r.status, r.start_time, r.end_time, r.artifact_uri, "
    "r.lifecycle_stage";
constexpr std::string_view kRunTypes = "sisssiiss";

RunInfo run_of(const sql::Row& r) {
  RunInfo i;
  i.run_id = r.text(0);
  i.experiment_id = r.i64(1);
  i.run_name = r.text(2);
  i.user_id = r.text(3);
  i.status = r.text(4);
  i.start_time = r.i64(5);
  i.end_time = r.opt_i64(6);
  i.artifact_uri = r.text(7);
  i.lifecycle_stage = r.text(8);
  return i;
}

// Fills metrics, params, tags, inputs and outputs of the runs, which have distinct ids.
Result<> load_data(sql::Connection& c, std::vector<Run>& runs, bool models) {
  std::unordered_map<std::string, Run*> by_id;
  std::vector<std::string> ids;
  for (auto& r : runs) {
    by_id[r.info.run_id] = &r;
    ids.push_back(r.info.run_id);
  }
  MR_CHECK(for_id_groups(ids, [&](const std::string& in, std::span<const sql::Arg> args) -> Result<> {
    MR_CHECK(c.query("SELECT run_uuid, key, value, timestamp, step, is_nan FROM latest_metrics WHERE run_uuid IN " +
                         in + " ORDER BY rowid",
                     "ssdiii", args, [&](const sql::Row& r) {
                       Metric m;
                       m.key = r.text(1);
                       m.value = r.real(2);
                       m.timestamp = r.i64(3);
                       m.step = r.i64(4);
                       m.is_nan = r.i64(5) != 0;
                       by_id[r.text(0)]->metrics.push_back(std::move(m));
                     }));
    MR_CHECK(c.query("SELECT run_uuid, key, value FROM params WHERE run_uuid IN " + in + " ORDER BY rowid", "sss", args,
                     [&](const sql::Row& r) { by_id[r.text(0)]->params.push_back({r.text(1), r.text(2)}); }));
    return c.query("SELECT run_uuid, key, value FROM tags WHERE run_uuid IN " + in + " ORDER BY rowid", "sss", args,
                   [&](const sql::Row& r) { by_id[r.text(0)]->tags.push_back({r.text(1), r.text(2)}); });
  }));
  return load_inputs(c, runs, models);
}

// " WHERE …": the runs of these experiments in these stages of life.
SqlText of_experiments(const std::vector<std::int64_t>& experiments, ViewType view) {
  SqlText q;
  q.add(" WHERE r.experiment_id IN (");
  for (std::size_t i = 0; i < experiments.size(); ++i) {
    q.add(i > 0 ? ",?" : "?");
    q.arg(experiments[i]);
  }
  q.add(fmt::format(") AND r.lifecycle_stage IN ({})", view == ViewType::active_only    ? "'active'"
                                                       : view == ViewType::deleted_only ? "'deleted'"
                                                                                        : "'active','deleted'"));
  return q;
}

}  // namespace

Result<Run> create_run(sql::Connection& c, const NewRun& n) {
  MR_TRY(auto e, active_experiment(c, n.experiment_id));
  Run run;
  run.tags = n.tags;
  auto tag =
      std::find_if(run.tags.begin(), run.tags.end(), [](const KeyValue& t) { return t.key == "mlflow.runName"; });
  std::string tag_name = tag == run.tags.end() ? "" : tag->value;
  if (!n.run_name.empty() && !tag_name.empty() && n.run_name != tag_name)
    return invalid(
        fmt::format("Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values "
                    "(run_name='{}', mlflow.runName='{}').",
                    n.run_name, tag_name));
  auto name = !n.run_name.empty() ? n.run_name : !tag_name.empty() ? tag_name : generate_name();
  if (tag == run.tags.end())
    run.tags.push_back({"mlflow.runName", name});
  else
    tag->value = name;
  auto& i = run.info;
  i.run_id = crypto::random_hex(16);
  i.experiment_id = n.experiment_id;
  i.run_name = name;
  i.user_id = n.user_id;
  i.start_time = n.start_time;
  i.artifact_uri = join_uri(e.artifact_location, i.run_id + "/artifacts");
  MR_CHECK(
      c.exec("INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, "
             "start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id, deleted_time) "
             "VALUES (?, ?, 'UNKNOWN', '', '', ?, 'RUNNING', ?, NULL, '', 'active', ?, ?, NULL)",
             i.run_id, i.run_name, i.user_id, i.start_time, i.artifact_uri, i.experiment_id));
  for (const auto& t : run.tags) {
    auto r = c.exec("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", t.key, t.value, i.run_id);
    if (!r && r.error().reason == "CONSTRAINT")
      return bad_request(fmt::format("The tag key {} is given more than once", python_repr(t.key)));
    if (!r) return std::unexpected(r.error());
  }
  return run;
}

Result<RunInfo> run_info(sql::Connection& c, const std::string& run_id) {
  std::optional<RunInfo> i;
  MR_CHECK(
      c.query("SELECT r.run_uuid, r.experiment_id, r.name, r.user_id, r.status, r.start_time, r.end_time, "
              "r.artifact_uri, r.lifecycle_stage FROM runs r WHERE r.run_uuid = ?",
              kRunTypes, {run_id}, [&](const sql::Row& r) { i = run_of(r); }));
  if (!i) return missing(fmt::format("Run with id={} not found", run_id));
  return *std::move(i);
}

Result<RunInfo> active_run(sql::Connection& c, const std::string& run_id) {
  MR_TRY(auto i, run_info(c, run_id));
  if (i.lifecycle_stage != "active")
    return invalid(
        fmt::format("The run {} must be in the 'active' state. Current state is {}.", run_id, i.lifecycle_stage));
  return i;
}

Result<RunInfo> update_run(sql::Connection& c, const std::string& run_id, const RunUpdate& u) {
  MR_TRY(auto i, active_run(c, run_id));
  if (u.status) i.status = *u.status;
  if (u.end_time) i.end_time = u.end_time;
  if (!u.run_name.empty()) i.run_name = u.run_name;
  MR_CHECK(c.exec("UPDATE runs SET status = ?, end_time = ?, name = ? WHERE run_uuid = ?", i.status, i.end_time,
                  i.run_name, run_id));
  if (!u.run_name.empty())
    MR_CHECK(
        c.exec("INSERT INTO tags (key, value, run_uuid) VALUES ('mlflow.runName', ?, ?) ON CONFLICT (key, run_uuid) DO "
               "UPDATE SET value = excluded.value",
               u.run_name, run_id));
  return i;
}

Result<> set_run_lifecycle(sql::Connection& c, const std::string& run_id, bool deleted) {
  MR_CHECK(run_info(c, run_id));
  MR_CHECK(c.exec("UPDATE runs SET lifecycle_stage = ?, deleted_time = ? WHERE run_uuid = ?",
                  deleted ? "deleted" : "active", deleted ? std::optional(time::now_ms()) : std::nullopt, run_id));
  return {};
}

Result<Run> get_run(sql::Connection& c, const std::string& run_id) {
  std::vector<Run> one(1);
  MR_TRY(one[0].info, run_info(c, run_id));
  MR_CHECK(load_data(c, one, true));
  return std::move(one[0]);
}

Result<Page<Run>> search_runs(sql::Connection& c, const SearchSql& s, const std::vector<std::int64_t>& experiments,
                              ViewType view, std::int64_t max, std::int64_t offset) {
  Page<Run> page;
  if (experiments.empty()) return page;
  SqlText q;
  q.add(fmt::format("SELECT {} FROM runs r", kRunColumns));
  q.append(s.joins);
  q.append(of_experiments(experiments, view));
  q.append(s.where);
  q.add(fmt::format(" ORDER BY {} LIMIT ? OFFSET ?", s.order));
  q.arg(max + 1);
  q.arg(offset);
  MR_CHECK(c.query(q.sql, kRunTypes, q.bound(), [&](const sql::Row& r) { page.items.push_back({.info = run_of(r)}); }));
  if (page.items.size() > static_cast<std::size_t>(max)) {
    page.items.pop_back();
    page.next_token = page_token(offset + max);
  }
  MR_CHECK(load_data(c, page.items, false));
  return page;
}

Result<Page<RunGroup>> group_runs(sql::Connection& c, const GroupSql& g, std::size_t metrics,
                                  const std::vector<std::int64_t>& experiments, ViewType view, std::int64_t max,
                                  std::int64_t offset) {
  Page<RunGroup> page;
  if (experiments.empty()) return page;
  SqlText q;
  q.add(fmt::format("SELECT {}, COUNT(*), MAX(r.start_time){} FROM runs r", g.value, g.columns));
  q.append(g.joins);
  q.append(of_experiments(experiments, view));
  q.append(g.where);
  q.add(fmt::format(" GROUP BY {} ORDER BY {} LIMIT ? OFFSET ?", g.value, g.order));
  q.arg(max + 1);
  q.arg(offset);
  std::string types = "sii";
  for (std::size_t i = 0; i < metrics; ++i) types += "iddd";
  MR_CHECK(c.query(q.sql, types, q.bound(), [&](const sql::Row& r) {
    auto real = [&](std::size_t i) { return r.null(i) ? std::nullopt : std::optional(r.real(i)); };
    RunGroup group{.value = r.opt_text(0), .count = r.i64(1), .last_start = r.opt_i64(2), .metrics = {}};
    for (std::size_t i = 3; i < 3 + 4 * metrics; i += 4)
      group.metrics.push_back({r.i64(i), real(i + 1), real(i + 2), real(i + 3)});
    page.items.push_back(std::move(group));
  }));
  if (page.items.size() > static_cast<std::size_t>(max)) {
    page.items.pop_back();
    page.next_token = page_token(offset + max);
  }
  return page;
}

Result<> set_tag(sql::Connection& c, const std::string& run_id, const KeyValue& t) {
  MR_CHECK(active_run(c, run_id));
  if (t.key == "mlflow.runName") {
    RunUpdate u;
    u.run_name = t.value;
    MR_CHECK(update_run(c, run_id, u));
    return {};
  }
  MR_CHECK(
      c.exec("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?) ON CONFLICT (key, run_uuid) DO UPDATE SET value "
             "= excluded.value",
             t.key, t.value, run_id));
  return {};
}

Result<> delete_tag(sql::Connection& c, const std::string& run_id, const std::string& key) {
  MR_CHECK(active_run(c, run_id));
  MR_TRY(auto n, c.exec("DELETE FROM tags WHERE key = ? AND run_uuid = ?", key, run_id));
  if (n == 0) return missing(fmt::format("No tag with name: {} in run with id {}", key, run_id));
  return {};
}

Result<> log_param(sql::Connection& c, const std::string& run_id, const KeyValue& p) {
  MR_CHECK(active_run(c, run_id));
  MR_TRY(auto n,
         c.exec("INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?) ON CONFLICT (key, run_uuid) DO NOTHING",
                p.key, p.value, run_id));
  if (n > 0) return {};
  std::string old;
  MR_CHECK(c.query("SELECT value FROM params WHERE key = ? AND run_uuid = ?", "s", {p.key, run_id},
                   [&](const sql::Row& r) { old = r.text(0); }));
  if (old == p.value) return {};
  return invalid(
      fmt::format("Changing param values is not allowed. Param with key='{}' was already logged with value='{}' for "
                  "run ID='{}'. Attempted logging new value '{}'.",
                  p.key, old, run_id, p.value));
}

}  // namespace mr::tracking::store
