#include "json/parse.h"
#include "json/writer.h"
#include "text/text.h"
#include "text/uri.h"
#include "time/clock.h"
#include "tracking/errors.h"
#include "tracking/store.h"
#include "tracking/validate.h"

namespace mr::tracking::store {

namespace {

std::unexpected<Error> no_version(const std::string& name, std::int64_t v) {
  return missing(fmt::format("Model Version (name={}, version={}) not found", name, v));
}

constexpr std::string_view kVersionColumns =
    "v.name, v.version, v.creation_time, v.last_updated_time, v.description, v.user_id, v.current_stage, v.source, "
    "v.run_id, v.status, v.status_message, v.run_link, v.storage_location";
constexpr std::string_view kVersionTypes = "siiisssssssss";

}  // namespace

Result<std::string> canonical_stage(std::string_view s) {
  for (const char* stage : {"None", "Staging", "Production", "Archived"})
    if (text::iequals(stage, s)) return std::string(stage);
  return invalid(
      fmt::format("Invalid Model Version stage: {}. Value must be one of None, Staging, Production, Archived.", s));
}

Result<std::vector<ModelVersion>> load_versions(sql::Connection& c, const std::string& where_and_order,
                                                std::span<const sql::Arg> args) {
  std::vector<ModelVersion> out;
  MR_CHECK(c.query(fmt::format("SELECT {} FROM model_versions v WHERE v.workspace = 'default' AND v.current_stage != "
                               "'Deleted_Internal' AND {}",
                               kVersionColumns, where_and_order),
                   kVersionTypes, args, [&](const sql::Row& r) {
                     ModelVersion v;
                     v.name = r.text(0);
                     v.version = r.i64(1);
                     v.creation_time = r.i64(2);
                     v.last_updated_time = r.i64(3);
                     v.description = r.opt_text(4);
                     v.user_id = r.opt_text(5);
                     v.stage = r.text(6);
                     v.source = r.opt_text(7);
                     v.run_id = r.opt_text(8);
                     v.status = r.text(9);
                     v.status_message = r.opt_text(10);
                     v.run_link = r.opt_text(11);
                     v.storage_location = r.opt_text(12);
                     out.push_back(std::move(v));
                   }));
  for (auto& v : out) {
    MR_CHECK(
        c.query("SELECT key, value FROM model_version_tags WHERE workspace = 'default' AND name = ? AND version = ? "
                "ORDER BY rowid",
                "ss", {v.name, v.version}, [&](const sql::Row& r) { v.tags.push_back({r.text(0), r.text(1)}); }));
    MR_CHECK(
        c.query("SELECT alias FROM registered_model_aliases WHERE workspace = 'default' AND name = ? AND version = ? "
                "ORDER BY alias",
                "s", {v.name, v.version}, [&](const sql::Row& r) { v.aliases.push_back(r.text(0)); }));
  }
  return out;
}

Result<ModelVersion> get_version(sql::Connection& c, const std::string& name, std::int64_t version) {
  sql::Arg args[] = {name, version};
  MR_TRY(auto found, load_versions(c, "v.name = ? AND v.version = ?", args));
  if (found.empty()) return no_version(name, version);
  return std::move(found[0]);
}

Result<ModelVersion> create_version(sql::Connection& c, NewVersion v) {
  std::string storage = v.source;
  auto uri = text::parse_uri(v.source);
  if (uri.scheme == "models") {
    std::string path = uri.path.substr(
        uri.path.find_first_not_of('/') == std::string::npos ? uri.path.size() : uri.path.find_first_not_of('/'));
    if (path.starts_with("m-") && path.find('/') == std::string::npos) {
      auto model = get_logged_model(c, path);
      if (!model)
        return fail(Code::internal,
                    fmt::format("Unable to fetch model from model URI source artifact location '{}'.Error: {}",
                                v.source, model.error().message),
                    "INTERNAL_ERROR");
      storage = model->artifact_location;
      if (v.run_id.empty()) v.run_id = model->source_run_id;
    } else {  // models:/name/version, resolved by the caller
      auto slash = path.rfind('/');
      auto number = slash == std::string::npos ? std::nullopt : text::to_i64(path.substr(slash + 1));
      if (!number) return invalid(fmt::format("Invalid model version source: '{}'.", v.source));
      MR_TRY(storage, download_uri(c, path.substr(0, slash), *number));
    }
  }
  if (!v.model_id.empty()) {
    MR_TRY(auto model, get_logged_model(c, v.model_id));
    if (v.run_id.empty()) v.run_id = model.source_run_id;
  }
  MR_CHECK(require_registered_model(c, v.name));
  auto now = time::now_ms();
  MR_CHECK(touch_registered_model(c, v.name, now));
  std::int64_t number = 0;
  MR_CHECK(c.query("SELECT COALESCE(MAX(version), 0) + 1 FROM model_versions WHERE workspace = 'default' AND name = ?",
                   "i", {v.name}, [&](const sql::Row& r) { number = r.i64(0); }));
  MR_CHECK(
      c.exec("INSERT INTO model_versions (name, version, creation_time, last_updated_time, description, user_id, "
             "current_stage, source, run_id, status, status_message, run_link, storage_location, workspace) "
             "VALUES (?, ?, ?, ?, ?, NULL, 'None', ?, ?, 'READY', NULL, ?, ?, 'default')",
             v.name, number, now, now, v.description, v.source, v.run_id, v.run_link, storage));
  for (const auto& t : v.tags)
    MR_CHECK(
        c.exec("INSERT INTO model_version_tags (key, value, name, version, workspace) VALUES (?, ?, ?, ?, 'default') "
               "ON CONFLICT (workspace, key, name, version) DO UPDATE SET value = excluded.value",
               t.key, t.value, v.name, number));
  if (!v.model_id.empty()) {  // the logged model remembers its registrations in a tag: [{"name": …, "version": …}]
    std::string list = "[";
    MR_CHECK(c.query("SELECT tag_value FROM logged_model_tags WHERE model_id = ? AND tag_key = 'mlflow.modelVersions'",
                     "s", {v.model_id}, [&](const sql::Row& r) {
                       auto old = std::string_view(r.text(0));
                       if (old.size() > 2 && old.starts_with('[') && old.ends_with(']'))
                         list = std::string(old.substr(0, old.size() - 1)) + ", ";
                     }));
    list += "{\"name\": ";
    json::append_string(list, v.name);
    list += fmt::format(", \"version\": {}}}]", number);
    MR_CHECK(set_model_tags(c, v.model_id, {{"mlflow.modelVersions", list}}));
  }
  return get_version(c, v.name, number);
}

Result<ModelVersion> update_version(sql::Connection& c, const std::string& name, std::int64_t version,
                                    const std::optional<std::string>& description) {
  MR_CHECK(get_version(c, name, version));
  MR_CHECK(
      c.exec("UPDATE model_versions SET description = ?, last_updated_time = ? WHERE workspace = 'default' AND name = "
             "? AND version = ?",
             description, time::now_ms(), name, version));
  return get_version(c, name, version);
}

Result<ModelVersion> transition_stage(sql::Connection& c, const std::string& name, std::int64_t version,
                                      const std::string& stage, bool archive) {
  MR_TRY(auto canonical, canonical_stage(stage));
  if (archive && canonical != "Staging" && canonical != "Production")
    return fail(Code::internal,
                fmt::format("Model version transition cannot archive existing model versions because '{}' is not an "
                            "Active stage. Valid stages are ['Staging', 'Production']",
                            stage),
                "INTERNAL_ERROR");
  MR_CHECK(get_version(c, name, version));
  auto now = time::now_ms();
  if (archive)
    MR_CHECK(
        c.exec("UPDATE model_versions SET current_stage = 'Archived', last_updated_time = ? WHERE workspace = "
               "'default' AND name = ? AND version != ? AND current_stage = ?",
               now, name, version, canonical));
  MR_CHECK(
      c.exec("UPDATE model_versions SET current_stage = ?, last_updated_time = ? WHERE workspace = 'default' AND name "
             "= ? AND version = ?",
             canonical, now, name, version));
  MR_CHECK(touch_registered_model(c, name, now));
  return get_version(c, name, version);
}

Result<> delete_version(sql::Connection& c, const std::string& name, std::int64_t version) {
  MR_CHECK(get_version(c, name, version));
  auto now = time::now_ms();
  MR_CHECK(c.exec("DELETE FROM registered_model_aliases WHERE workspace = 'default' AND name = ? AND version = ?", name,
                  version));
  // The row stays, so that its number is never given again.
  MR_CHECK(c.exec(
      "UPDATE model_versions SET current_stage = 'Deleted_Internal', description = NULL, user_id = NULL, "
      "status_message = NULL, source = 'REDACTED-SOURCE-PATH', run_id = 'REDACTED-RUN-ID', "
      "run_link = 'REDACTED-RUN-LINK', last_updated_time = ? WHERE workspace = 'default' AND name = ? AND version = ?",
      now, name, version));
  return touch_registered_model(c, name, now);
}

Result<std::string> download_uri(sql::Connection& c, const std::string& name, std::int64_t version) {
  MR_TRY(auto v, get_version(c, name, version));
  if (v.storage_location && !v.storage_location->empty()) return *v.storage_location;
  return v.source.value_or("");
}

Result<Page<ModelVersion>> search_versions(sql::Connection& c, const SearchSql& s, std::int64_t max,
                                           std::int64_t offset) {
  SqlText q;
  q.add("1 = 1");
  q.append(s.where);
  q.add(fmt::format(" ORDER BY {} LIMIT ? OFFSET ?", s.order));
  q.arg(max + 1);
  q.arg(offset);
  Page<ModelVersion> page;
  MR_TRY(page.items, load_versions(c, q.sql, q.bound()));
  if (page.items.size() > static_cast<std::size_t>(max)) {
    page.items.pop_back();
    page.next_token = page_token(offset + max);
  }
  return page;
}

Result<> set_version_tag(sql::Connection& c, const std::string& name, std::int64_t version, const KeyValue& t) {
  MR_CHECK(get_version(c, name, version));
  MR_CHECK(
      c.exec("INSERT INTO model_version_tags (key, value, name, version, workspace) VALUES (?, ?, ?, ?, 'default') ON "
             "CONFLICT (workspace, key, name, version) DO UPDATE SET value = excluded.value",
             t.key, t.value, name, version));
  return {};
}

Result<> delete_version_tag(sql::Connection& c, const std::string& name, std::int64_t version, const std::string& key) {
  MR_CHECK(get_version(c, name, version));
  MR_CHECK(c.exec("DELETE FROM model_version_tags WHERE workspace = 'default' AND key = ? AND name = ? AND version = ?",
                  key, name, version));
  return {};
}

}  // namespace mr::tracking::store
