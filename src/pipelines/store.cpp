#include "pipelines/store.h"

#include "crypto/digest.h"
#include "pipelines/store_parts.h"
#include "text/text.h"

namespace mr::pipelines {

namespace {
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wc23-extensions"
constexpr char pipelines_schema[] = {
#embed "schema/pipelines.sql"
    , 0};
#pragma clang diagnostic pop
constexpr std::int64_t schema_version = 1;

Result<> prepare(sql::Connection& c, const std::string& path) {
  std::int64_t version = 0;
  MR_CHECK(c.query("PRAGMA user_version", "i", {}, [&](const sql::Row& r) { version = r.i64(0); }));
  if (version == schema_version) return {};
  if (version != 0)
    return fail(Code::failed_precondition,
                fmt::format("the database {} has version {} of the pipelines tables; this program knows version {}. "
                            "Nothing was changed.",
                            path, version, schema_version));
  return c.script(pipelines_schema);
}
}  // namespace

Store::Store(std::unique_ptr<sql::Database> db) : db_(std::move(db)) {}
Store::~Store() = default;
void Store::stop() { db_->stop(); }

Result<std::unique_ptr<Store>> Store::open(const std::string& path) {
  MR_TRY(auto db, sql::Database::open_sqlite(path));
  MR_CHECK(db->write_blocking([&](sql::Connection& c) { return prepare(c, path); }));
  return std::unique_ptr<Store>(new Store(std::move(db)));
}

namespace rows {

std::string object_text(const Object& o) { return o.empty() ? std::string() : json::serialize(o); }

Object text_object(std::string_view text) {
  if (text.empty()) return {};
  auto v = json::parse(text, 256);
  return v && v->is_object() ? std::move(v->get_object()) : Object();
}

std::string error_text(const std::optional<Error>& e) {
  if (!e) return {};
  Object o{{"code", code_name(e->code)}, {"message", e->message}};
  if (!e->reason.empty()) o["reason"] = e->reason;
  return json::serialize(o);
}

std::optional<Error> text_error(std::string_view text) {
  if (text.empty()) return std::nullopt;
  auto v = json::parse(text);
  if (!v || !v->is_object()) return std::nullopt;
  Error e;
  const auto name = json::string_or_empty(*v, "code");
  for (int i = 0; i <= static_cast<int>(Code::internal); ++i)
    if (code_name(static_cast<Code>(i)) == name) e.code = static_cast<Code>(i);
  e.message = json::string_or_empty(*v, "message");
  e.reason = json::string_or_empty(*v, "reason");
  return e;
}

std::string history_text(const std::vector<StateChange>& history) {
  Array a;
  for (const auto& h : history) {
    Object o{{"t", h.time_ms}, {"s", state_name(h.state)}};
    if (h.error) o["e"] = error_text(h.error);
    a.push_back(std::move(o));
  }
  return a.empty() ? std::string() : json::serialize(Value(std::move(a)));
}

std::vector<StateChange> text_history(std::string_view text) {
  std::vector<StateChange> out;
  if (text.empty()) return out;
  auto v = json::parse(text);
  if (!v || !v->is_array()) return out;
  for (const auto& x : v->get_array()) {
    StateChange h;
    if (const auto* t = json::find(x, "t"); t != nullptr && t->is_int64()) h.time_ms = t->get_int64();
    h.state = parse_state(json::string_or_empty(x, "s")).value_or(State::unspecified);
    h.error = text_error(json::string_or_empty(x, "e"));
    out.push_back(std::move(h));
  }
  return out;
}

Result<std::string> keep_spec(sql::Connection& c, const Value& spec) {
  if (spec.is_null()) return std::string();
  const auto doc = json::serialize(spec);
  auto hash = text::hex(crypto::digest(crypto::Algorithm::sha256, doc));
  bool there = false;
  MR_CHECK(c.query("SELECT 1 FROM specs WHERE hash = ?", "i", {hash}, [&](const sql::Row&) { there = true; }));
  if (!there) MR_CHECK(c.exec("INSERT INTO specs (hash, doc) VALUES (?, ?)", hash, doc));
  return hash;
}

Result<Value> load_spec(sql::Connection& c, const std::string& hash) {
  if (hash.empty()) return Value();
  std::string doc;
  MR_CHECK(c.query("SELECT doc FROM specs WHERE hash = ?", "s", {hash}, [&](const sql::Row& r) { doc = r.text(0); }));
  return json::parse(doc, 512);
}

Result<> drop_spec(sql::Connection& c, const std::string& hash) {
  if (hash.empty()) return {};
  MR_CHECK(
      c.exec("DELETE FROM specs WHERE hash = ? AND NOT EXISTS (SELECT 1 FROM runs WHERE spec = hash) "
             "AND NOT EXISTS (SELECT 1 FROM versions WHERE spec = hash) "
             "AND NOT EXISTS (SELECT 1 FROM recurring_runs WHERE spec = hash)",
             hash));
  return {};
}

SqlText ns_scope(const std::string& ns) {
  SqlText s;
  if (ns.empty()) {
    s.add("1");
  } else {
    s.add("ns = ?");
    s.text(ns);
  }
  return s;
}

}  // namespace rows
}  // namespace mr::pipelines
