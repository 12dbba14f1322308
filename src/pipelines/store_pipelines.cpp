#include "crypto/random.h"
#include "pipelines/store_parts.h"
#include "time/clock.h"

namespace mr::pipelines {

namespace {
constexpr std::string_view pipeline_columns = "id, name, display_name, description, ns, created_ms";
constexpr std::string_view pipeline_types = "sssssi";
constexpr std::string_view version_columns =
    "id, pipeline_id, name, display_name, description, url, code_url, created_ms, spec";
constexpr std::string_view version_types = "sssssssis";
constexpr std::size_t version_spec = 8;

Pipeline read_pipeline(const sql::Row& r) {
  Pipeline p;
  p.id = r.text(0);
  p.name = r.text(1);
  p.display_name = r.text(2);
  p.description = r.text(3);
  p.ns = r.text(4);
  p.created_ms = r.i64(5);
  return p;
}

// The spec's hash stands in for the spec until complete() loads it.
Version read_version(const sql::Row& r) {
  Version v;
  v.id = r.text(0);
  v.pipeline_id = r.text(1);
  v.name = r.text(2);
  v.display_name = r.text(3);
  v.description = r.text(4);
  v.url = r.text(5);
  v.code_url = r.text(6);
  v.created_ms = r.i64(7);
  v.spec = r.text(version_spec);
  return v;
}

Result<> complete(sql::Connection& c, Version& v) {
  const std::string hash(v.spec.get_string());
  MR_TRY(v.spec, rows::load_spec(c, hash));
  MR_TRY(v.tags, rows::read_tags(c, v.id));
  return {};
}

// One row by a condition with one or two arguments; tags and spec are loaded.
Result<std::optional<Version>> one_version(sql::Connection& c, std::string_view condition,
                                           std::initializer_list<sql::Arg> args) {
  std::optional<Version> v;
  MR_CHECK(c.query(fmt::format("SELECT {} FROM versions WHERE {}", version_columns, condition), version_types, args,
                   [&](const sql::Row& r) { v = read_version(r); }));
  if (v) MR_CHECK(complete(c, *v));
  return v;
}

Result<std::optional<Pipeline>> one_pipeline(sql::Connection& c, std::string_view condition,
                                             std::initializer_list<sql::Arg> args) {
  std::optional<Pipeline> p;
  MR_CHECK(c.query(fmt::format("SELECT {} FROM pipelines WHERE {}", pipeline_columns, condition), pipeline_types, args,
                   [&](const sql::Row& r) { p = read_pipeline(r); }));
  if (p) {
    MR_TRY(p->tags, rows::read_tags(c, p->id));
  }
  return p;
}

Result<Pipeline> need_pipeline(sql::Connection& c, const std::string& id) {
  MR_TRY(auto p, one_pipeline(c, "id = ?", {id}));
  if (!p) return rows::missing("Pipeline", id);
  return *std::move(p);
}

Result<Version> insert_version(sql::Connection& c, Version v) {
  if (v.id.empty()) v.id = crypto::uuid4();
  if (v.created_ms == 0) v.created_ms = time::now_ms();
  if (v.display_name.empty()) v.display_name = v.name;
  MR_TRY(auto hash, rows::keep_spec(c, v.spec));
  auto made = c.exec(
      "INSERT INTO versions (id, pipeline_id, name, display_name, description, url, code_url, created_ms, spec) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
      v.id, v.pipeline_id, v.name, v.display_name, v.description, v.url, v.code_url, v.created_ms, hash);
  if (!made && rows::is_duplicate(made.error()))
    return fail(
        Code::already_exists,
        fmt::format("Failed to create a new pipeline version. The name {} already exist. Specify a new name", v.name),
        "AlreadyExists");
  if (!made) return std::unexpected(made.error());
  MR_CHECK(rows::write_tags(c, v.id, v.tags));
  return v;
}

Result<> remove_version(sql::Connection& c, const std::string& id, const std::string& spec) {
  MR_CHECK(c.exec("DELETE FROM versions WHERE id = ?", id));
  MR_CHECK(c.exec("DELETE FROM tags WHERE owner = ?", id));
  return rows::drop_spec(c, spec);
}
}  // namespace

Result<> rows::write_tags(sql::Connection& c, const std::string& owner,
                          const std::map<std::string, std::string>& tags) {
  MR_CHECK(c.exec("DELETE FROM tags WHERE owner = ?", owner));
  for (const auto& [key, value] : tags)
    MR_CHECK(c.exec("INSERT INTO tags (owner, key, value) VALUES (?, ?, ?)", owner, key, value));
  return {};
}

Result<std::map<std::string, std::string>> rows::read_tags(sql::Connection& c, const std::string& owner) {
  std::map<std::string, std::string> tags;
  MR_CHECK(c.query("SELECT key, value FROM tags WHERE owner = ?", "ss", {owner},
                   [&](const sql::Row& r) { tags[r.text(0)] = r.text(1); }));
  return tags;
}

task::Task<Result<Pipeline>> Store::create_pipeline(Pipeline p, std::optional<Version> first) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<Pipeline> {
    if (p.id.empty()) p.id = crypto::uuid4();
    if (p.created_ms == 0) p.created_ms = time::now_ms();
    if (p.display_name.empty()) p.display_name = p.name;
    auto made =
        c.exec("INSERT INTO pipelines (id, name, display_name, description, ns, created_ms) VALUES (?, ?, ?, ?, ?, ?)",
               p.id, p.name, p.display_name, p.description, p.ns, p.created_ms);
    if (!made && rows::is_duplicate(made.error()))
      return fail(
          Code::already_exists,
          fmt::format("Failed to create a new pipeline. The name {} already exist. Please specify a new name", p.name),
          "AlreadyExists");
    if (!made) return std::unexpected(made.error());
    MR_CHECK(rows::write_tags(c, p.id, p.tags));
    if (first) {
      first->pipeline_id = p.id;
      if (first->created_ms == 0) first->created_ms = p.created_ms;
      MR_CHECK(insert_version(c, *first));
    }
    return p;
  });
}

