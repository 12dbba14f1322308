#include "crypto/random.h"
#include "pipelines/store_parts.h"
#include "time/clock.h"

namespace mr::pipelines {

const std::string_view rows::kRunColumns =
    "id, experiment_id, name, resource_name, ns, description, service_account, recurring_run_id, pipeline_id, "
    "version_id, pipeline_name, storage_state, parameters, pipeline_root, created_ms, scheduled_ms, finished_ms, "
    "state, "
    "error, history, plugins_input, plugins_output, spec";
const std::string_view rows::kRunTypes = "ssssssssssssssiiissssss";

Run rows::read_run(const sql::Row& r) {
  Run run;
  run.id = r.text(0);
  run.experiment_id = r.text(1);
  run.name = r.text(2);
  run.resource_name = r.text(3);
  run.ns = r.text(4);
  run.description = r.text(5);
  run.service_account = r.text(6);
  run.recurring_run_id = r.text(7);
  run.pipeline_id = r.text(8);
  run.version_id = r.text(9);
  run.pipeline_name = r.text(10);
  run.archived = r.text(11) == "ARCHIVED";
  run.parameters = text_object(r.text(12));
  run.pipeline_root = r.text(13);
  run.created_ms = r.i64(14);
  run.scheduled_ms = r.i64(15);
  run.finished_ms = r.i64(16);
  run.state = parse_state(r.text(17)).value_or(State::unspecified);
  run.error = text_error(r.text(18));
  run.history = text_history(r.text(19));
  run.plugins_input = text_object(r.text(20));
  run.plugins_output = text_object(r.text(21));
  return run;
}

Result<> rows::insert_run(sql::Connection& c, Run& run) {
  if (run.id.empty()) run.id = crypto::uuid4();
  if (run.created_ms == 0) run.created_ms = time::now_ms();
  MR_TRY(auto spec, keep_spec(c, run.spec));
  MR_CHECK(c.exec(
      "INSERT INTO runs (id, experiment_id, name, resource_name, ns, description, service_account, recurring_run_id, "
      "pipeline_id, version_id, pipeline_name, storage_state, parameters, pipeline_root, created_ms, scheduled_ms, "
      "finished_ms, state, error, history, plugins_input, plugins_output, spec) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      run.id, run.experiment_id, run.name, run.resource_name, run.ns, run.description, run.service_account,
      run.recurring_run_id, run.pipeline_id, run.version_id, run.pipeline_name, stored(run.archived),
      object_text(run.parameters), run.pipeline_root, run.created_ms, run.scheduled_ms, run.finished_ms,
      state_name(run.state), error_text(run.error), history_text(run.history), object_text(run.plugins_input),
      object_text(run.plugins_output), spec));
  MR_CHECK(c.exec("UPDATE experiments SET last_run_ms = max(last_run_ms, ?) WHERE id = ?", run.created_ms,
                  run.experiment_id));
  return {};
}

Result<std::optional<Run>> rows::find_run(sql::Connection& c, const std::string& id) {
  std::optional<Run> run;
  std::string spec;
  MR_CHECK(
      c.query(fmt::format("SELECT {} FROM runs WHERE id = ?", kRunColumns), kRunTypes, {id}, [&](const sql::Row& r) {
        run = read_run(r);
        spec = r.text(kRunSpec);
      }));
  if (run) {
    MR_TRY(run->spec, load_spec(c, spec));
  }
  return run;
}

namespace {

Result<Page<Run>> list_runs(sql::Connection& c, const ListQuery& q) {
  SqlText scope;
  if (!q.experiment_id.empty()) {
    scope.add("experiment_id = ?");
    scope.text(q.experiment_id);
  } else {
    scope = rows::ns_scope(q.ns);
  }
  // The usual filters are counted from the table of counts, whose columns have the same names.
  std::optional<SqlText> count;
  if (only_fields(q, {"state", "status", "storage_state", "experiment_id", "namespace"})) {
    MR_TRY(auto predicates, predicates_sql(kRuns, q));
    count.emplace();
    count->add("SELECT COALESCE(SUM(amount), 0) FROM run_counts WHERE ");
    count->append(scope);
    count->append(predicates);
  }
  return list_page<Run>(c, kRuns, q, rows::kRunColumns, rows::kRunTypes, scope, rows::read_run,
                        count ? &*count : nullptr);
}

}  // namespace

task::Task<Result<Run>> Store::create_run(Run r) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<Run> {
    auto made = rows::insert_run(c, r);
    if (!made && rows::is_duplicate(made.error()))
      return fail(Code::already_exists, fmt::format("Failed to create a new run. The run {} already exists", r.name),
                  "AlreadyExists");
    if (!made) return std::unexpected(made.error());
    return std::move(r);
  });
}

Result<Run> Store::run(const std::string& id) {
  return db_->read([&](sql::Connection& c) -> Result<Run> {
    MR_TRY(auto run, rows::find_run(c, id));
    if (!run) return rows::missing("Run", id);
    return *std::move(run);
  });
}

Result<Page<Run>> Store::runs(const ListQuery& q) {
  return db_->read([&](sql::Connection& c) { return list_runs(c, q); });
}

