#include "crypto/random.h"
#include "pipelines/store_parts.h"
#include "time/clock.h"

namespace mr::pipelines {

namespace {
constexpr std::string_view recurring_columns =
    "id, name, description, ns, experiment_id, service_account, pipeline_id, version_id, parameters, pipeline_root, "
    "cron, "
    "interval_s, start_ms, end_ms, max_concurrency, enabled, no_catchup, created_ms, updated_ms, last_ms, next_index, "
    "plugins_input, spec";
constexpr std::string_view recurring_types = "sssssssssssiiiiiiiiiiss";
constexpr std::size_t recurring_spec = 22;

// The spec's hash stands in for the spec until complete_recurring() loads it.
RecurringRun read_recurring(const sql::Row& r) {
  RecurringRun j;
  j.id = r.text(0);
  j.name = r.text(1);
  j.description = r.text(2);
  j.ns = r.text(3);
  j.experiment_id = r.text(4);
  j.service_account = r.text(5);
  j.pipeline_id = r.text(6);
  j.version_id = r.text(7);
  j.parameters = rows::text_object(r.text(8));
  j.pipeline_root = r.text(9);
  j.cron = r.text(10);
  j.interval_s = r.i64(11);
  j.kind = !j.cron.empty() ? TriggerKind::cron : j.interval_s > 0 ? TriggerKind::periodic : TriggerKind::none;
  j.start_ms = r.i64(12);
  j.end_ms = r.i64(13);
  j.max_concurrency = r.i64(14);
  j.enabled = r.i64(15) != 0;
  j.no_catchup = r.i64(16) != 0;
  j.created_ms = r.i64(17);
  j.updated_ms = r.i64(18);
  j.last_ms = r.i64(19);
  j.next_index = r.i64(20);
  j.plugins_input = rows::text_object(r.text(21));
  j.spec = r.text(recurring_spec);
  return j;
}

Result<> complete_recurring(sql::Connection& c, RecurringRun& j) {
  const std::string hash(j.spec.get_string());
  MR_TRY(j.spec, rows::load_spec(c, hash));
  return {};
}

Result<RecurringRun> load_recurring(sql::Connection& c, const std::string& id, bool spec = true) {
  std::optional<RecurringRun> j;
  MR_CHECK(c.query(fmt::format("SELECT {} FROM recurring_runs WHERE id = ?", recurring_columns), recurring_types, {id},
                   [&](const sql::Row& r) { j = read_recurring(r); }));
  if (!j) return rows::missing("Job", id);
  if (spec) MR_CHECK(complete_recurring(c, *j));
  return *std::move(j);
}
}  // namespace

task::Task<Result<RecurringRun>> Store::create_recurring(RecurringRun r) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<RecurringRun> {
    if (r.id.empty()) r.id = crypto::uuid4();
    if (r.created_ms == 0) r.created_ms = time::now_ms();
    if (r.updated_ms == 0) r.updated_ms = r.created_ms;
    MR_TRY(auto spec, rows::keep_spec(c, r.spec));
    MR_CHECK(
        c.exec("INSERT INTO recurring_runs (id, name, description, ns, experiment_id, service_account, pipeline_id, "
               "version_id, "
               "parameters, pipeline_root, cron, interval_s, start_ms, end_ms, max_concurrency, enabled, no_catchup, "
               "created_ms, updated_ms, last_ms, next_index, plugins_input, spec) "
               "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
               r.id, r.name, r.description, r.ns, r.experiment_id, r.service_account, r.pipeline_id, r.version_id,
               rows::object_text(r.parameters), r.pipeline_root, r.cron, r.interval_s, r.start_ms, r.end_ms,
               r.max_concurrency, r.enabled ? 1 : 0, r.no_catchup ? 1 : 0, r.created_ms, r.updated_ms, r.last_ms,
               r.next_index, rows::object_text(r.plugins_input), spec));
    return std::move(r);
  });
}

