// Artifacts, who made and read them, and the executions whose outputs can stand for later ones.
#include "pipelines/store_parts.h"
#include "time/clock.h"

namespace mr::pipelines {

namespace {
constexpr std::string_view artifact_columns =
    "n, ns, uri, type, type_version, type_instance, name, metadata, custom_path, created_ms";
constexpr std::string_view artifact_types = "issssssssi";
constexpr std::string_view use_columns = "n, artifact, run_id, node, key, output, created_ms";
constexpr std::string_view use_types = "iisssii";

ArtifactRecord read_artifact(const sql::Row& r) {
  ArtifactRecord a;
  a.artifact.id = r.i64(0);
  a.ns = r.text(1);
  a.artifact.uri = r.text(2);
  a.artifact.type = {r.text(3), r.text(4), r.text(5)};
  a.artifact.name = r.text(6);
  a.artifact.metadata = rows::text_object(r.text(7));
  a.artifact.custom_path = r.text(8);
  a.created_ms = r.i64(9);
  return a;
}

ArtifactUse read_use(const sql::Row& r) {
  return {r.i64(0), r.i64(1), r.text(2), r.text(3), r.text(4), r.i64(5) != 0, r.i64(6)};
}

// The row of an artifact without an id: found by URI and type, or made.
Result<> identify(sql::Connection& c, const std::string& ns, bool output, std::int64_t now, Artifact& a) {
  MR_CHECK(c.query("SELECT n FROM artifacts WHERE uri = ? AND ns = ? AND type = ? AND type_instance = ?", "i",
                   {a.uri, ns, a.type.title, a.type.instance}, [&](const sql::Row& r) { a.id = r.i64(0); }));
  if (a.id == 0) {
    MR_CHECK(
        c.exec("INSERT INTO artifacts (ns, uri, type, type_version, type_instance, name, metadata, custom_path, "
               "created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
               ns, a.uri, a.type.title, a.type.version, a.type.instance, a.name, rows::object_text(a.metadata),
               a.custom_path, now));
    return c.query("SELECT last_insert_rowid()", "i", {}, [&](const sql::Row& r) { a.id = r.i64(0); });
  }
  // Who makes it again says what it is now.
  if (output)
    MR_CHECK(c.exec("UPDATE artifacts SET metadata = ?, name = ?, custom_path = ? WHERE n = ?",
                    rows::object_text(a.metadata), a.name, a.custom_path, a.id));
  return {};
}

Value artifacts_document(const std::map<std::string, std::vector<Artifact>>& artifacts) {
  Object out;
  for (const auto& [key, list] : artifacts) {
    Array a;
    for (const auto& x : list) a.push_back(to_json(x));
    out[key] = std::move(a);
  }
  return out;
}

CacheEntry read_cache(const sql::Row& r) {
  CacheEntry e;
  e.run_id = r.text(0);
  e.node = r.text(1);
  e.created_ms = r.i64(2);
  auto doc = rows::text_object(r.text(3));
  if (auto* p = doc.if_contains("parameters"); p != nullptr && p->is_object())
    e.parameters = std::move(p->get_object());
  if (auto* i = doc.if_contains("inputs"); i != nullptr && i->is_object()) e.inputs = std::move(i->get_object());
  if (const auto* a = doc.if_contains("artifacts"); a != nullptr && a->is_object())
    for (const auto& [key, list] : a->get_object()) {
      auto& out = e.artifacts[std::string(key)];
      if (!list.is_array()) continue;
      for (const auto& x : list.get_array())
        if (auto artifact = artifact_from_json(x)) out.push_back(*std::move(artifact));
    }
  return e;
}
}  // namespace

task::Task<Result<std::vector<Artifact>>> Store::record_artifacts(std::string ns, std::string run_id, std::string node,
                                                                  std::string key, bool output,
                                                                  std::vector<Artifact> artifacts) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<std::vector<Artifact>> {
    const auto now = time::now_ms();
    for (auto& a : artifacts) {
      if (a.id == 0) MR_CHECK(identify(c, ns, output, now, a));
      MR_CHECK(
          c.exec("INSERT OR IGNORE INTO artifact_uses (artifact, run_id, node, key, output, created_ms) "
                 "VALUES (?, ?, ?, ?, ?, ?)",
                 a.id, run_id, node, key, output ? 1 : 0, now));
    }
    return std::move(artifacts);
  });
}

Result<> rows::find_artifact_row(sql::Connection& c, std::int64_t id, std::optional<ArtifactRecord>& out) {
  return c.query(fmt::format("SELECT {} FROM artifacts WHERE n = ?", artifact_columns), artifact_types, {id},
                 [&](const sql::Row& r) { out = read_artifact(r); });
}