Result<Pipeline> Store::pipeline(const std::string& id) {
  return db_->read([&](sql::Connection& c) { return need_pipeline(c, id); });
}

Result<Pipeline> Store::pipeline_by_name(const std::string& ns, const std::string& name) {
  return db_->read([&](sql::Connection& c) -> Result<Pipeline> {
    MR_TRY(auto p, one_pipeline(c, "ns = ? AND name = ?", {ns, name}));
    if (!p) return rows::missing("Namespace/Pipeline", fmt::format("{}/{}", ns, name));
    return *std::move(p);
  });
}

Result<Page<Pipeline>> Store::pipelines(const ListQuery& q) {
  return db_->read([&](sql::Connection& c) -> Result<Page<Pipeline>> {
    MR_TRY(auto page, list_page<Pipeline>(c, kPipelines, q, pipeline_columns, pipeline_types, rows::ns_scope(q.ns),
                                          read_pipeline));
    for (auto& p : page.items) {
      MR_TRY(p.tags, rows::read_tags(c, p.id));
    }
    return page;
  });
}

task::Task<Result<>> Store::update_pipeline(Pipeline p) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<> {
    MR_TRY(auto n, c.exec("UPDATE pipelines SET display_name = ? WHERE id = ?", p.display_name, p.id));
    if (n == 0) return rows::missing("Pipeline", p.id);
    return rows::write_tags(c, p.id, p.tags);
  });
}

task::Task<Result<>> Store::delete_pipeline(std::string id, bool cascade) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<> {
    MR_CHECK(need_pipeline(c, id));
    std::vector<std::pair<std::string, std::string>> versions;
    MR_CHECK(c.query("SELECT id, spec FROM versions WHERE pipeline_id = ? ORDER BY created_ms DESC, n DESC", "ss", {id},
                     [&](const sql::Row& r) { versions.emplace_back(r.text(0), r.text(1)); }));
    if (!versions.empty() && !cascade)
      return fail(
          Code::invalid_argument,
          fmt::format("Failed to delete pipeline with id {} as it has existing pipeline versions (e.g. {}). Set "
                      "cascade=true to delete all versions",
                      id, versions[0].first));
    for (const auto& [version, spec] : versions) MR_CHECK(remove_version(c, version, spec));
    MR_CHECK(c.exec("DELETE FROM tags WHERE owner = ?", id));
    MR_CHECK(c.exec("DELETE FROM pipelines WHERE id = ?", id));
    return {};
  });
}

task::Task<Result<Version>> Store::create_version(Version v) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<Version> {
    MR_CHECK(need_pipeline(c, v.pipeline_id));
    return insert_version(c, std::move(v));
  });
}

Result<Version> Store::version(const std::string& pipeline_id, const std::string& id) {
  return db_->read([&](sql::Connection& c) -> Result<Version> {
    MR_TRY(auto v, one_version(c, "id = ?", {id}));
    if (!v || (!pipeline_id.empty() && v->pipeline_id != pipeline_id)) return rows::missing("PipelineVersion", id);
    return *std::move(v);
  });
}

Result<Version> Store::latest_version(const std::string& pipeline_id) {
  return db_->read([&](sql::Connection& c) -> Result<Version> {
    MR_CHECK(need_pipeline(c, pipeline_id));
    MR_TRY(auto v, one_version(c, "pipeline_id = ? ORDER BY created_ms DESC, n DESC LIMIT 1", {pipeline_id}));
    if (!v) return rows::missing("PipelineVersion", pipeline_id);
    return *std::move(v);
  });
}

Result<Page<Version>> Store::versions(const ListQuery& q) {
  return db_->read([&](sql::Connection& c) -> Result<Page<Version>> {
    MR_CHECK(need_pipeline(c, q.pipeline_id));
    SqlText scope;
    scope.add("pipeline_id = ?");
    scope.text(q.pipeline_id);
    MR_TRY(auto page, list_page<Version>(c, kVersions, q, version_columns, version_types, scope, read_version));
    for (auto& v : page.items) MR_CHECK(complete(c, v));
    return page;
  });
}

task::Task<Result<>> Store::update_version(Version v) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<> {
    MR_TRY(auto n, c.exec("UPDATE versions SET display_name = ? WHERE id = ?", v.display_name, v.id));
    if (n == 0) return rows::missing("PipelineVersion", v.id);
    return rows::write_tags(c, v.id, v.tags);
  });
}

task::Task<Result<>> Store::delete_version(std::string pipeline_id, std::string id) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<> {
    std::optional<std::string> spec;
    MR_CHECK(c.query("SELECT spec FROM versions WHERE id = ? AND pipeline_id = ?", "s", {id, pipeline_id},
                     [&](const sql::Row& r) { spec = r.text(0); }));
    if (!spec) return rows::missing("PipelineVersion", id);
    return remove_version(c, id, *spec);
  });
}

}  // namespace mr::pipelines
