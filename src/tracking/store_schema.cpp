#include "crypto/random.h"
#include "time/clock.h"
#include "tracking/errors.h"
#include "tracking/store.h"
#include "tracking/validate.h"

namespace mr::tracking::store {

namespace {
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wc23-extensions"
constexpr char schema_text[] = {
#embed "schema/sqlite.sql"
    , 0};
#pragma clang diagnostic pop
}  // namespace

Result<std::string> revision(const std::string& path) {
  std::error_code ec;
  if (!std::filesystem::exists(path, ec) || std::filesystem::file_size(path, ec) == 0) return std::string();
  MR_TRY(auto c, sql::Connection::open_sqlite(path, true));
  std::int64_t tables = 0;
  std::string rev;
  MR_CHECK(c->query("SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'alembic%'", "i", {},
                    [&](const sql::Row& r) { tables = r.i64(0); }));
  if (tables == 0) return rev;
  rev = "none";
  bool versioned = false;
  MR_CHECK(c->query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'", "i", {},
                    [&](const sql::Row&) { versioned = true; }));
  if (versioned)
    MR_CHECK(c->query("SELECT version_num FROM alembic_version", "s", {}, [&](const sql::Row& r) { rev = r.text(0); }));
  return rev;
}

Result<> prepare(sql::Connection& c, const std::string& path, const std::string& artifact_root) {
  MR_TRY(auto rev, revision(path));
  if (rev.empty()) {
    MR_CHECK(c.script(schema_text));
  } else if (rev != kHead && rev != kPrevious) {
    return fail(Code::failed_precondition,
                fmt::format("the database {0} has schema revision {1}; Millrace opens {2} (MLflow 3.18.0) and {3} "
                            "(MLflow 3.17.2). Nothing was changed. Make a backup, then upgrade it "
                            "with MLflow 3.18.0:  mlflow db upgrade sqlite:///{0}",
                            path, rev, kHead, kPrevious));
  }
  bool has_default = false;
  MR_CHECK(c.query("SELECT 1 FROM experiments WHERE experiment_id = 0", "i", {},
                   [&](const sql::Row&) { has_default = true; }));
  if (has_default) return {};
  auto now = time::now_ms();
  MR_TRY(auto n,
         c.exec("INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, creation_time, "
                "last_update_time, workspace) VALUES (0, 'Default', ?, 'active', ?, ?, 'default')",
                join_uri(artifact_root, "0"), now, now));
  (void)n;
  return {};
}

Result<> for_id_groups(const std::vector<std::string>& ids,
                       const std::function<Result<>(const std::string&, std::span<const sql::Arg>)>& fn) {
  for (std::size_t at = 0; at < ids.size();) {
    std::size_t left = ids.size() - at;
    std::size_t slots = left == 1 ? 1 : left <= 16 ? 16 : left <= 128 ? 128 : 500;
    std::string in = "(?";
    for (std::size_t i = 1; i < slots; ++i) in += ",?";
    in += ')';
    std::vector<sql::Arg> args;
    args.reserve(slots);
    for (std::size_t i = 0; i < slots; ++i)
      args.emplace_back(ids[std::min(at + i, ids.size() - 1)]);  // padded with the last
    MR_CHECK(fn(in, args));
    at += slots;
  }
  return {};
}

}  // namespace mr::tracking::store
