#include "crypto/random.h"
#include "pipelines/store_parts.h"
#include "time/clock.h"

namespace mr::pipelines {

namespace {
constexpr std::string_view experiment_columns = "id, name, description, ns, created_ms, last_run_ms, storage_state";
constexpr std::string_view experiment_types = "ssssiis";

Experiment read_experiment(const sql::Row& r) {
  Experiment e;
  e.id = r.text(0);
  e.name = r.text(1);
  e.description = r.text(2);
  e.ns = r.text(3);
  e.created_ms = r.i64(4);
  e.last_run_ms = r.i64(5);
  e.archived = r.text(6) == "ARCHIVED";
  return e;
}

Result<Experiment> insert_experiment(sql::Connection& c, Experiment e) {
  if (e.id.empty()) e.id = crypto::uuid4();
  if (e.created_ms == 0) e.created_ms = time::now_ms();
  auto made = c.exec(
      "INSERT INTO experiments (id, name, description, ns, created_ms, last_run_ms, storage_state) "
      "VALUES (?, ?, ?, ?, ?, ?, ?)",
      e.id, e.name, e.description, e.ns, e.created_ms, e.last_run_ms, rows::stored(e.archived));
  if (!made && rows::is_duplicate(made.error()))
    return fail(
        Code::already_exists,
        fmt::format("Failed to create a new experiment. The name {} already exists. Please specify a new name", e.name),
        "AlreadyExists");
  if (!made) return std::unexpected(made.error());
  return e;
}
}  // namespace

Result<Experiment> rows::load_experiment(sql::Connection& c, const std::string& id) {
  std::optional<Experiment> e;
  MR_CHECK(c.query(fmt::format("SELECT {} FROM experiments WHERE id = ?", experiment_columns), experiment_types, {id},
                   [&](const sql::Row& r) { e = read_experiment(r); }));
  if (!e) return missing("Experiment", id);
  return *std::move(e);
}

task::Task<Result<Experiment>> Store::create_experiment(Experiment e) {
  co_return co_await db_->write([&](sql::Connection& c) { return insert_experiment(c, std::move(e)); });
}

Result<Experiment> Store::experiment(const std::string& id) {
  return db_->read([&](sql::Connection& c) { return rows::load_experiment(c, id); });
}

Result<Page<Experiment>> Store::experiments(const ListQuery& q) {
  return db_->read([&](sql::Connection& c) {
    return list_page<Experiment>(c, kExperiments, q, experiment_columns, experiment_types, rows::ns_scope(q.ns),
                                 read_experiment);
  });
}

task::Task<Result<Experiment>> Store::default_experiment(std::string ns) {
  auto find = [&](sql::Connection& c) -> Result<std::optional<Experiment>> {
    std::optional<Experiment> e;
    MR_CHECK(c.query(fmt::format("SELECT {} FROM experiments WHERE ns = ? AND name = 'Default'", experiment_columns),
                     experiment_types, {ns}, [&](const sql::Row& r) { e = read_experiment(r); }));
    return e;
  };
  MR_CO_TRY(auto there, db_->read(find));
  if (there) co_return *std::move(there);
  co_return co_await db_->write([&](sql::Connection& c) -> Result<Experiment> {
    MR_TRY(auto again, find(c));
    if (again) return *std::move(again);
    Experiment e;
    e.name = "Default";
    e.description = "All runs created without specifying an experiment will be grouped here.";
    e.ns = ns;
    return insert_experiment(c, std::move(e));
  });
}

task::Task<Result<>> Store::set_experiment_archived(std::string id, bool archived) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<> {
    MR_CHECK(rows::load_experiment(c, id));
    MR_CHECK(c.exec("UPDATE experiments SET storage_state = ? WHERE id = ?", rows::stored(archived), id));
    if (!archived) return {};  // its runs stay where they are
    MR_CHECK(c.exec(
        "UPDATE runs SET storage_state = 'ARCHIVED' WHERE experiment_id = ? AND storage_state = 'AVAILABLE'", id));
    MR_CHECK(c.exec("UPDATE recurring_runs SET enabled = 0, updated_ms = ? WHERE experiment_id = ? AND enabled = 1",
                    time::now_ms(), id));
    return {};
  });
}

task::Task<Result<>> Store::delete_experiment(std::string id) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<> {
    MR_CHECK(rows::load_experiment(c, id));
    MR_CHECK(c.exec("DELETE FROM experiments WHERE id = ?", id));
    return {};
  });
}

}  // namespace mr::pipelines
