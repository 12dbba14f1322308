#include "text/text.h"
#include "time/clock.h"
#include "tracking/errors.h"
#include "tracking/store.h"
#include "tracking/validate.h"

namespace mr::tracking::store {

namespace {

constexpr std::string_view kPromptTag = "mlflow.prompt.is_prompt";

std::unexpected<Error> no_model(const std::string& name) {
  return missing(fmt::format("Registered Model with name={} not found", name));
}

bool is_prompt(const Tags& tags) {
  bool prompt = false;
  for (const auto& t : tags)
    if (t.key == kPromptTag) prompt = t.value == "true";
  return prompt;
}

RegisteredModel registered_model_of(const sql::Row& r) {
  RegisteredModel m;
  m.name = r.text(0);
  m.creation_time = r.i64(1);
  m.last_updated_time = r.i64(2);
  m.description = r.opt_text(3);
  return m;
}

// The highest version of each stage, in the order in which stages are first met from version 1 up.
std::vector<ModelVersion> latest_of_each_stage(std::vector<ModelVersion> ascending) {
  std::vector<ModelVersion> out;
  for (auto& v : ascending) {
    auto it = std::find_if(out.begin(), out.end(), [&](const ModelVersion& o) { return o.stage == v.stage; });
    if (it == out.end())
      out.push_back(std::move(v));
    else
      *it = std::move(v);
  }
  return out;
}

Result<> load_data(sql::Connection& c, RegisteredModel& m) {
  MR_CHECK(
      c.query("SELECT key, value FROM registered_model_tags WHERE workspace = 'default' AND name = ? ORDER BY rowid",
              "ss", {m.name}, [&](const sql::Row& r) { m.tags.push_back({r.text(0), r.text(1)}); }));
  MR_CHECK(c.query(
      "SELECT alias, version FROM registered_model_aliases WHERE workspace = 'default' AND name = ? ORDER BY alias",
      "si", {m.name}, [&](const sql::Row& r) { m.aliases.emplace_back(r.text(0), r.i64(1)); }));
  sql::Arg args[] = {m.name};
  MR_TRY(auto versions, load_versions(c, "v.name = ? ORDER BY v.version", args));
  m.latest_versions = latest_of_each_stage(std::move(versions));
  for (auto& v : m.latest_versions) v.aliases.clear();  // as the real server prints them inside a model
  return {};
}

}  // namespace

Result<> require_registered_model(sql::Connection& c, const std::string& name) {
  bool found = false;
  MR_CHECK(c.query("SELECT 1 FROM registered_models WHERE workspace = 'default' AND name = ?", "i", {name},
                   [&](const sql::Row&) { found = true; }));
  if (!found) return no_model(name);
  return {};
}

Result<> touch_registered_model(sql::Connection& c, const std::string& name, std::int64_t now) {
  MR_CHECK(
      c.exec("UPDATE registered_models SET last_updated_time = ? WHERE workspace = 'default' AND name = ?", now, name));
  return {};
}

Result<RegisteredModel> create_registered_model(sql::Connection& c, const std::string& name,
                                                const std::string& description, const Tags& tags) {
  auto now = time::now_ms();
  auto r = c.exec(
      "INSERT INTO registered_models (name, creation_time, last_updated_time, description, workspace) VALUES (?, ?, ?, "
      "?, 'default')",
      name, now, now, description);
  if (!r && r.error().reason == "CONSTRAINT") {
    MR_TRY(auto old, get_registered_model(c, name));
    bool was = is_prompt(old.tags);
    bool now_prompt = is_prompt(tags);
    if (was != now_prompt)
      return exists(fmt::format(
          "Tried to create a {} with name {}, but the name is already taken by a {}. MLflow does not allow creating a "
          "model and a prompt with the same name.",
          now_prompt ? "prompt" : "registered model", python_repr(name), was ? "prompt" : "registered model"));
    return exists(fmt::format("{} (name={}) already exists.", was ? "Prompt" : "Registered Model", name));
  }
  if (!r) return std::unexpected(r.error());
  for (const auto& t : tags) MR_CHECK(set_registered_model_tag(c, name, t));
  return get_registered_model(c, name);
}

Result<RegisteredModel> get_registered_model(sql::Connection& c, const std::string& name) {
  std::optional<RegisteredModel> m;
  MR_CHECK(
      c.query("SELECT name, creation_time, last_updated_time, description FROM registered_models WHERE workspace = "
              "'default' AND name = ?",
              "siis", {name}, [&](const sql::Row& r) { m = registered_model_of(r); }));
  if (!m) return no_model(name);
  MR_CHECK(load_data(c, *m));
  return *std::move(m);
}

Result<RegisteredModel> update_registered_model(sql::Connection& c, const std::string& name,
                                                const std::string& description) {
  MR_CHECK(require_registered_model(c, name));
  MR_CHECK(c.exec(
      "UPDATE registered_models SET description = ?, last_updated_time = ? WHERE workspace = 'default' AND name = ?",
      description, time::now_ms(), name));
  return get_registered_model(c, name);
}

Result<RegisteredModel> rename_registered_model(sql::Connection& c, const std::string& name,
                                                const std::string& new_name) {
  MR_CHECK(require_registered_model(c, name));
  auto now = time::now_ms();
  auto r =
      c.exec("UPDATE registered_models SET name = ?, last_updated_time = ? WHERE workspace = 'default' AND name = ?",
             new_name, now, name);
  if (!r && r.error().reason == "CONSTRAINT")
    return exists(
        fmt::format("Registered Model (name={}) already exists. Error: (sqlite3.IntegrityError) UNIQUE constraint "
                    "failed: registered_models.workspace, registered_models.name",
                    new_name));
  if (!r) return std::unexpected(r.error());
  // Versions, tags and aliases follow by their foreign keys.
  MR_CHECK(c.exec("UPDATE model_versions SET last_updated_time = ? WHERE workspace = 'default' AND name = ?", now,
                  new_name));
  return get_registered_model(c, new_name);
}

Result<> delete_registered_model(sql::Connection& c, const std::string& name) {
  MR_CHECK(require_registered_model(c, name));
  for (const char* table : {"registered_model_aliases", "model_version_tags", "registered_model_tags", "model_versions",
                            "registered_models"})
    MR_CHECK(c.exec(fmt::format("DELETE FROM {} WHERE workspace = 'default' AND name = ?", table), name));
  return {};
}

Result<Page<RegisteredModel>> search_registered_models(sql::Connection& c, const SearchSql& s, std::int64_t max,
                                                       std::int64_t offset) {
  SqlText q;
  q.add(
      "SELECT m.name, m.creation_time, m.last_updated_time, m.description FROM registered_models m WHERE m.workspace = "
      "'default'");
  q.append(s.where);
  q.add(fmt::format(" ORDER BY {} LIMIT ? OFFSET ?", s.order));
  q.arg(max + 1);
  q.arg(offset);
  Page<RegisteredModel> page;
  MR_CHECK(c.query(q.sql, "siis", q.bound(), [&](const sql::Row& r) { page.items.push_back(registered_model_of(r)); }));
  if (page.items.size() > static_cast<std::size_t>(max)) {
    page.items.pop_back();
    page.next_token = page_token(offset + max);
  }
  for (auto& m : page.items) MR_CHECK(load_data(c, m));
  return page;
}

Result<std::vector<ModelVersion>> latest_versions(sql::Connection& c, const std::string& name,
                                                  const std::vector<std::string>& stages) {
  MR_CHECK(require_registered_model(c, name));
  std::set<std::string> wanted;
  for (const auto& s : stages) {
    MR_TRY(auto stage, canonical_stage(s));
    wanted.insert(stage);
  }
  sql::Arg args[] = {name};
  MR_TRY(auto versions, load_versions(c, "v.name = ? ORDER BY v.version", args));
  auto latest = latest_of_each_stage(std::move(versions));
  if (!wanted.empty()) std::erase_if(latest, [&](const ModelVersion& v) { return !wanted.contains(v.stage); });
  return latest;
}

Result<> set_registered_model_tag(sql::Connection& c, const std::string& name, const KeyValue& t) {
  MR_CHECK(require_registered_model(c, name));
  MR_CHECK(
      c.exec("INSERT INTO registered_model_tags (key, value, name, workspace) VALUES (?, ?, ?, 'default') ON CONFLICT "
             "(workspace, key, name) DO UPDATE SET value = excluded.value",
             t.key, t.value, name));
  return {};
}

Result<> delete_registered_model_tag(sql::Connection& c, const std::string& name, const std::string& key) {
  MR_CHECK(require_registered_model(c, name));
  MR_CHECK(c.exec("DELETE FROM registered_model_tags WHERE workspace = 'default' AND key = ? AND name = ?", key, name));
  return {};
}

Result<> set_alias(sql::Connection& c, const std::string& name, const std::string& alias, std::int64_t version) {
  MR_CHECK(get_version(c, name, version));
  MR_CHECK(
      c.exec("INSERT INTO registered_model_aliases (alias, version, name, workspace) VALUES (?, ?, ?, 'default') ON "
             "CONFLICT (workspace, name, alias) DO UPDATE SET version = excluded.version",
             alias, version, name));
  return {};
}

Result<> delete_alias(sql::Connection& c, const std::string& name, const std::string& alias) {
  MR_CHECK(require_registered_model(c, name));
  MR_CHECK(c.exec("DELETE FROM registered_model_aliases WHERE workspace = 'default' AND name = ? AND alias = ?", name,
                  alias));
  return {};
}

Result<ModelVersion> version_by_alias(sql::Connection& c, const std::string& name, const std::string& alias) {
  MR_CHECK(require_registered_model(c, name));
  if (text::lower(alias) == "latest") {
    sql::Arg args[] = {name};
    MR_TRY(auto versions, load_versions(c, "v.name = ? ORDER BY v.version DESC LIMIT 1", args));
    if (versions.empty()) return missing(fmt::format("Latest version not found for model {}.", name));
    return std::move(versions[0]);
  }
  std::optional<std::int64_t> version;
  MR_CHECK(
      c.query("SELECT version FROM registered_model_aliases WHERE workspace = 'default' AND name = ? AND alias = ?",
              "i", {name, alias}, [&](const sql::Row& r) { version = r.i64(0); }));
  if (!version) return invalid(fmt::format("Registered model alias {} not found.", alias));
  return get_version(c, name, *version);
}

}  // namespace mr::tracking::store