Result<ArtifactRecord> Store::artifact(std::int64_t id) {
  return db_->read([&](sql::Connection& c) -> Result<ArtifactRecord> {
    std::optional<ArtifactRecord> a;
    MR_CHECK(rows::find_artifact_row(c, id, a));
    if (!a) return rows::missing("Artifact", std::to_string(id));
    return *std::move(a);
  });
}

Result<Page<ArtifactRecord>> Store::artifacts(const ListQuery& q, const std::string& run_id) {
  return db_->read([&](sql::Connection& c) {
    auto scope = rows::ns_scope(q.ns);
    if (!run_id.empty()) {
      scope.add(" AND n IN (SELECT artifact FROM artifact_uses WHERE run_id = ?)");
      scope.text(run_id);
    }
    return list_page<ArtifactRecord>(c, kArtifacts, q, artifact_columns, artifact_types, scope, read_artifact);
  });
}

Result<Page<ArtifactUse>> Store::artifact_uses(const ListQuery& q, const std::string& run_id,
                                               std::int64_t artifact_id) {
  return db_->read([&](sql::Connection& c) {
    SqlText scope;
    scope.add("1");
    if (!run_id.empty()) {
      scope.add(" AND run_id = ?");
      scope.text(run_id);
    }
    if (artifact_id != 0) {
      scope.add(" AND artifact = ?");
      scope.integer(artifact_id);
    }
    return list_page<ArtifactUse>(c, kArtifactUses, q, use_columns, use_types, scope, read_use);
  });
}

Result<std::optional<CacheEntry>> Store::cache_find(const std::string& key, const std::string& pipeline,
                                                    const std::string& ns) {
  return db_->read([&](sql::Connection& c) -> Result<std::optional<CacheEntry>> {
    std::optional<CacheEntry> e;
    MR_CHECK(
        c.query("SELECT run_id, node, created_ms, doc FROM cache WHERE key = ? AND pipeline = ? AND ns = ? "
                "ORDER BY created_ms DESC, n DESC LIMIT 1",
                "ssis", {key, pipeline, ns}, [&](const sql::Row& r) { e = read_cache(r); }));
    return e;
  });
}

Result<std::optional<CacheEntry>> Store::cache_latest(const std::string& task_identity, const std::string& ns) {
  return db_->read([&](sql::Connection& c) -> Result<std::optional<CacheEntry>> {
    std::optional<CacheEntry> e;
    MR_CHECK(
        c.query("SELECT run_id, node, created_ms, doc FROM cache WHERE task = ? AND ns = ? "
                "ORDER BY created_ms DESC, n DESC LIMIT 1",
                "ssis", {task_identity, ns}, [&](const sql::Row& r) { e = read_cache(r); }));
    return e;
  });
}

task::Task<Result<>> Store::cache_put(std::string key, std::string pipeline, std::string ns, std::string task_identity,
                                      CacheEntry e) {
  const auto doc = json::serialize(
      Object{{"parameters", e.parameters}, {"inputs", e.inputs}, {"artifacts", artifacts_document(e.artifacts)}});
  const auto created = e.created_ms != 0 ? e.created_ms : time::now_ms();
  co_return co_await db_->write([&](sql::Connection& c) -> Result<> {
    // Only the newest is ever looked at.
    MR_CHECK(c.exec("DELETE FROM cache WHERE key = ? AND pipeline = ? AND ns = ?", key, pipeline, ns));
    MR_CHECK(
        c.exec("INSERT INTO cache (key, pipeline, ns, task, run_id, node, created_ms, doc) "
               "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
               key, pipeline, ns, task_identity, e.run_id, e.node, created, doc));
    return {};
  });
}

task::Task<Result<>> Store::cache_tidy(std::int64_t before_ms, std::int64_t most) {
  constexpr int kAtOnce = 1000;  // others write meanwhile
  for (std::int64_t removed = kAtOnce; removed >= kAtOnce;) {
    auto done = co_await db_->write([&](sql::Connection& c) -> Result<std::int64_t> {
      // Rows stand in the order of their making: those that are too old are the first.
      MR_TRY(auto old, c.exec("DELETE FROM cache WHERE n IN (SELECT n FROM (SELECT n, created_ms FROM cache ORDER BY n "
                              "LIMIT ?) WHERE created_ms < ?)",
                              kAtOnce, before_ms));
      MR_TRY(auto surplus, c.exec("DELETE FROM cache WHERE n IN (SELECT n FROM cache ORDER BY n LIMIT "
                                  "MIN(?, MAX(0, (SELECT COUNT(*) FROM cache) - ?)))",
                                  kAtOnce, most));
      return std::max<std::int64_t>(old, surplus);
    });
    if (!done) co_return std::unexpected(done.error());
    removed = *done;
  }
  co_return Result<>();
}

}  // namespace mr::pipelines