Result<RecurringRun> Store::recurring(const std::string& id, bool spec) {
  return db_->read([&](sql::Connection& c) { return load_recurring(c, id, spec); });
}

Result<Page<RecurringRun>> Store::recurring_runs(const ListQuery& q) {
  return db_->read([&](sql::Connection& c) -> Result<Page<RecurringRun>> {
    SqlText scope;
    if (!q.experiment_id.empty()) {
      scope.add("experiment_id = ?");
      scope.text(q.experiment_id);
    } else {
      scope = rows::ns_scope(q.ns);
    }
    MR_TRY(auto page,
           list_page<RecurringRun>(c, kRecurringRuns, q, recurring_columns, recurring_types, scope, read_recurring));
    for (auto& j : page.items) MR_CHECK(complete_recurring(c, j));
    return page;
  });
}

Result<std::vector<RecurringRun>> Store::enabled_recurring() {
  return db_->read([&](sql::Connection& c) -> Result<std::vector<RecurringRun>> {
    std::vector<RecurringRun> out;
    MR_CHECK(c.query(fmt::format("SELECT {} FROM recurring_runs WHERE enabled = 1 ORDER BY n", recurring_columns),
                     recurring_types, {}, [&](const sql::Row& r) { out.push_back(read_recurring(r)); }));
    for (auto& j : out) MR_CHECK(complete_recurring(c, j));
    return out;
  });
}

task::Task<Result<>> Store::set_recurring_enabled(std::string id, bool enabled, std::int64_t now_ms) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<> {
    MR_CHECK(load_recurring(c, id));
    // updated_ms tells from when on times count again, so only a real change moves it.
    MR_CHECK(c.exec("UPDATE recurring_runs SET enabled = ?, updated_ms = ? WHERE id = ? AND enabled <> ?",
                    enabled ? 1 : 0, now_ms, id, enabled ? 1 : 0));
    return {};
  });
}

task::Task<Result<>> Store::delete_recurring(std::string id) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<> {
    std::optional<std::string> spec;
    MR_CHECK(c.query("SELECT spec FROM recurring_runs WHERE id = ?", "s", {id},
                     [&](const sql::Row& r) { spec = r.text(0); }));
    if (!spec) return rows::missing("Job", id);
    MR_CHECK(c.exec("DELETE FROM recurring_runs WHERE id = ?", id));
    return rows::drop_spec(c, *spec);
  });
}

task::Task<Result<Run>> Store::create_scheduled(std::string recurring_id, Run r, std::int64_t last_ms,
                                                std::int64_t next_index) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<Run> {
    MR_TRY(auto n, c.exec("UPDATE recurring_runs SET last_ms = ?, next_index = ? WHERE id = ?", last_ms, next_index,
                          recurring_id));
    if (n == 0) return rows::missing("Job", recurring_id);
    r.recurring_run_id = recurring_id;
    std::string made;
    MR_CHECK(c.query("SELECT id FROM runs WHERE recurring_run_id = ? AND name = ? AND recurring_run_id <> ''", "s",
                     {recurring_id, r.name}, [&](const sql::Row& row) { made = row.text(0); }));
    if (!made.empty()) {
      MR_TRY(auto run, rows::find_run(c, made));
      return *std::move(run);
    }
    MR_CHECK(rows::insert_run(c, r));
    return std::move(r);
  });
}

Result<std::int64_t> Store::active_runs_of(const std::string& recurring_id) {
  return db_->read([&](sql::Connection& c) -> Result<std::int64_t> {
    std::int64_t n = 0;
    MR_CHECK(
        c.query("SELECT COUNT(*) FROM runs WHERE recurring_run_id = ? AND recurring_run_id <> '' "
                "AND state IN ('PENDING', 'RUNNING', 'CANCELING')",
                "i", {recurring_id}, [&](const sql::Row& r) { n = r.i64(0); }));
    return n;
  });
}

}  // namespace mr::pipelines