task::Task<Result<Page<Run>>> Store::find_runs(ListQuery q) {
  static constexpr std::string_view indexed[] = {"created_at", "display_name", "name", "finished_at", "scheduled_at"};
  if (q.any_of.empty() && std::ranges::find(indexed, q.sort_key) != std::end(indexed) &&
      only_fields(q, {"run_id", "id", "state", "status", "storage_state", "experiment_id", "namespace"}))
    co_return runs(q);
  co_return co_await db_->scan([&q](sql::Connection& c) { return list_runs(c, q); });
}

task::Task<Result<>> Store::set_run_archived(std::string id, bool archived) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<> {
    MR_TRY(auto n, c.exec("UPDATE runs SET storage_state = ? WHERE id = ?", rows::stored(archived), id));
    if (n == 0) return rows::missing("Run", id);
    return {};
  });
}

task::Task<Result<>> Store::delete_run(std::string id) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<> {
    std::optional<std::string> spec;
    MR_CHECK(c.query("SELECT spec FROM runs WHERE id = ?", "s", {id}, [&](const sql::Row& r) { spec = r.text(0); }));
    if (!spec) return rows::missing("Run", id);
    for (const auto* table : {"events", "artifact_uses", "cache"})
      MR_CHECK(c.exec(fmt::format("DELETE FROM {} WHERE run_id = ?", table), id));
    MR_CHECK(c.exec("DELETE FROM runs WHERE id = ?", id));
    return rows::drop_spec(c, *spec);
  });
}

task::Task<Result<std::vector<std::string>>> Store::unknown_runs(std::vector<std::string> ids) {
  co_return co_await db_->scan([&ids](sql::Connection& c) -> Result<std::vector<std::string>> {
    std::vector<std::string> out;
    for (const auto& id : ids) {
      bool there = false;
      MR_CHECK(c.query("SELECT 1 FROM runs WHERE id = ?", "i", {id}, [&](const sql::Row&) { there = true; }));
      if (!there) out.push_back(id);
    }
    return out;
  });
}

Result<std::vector<std::string>> Store::unfinished_runs() {
  return db_->read([&](sql::Connection& c) -> Result<std::vector<std::string>> {
    std::vector<std::string> ids;
    MR_CHECK(c.query("SELECT id FROM runs WHERE state IN ('PENDING', 'RUNNING', 'CANCELING') ORDER BY created_ms, n",
                     "s", {}, [&](const sql::Row& r) { ids.push_back(r.text(0)); }));
    return ids;
  });
}

task::Task<Result<>> Store::append(std::string run_id, std::vector<Event> events, State state, std::int64_t finished_ms,
                                   std::optional<Error> error, std::vector<StateChange> history) {
  // Texts are made here, not on the one thread of all writes.
  std::vector<std::string> docs;
  docs.reserve(events.size());
  for (const auto& e : events) docs.push_back(json::serialize(to_json(e)));
  const auto error_doc = rows::error_text(error), history_doc = rows::history_text(history);
  co_return co_await db_->write([&](sql::Connection& c) -> Result<> {
    MR_TRY(auto n, c.exec("UPDATE runs SET state = ?, finished_ms = ?, error = ?, history = ? WHERE id = ?",
                          state_name(state), finished_ms, error_doc, history_doc, run_id));
    if (n == 0) return rows::missing("Run", run_id);
    if (docs.empty()) return {};
    std::int64_t seq = 0;
    MR_CHECK(c.query("SELECT COALESCE(MAX(seq), 0) FROM events WHERE run_id = ?", "i", {run_id},
                     [&](const sql::Row& r) { seq = r.i64(0); }));
    for (const auto& doc : docs)
      MR_CHECK(c.exec("INSERT INTO events (run_id, seq, doc) VALUES (?, ?, ?)", run_id, ++seq, doc));
    return {};
  });
}

Result<std::vector<Event>> Store::events(const std::string& run_id) {
  return db_->read([&](sql::Connection& c) -> Result<std::vector<Event>> {
    std::vector<Event> out;
    std::optional<Error> bad;
    MR_CHECK(c.query("SELECT doc FROM events WHERE run_id = ? ORDER BY seq", "s", {run_id}, [&](const sql::Row& r) {
      auto v = json::parse(r.text(0), 512);
      auto e = v ? event_from_json(*v) : Result<Event>(std::unexpected(v.error()));
      if (e)
        out.push_back(*std::move(e));
      else if (!bad)
        bad = e.error();
    }));
    if (bad) return fail(Code::data_loss, "an event of the run cannot be read", {}, bad->message);
    return out;
  });
}

task::Task<Result<>> Store::set_plugins_output(std::string run_id, Object plugins_output) {
  const auto doc = rows::object_text(plugins_output);
  co_return co_await db_->write([&](sql::Connection& c) -> Result<> {
    MR_TRY(auto n, c.exec("UPDATE runs SET plugins_output = ? WHERE id = ?", doc, run_id));
    if (n == 0) return rows::missing("Run", run_id);
    return {};
  });
}

}  // namespace mr::pipelines
