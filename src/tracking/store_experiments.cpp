#include "time/clock.h"
#include "tracking/errors.h"
#include "tracking/store.h"
#include "tracking/validate.h"

namespace mr::tracking::store {

namespace {

constexpr std::string_view kExperimentColumns =
    "e.experiment_id, e.name, e.artifact_location, e.lifecycle_stage, e.creation_time, e.last_update_time";

Experiment experiment_of(const sql::Row& r) {
  Experiment e;
  e.id = r.i64(0);
  e.name = r.text(1);
  e.artifact_location = r.text(2);
  e.lifecycle_stage = r.text(3);
  e.creation_time = r.i64(4);
  e.last_update_time = r.i64(5);
  return e;
}

Result<> load_tags(sql::Connection& c, Experiment& e) {
  return c.query("SELECT key, value FROM experiment_tags WHERE experiment_id = ? ORDER BY rowid", "ss", {e.id},
                 [&](const sql::Row& r) { e.tags.push_back({r.text(0), r.text(1)}); });
}

std::unexpected<Error> no_experiment(std::int64_t id) {
  return missing(fmt::format("No Experiment with id={} exists", id));
}

Result<> set_lifecycle(sql::Connection& c, std::int64_t id, bool deleted) {
  MR_TRY(auto e, get_experiment(c, id));
  if ((e.lifecycle_stage == "active") != deleted) return no_experiment(id);
  auto now = time::now_ms();
  auto stage = deleted ? "deleted" : "active";
  MR_CHECK(c.exec("UPDATE experiments SET lifecycle_stage = ?, last_update_time = ? WHERE experiment_id = ?", stage,
                  now, id));
  MR_CHECK(c.exec("UPDATE runs SET lifecycle_stage = ?, deleted_time = ? WHERE experiment_id = ?", stage,
                  deleted ? std::optional(now) : std::nullopt, id));
  return {};
}

}  // namespace

Result<std::int64_t> create_experiment(sql::Connection& c, const std::string& name, const std::string& location,
                                       const std::string& root, const Tags& tags) {
  auto now = time::now_ms();
  std::int64_t id = 0;
  auto inserted = c.exec(
      "INSERT INTO experiments (name, artifact_location, lifecycle_stage, creation_time, last_update_time, workspace) "
      "VALUES (?, ?, 'active', ?, ?, 'default')",
      name, location, now, now);
  if (!inserted && inserted.error().reason == "CONSTRAINT")
    return exists(
        fmt::format("Experiment(name={}) already exists. Error: (sqlite3.IntegrityError) UNIQUE constraint failed: "
                    "experiments.workspace, experiments.name",
                    name));
  if (!inserted) return std::unexpected(inserted.error());
  MR_CHECK(c.query("SELECT last_insert_rowid()", "i", {}, [&](const sql::Row& r) { id = r.i64(0); }));
  if (location.empty())
    MR_CHECK(c.exec("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?",
                    join_uri(root, std::to_string(id)), id));
  for (const auto& t : tags) {
    auto r = c.exec("INSERT INTO experiment_tags (key, value, experiment_id) VALUES (?, ?, ?)", t.key, t.value, id);
    if (!r && r.error().reason == "CONSTRAINT")
      return bad_request(fmt::format("The tag key {} is given more than once", python_repr(t.key)));
    if (!r) return std::unexpected(r.error());
  }
  return id;
}

Result<Experiment> get_experiment(sql::Connection& c, std::int64_t id) {
  std::optional<Experiment> e;
  MR_CHECK(c.query(fmt::format("SELECT {} FROM experiments e WHERE e.experiment_id = ?", kExperimentColumns), "isssii",
                   {id}, [&](const sql::Row& r) { e = experiment_of(r); }));
  if (!e) return no_experiment(id);
  MR_CHECK(load_tags(c, *e));
  return *std::move(e);
}

Result<Experiment> get_experiment_by_name(sql::Connection& c, const std::string& name) {
  std::optional<Experiment> e;
  MR_CHECK(c.query(
      fmt::format("SELECT {} FROM experiments e WHERE e.workspace = 'default' AND e.name = ?", kExperimentColumns),
      "isssii", {name}, [&](const sql::Row& r) { e = experiment_of(r); }));
  if (!e) return missing(fmt::format("Could not find experiment with name '{}'", name));
  MR_CHECK(load_tags(c, *e));
  return *std::move(e);
}

Result<Experiment> active_experiment(sql::Connection& c, std::int64_t id) {
  MR_TRY(auto e, get_experiment(c, id));
  if (e.lifecycle_stage != "active")
    return invalid(
        fmt::format("The experiment {} must be in the 'active' state. Current state is {}.", id, e.lifecycle_stage));
  return e;
}

Result<> delete_experiment(sql::Connection& c, std::int64_t id) { return set_lifecycle(c, id, true); }
Result<> restore_experiment(sql::Connection& c, std::int64_t id) { return set_lifecycle(c, id, false); }

Result<> rename_experiment(sql::Connection& c, std::int64_t id, const std::string& name) {
  MR_TRY(auto e, get_experiment(c, id));
  if (e.lifecycle_stage != "active") return invalid_state("Cannot rename a non-active experiment.");
  auto r =
      c.exec("UPDATE experiments SET name = ?, last_update_time = ? WHERE experiment_id = ?", name, time::now_ms(), id);
  if (!r && r.error().reason == "CONSTRAINT")
    return bad_request("(sqlite3.IntegrityError) UNIQUE constraint failed: experiments.workspace, experiments.name");
  if (!r) return std::unexpected(r.error());
  return {};
}

Result<> set_experiment_tag(sql::Connection& c, std::int64_t id, const KeyValue& t) {
  MR_CHECK(active_experiment(c, id));
  MR_CHECK(
      c.exec("INSERT INTO experiment_tags (key, value, experiment_id) VALUES (?, ?, ?) ON CONFLICT (key, "
             "experiment_id) DO UPDATE SET value = excluded.value",
             t.key, t.value, id));
  return {};
}

Result<> delete_experiment_tag(sql::Connection& c, std::int64_t id, const std::string& key) {
  MR_CHECK(active_experiment(c, id));
  MR_TRY(auto n, c.exec("DELETE FROM experiment_tags WHERE key = ? AND experiment_id = ?", key, id));
  if (n == 0) return missing(fmt::format("No tag with name: {} in experiment with id {}", key, id));
  return {};
}

Result<Page<Experiment>> search_experiments(sql::Connection& c, const SearchSql& s, ViewType view, std::int64_t max,
                                            std::int64_t offset) {
  SqlText q;
  q.add(fmt::format("SELECT {} FROM experiments e WHERE e.workspace = 'default' AND e.lifecycle_stage IN ({})",
                    kExperimentColumns,
                    view == ViewType::active_only    ? "'active'"
                    : view == ViewType::deleted_only ? "'deleted'"
                                                     : "'active','deleted'"));
  q.append(s.where);
  q.add(fmt::format(" ORDER BY {} LIMIT ? OFFSET ?", s.order));
  q.arg(max + 1);
  q.arg(offset);
  Page<Experiment> page;
  MR_CHECK(c.query(q.sql, "isssii", q.bound(), [&](const sql::Row& r) { page.items.push_back(experiment_of(r)); }));
  if (page.items.size() > static_cast<std::size_t>(max)) {
    page.items.pop_back();
    page.next_token = page_token(offset + max);
  }
  for (auto& e : page.items) MR_CHECK(load_tags(c, e));
  return page;
}

}  // namespace mr::tracking::store
