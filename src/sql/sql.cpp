#include "sql/sql.h"

#include <soci/soci.h>
#include <soci/sqlite3/soci-sqlite3.h>

#include "log/log.h"

namespace mr::sql {

namespace {

struct Cell {
  soci::indicator ind = soci::i_ok;
  long long i = 0;
  double d = 0;
  std::string s;
};

// "a = ? AND b = ?" -> "a = :p1 AND b = :p2"; SOCI's back ends all take the named form.
std::string named_placeholders(std::string_view sql) {
  std::string out;
  out.reserve(sql.size() + 16);
  int n = 0;
  char quote = 0;
  for (char c : sql) {
    if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '\'' || c == '"') {
      quote = c;
    } else if (c == '?') {
      out += fmt::format(":p{}", ++n);
      continue;
    }
    out += c;
  }
  return out;
}

struct Prepared : Row {
  soci::statement st;
  std::deque<Cell> in;
  std::deque<Cell> out;
  std::string types;

  Prepared(soci::session& session, std::string_view sql, std::string_view kinds, std::string_view column_types)
      : st(session), types(column_types) {
    st.alloc();
    st.prepare(named_placeholders(sql));
    for (char k : kinds) {
      auto& c = in.emplace_back();
      if (k == 'i')
        st.exchange(soci::use(c.i, c.ind));
      else if (k == 'd')
        st.exchange(soci::use(c.d, c.ind));
      else
        st.exchange(soci::use(c.s, c.ind));
    }
    for (char t : types) {
      auto& c = out.emplace_back();
      if (t == 'i')
        st.exchange(soci::into(c.i, c.ind));
      else if (t == 'd')
        st.exchange(soci::into(c.d, c.ind));
      else
        st.exchange(soci::into(c.s, c.ind));
    }
    st.define_and_bind();
  }
  void assign(std::span<const Arg> args) {
    for (std::size_t k = 0; k < args.size(); ++k) {
      auto& c = in[k];
      const auto& a = args[k];
      c.ind = a.kind == Arg::Kind::null ? soci::i_null : soci::i_ok;
      c.i = a.i;
      c.d = a.d;
      if (a.kind == Arg::Kind::text) c.s.assign(a.s);
    }
  }
  bool null(std::size_t k) const override { return out[k].ind == soci::i_null; }
  std::int64_t i64(std::size_t k) const override { return null(k) ? 0 : out[k].i; }
  double real(std::size_t k) const override { return null(k) ? 0 : out[k].d; }
  const std::string& text(std::size_t k) const override {
    static const std::string empty;
    return null(k) ? empty : out[k].s;
  }
};

struct KeyHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};

}  // namespace

struct Connection::Impl {
  soci::session session;
  std::unordered_map<std::string, std::unique_ptr<Prepared>, KeyHash, std::equal_to<>> cache;
  std::string key;  // scratch

  // Statements of one text but other argument kinds are other statements: the kinds are part of the key.
  Prepared& prepared(std::string_view sql, std::string_view types, std::span<const Arg> args) {
    key.assign(types);
    key += '|';
    for (const auto& a : args) key += a.kind == Arg::Kind::integer ? 'i' : a.kind == Arg::Kind::real ? 'd' : 's';
    std::size_t kinds_end = key.size();
    key += '|';
    key += sql;
    auto it = cache.find(key);
    if (it == cache.end()) {
      if (cache.size() > 400) cache.clear();  // made-up searches: bound what is kept
      auto kinds = std::string_view(key).substr(types.size() + 1, kinds_end - types.size() - 1);
      auto p = std::make_unique<Prepared>(session, sql, kinds, types);
      it = cache.emplace(key, std::move(p)).first;
    }
    it->second->assign(args);
    return *it->second;
  }
};

namespace {
std::unexpected<Error> translate(const std::exception& e) {
  std::string what = e.what();
  if (what.find("constraint") != std::string::npos || what.find("UNIQUE") != std::string::npos)
    return fail(Code::already_exists, "a row with this key exists", "CONSTRAINT", what);
  if (what.find("disk is full") != std::string::npos || what.find("SQLITE_FULL") != std::string::npos)
    return fail(Code::resource_exhausted, "the disk is full", {}, what);
  if (what.find("locked") != std::string::npos || what.find("busy") != std::string::npos)
    return fail(Code::unavailable, "the database is busy", {}, what);
  return fail(Code::internal, "the database refused a statement", {}, what);
}
}  // namespace

Connection::Connection(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Connection::~Connection() = default;

Result<std::unique_ptr<Connection>> Connection::open_sqlite(const std::string& path, bool read_only) {
  // A connection belongs to one thread at a time, so SQLite need not lock it at every row.
  static const int configured = sqlite_api::sqlite3_config(SQLITE_CONFIG_MULTITHREAD);
  if (configured != SQLITE_OK) return fail(Code::internal, "SQLite was in use before it was configured");
  try {
    auto impl = std::make_unique<Impl>();
    impl->session.open(*soci::factory_sqlite3(),
                       fmt::format("dbname=\"{}\" timeout=20{}", path, read_only ? " readonly=true" : ""));
    auto c = std::unique_ptr<Connection>(new Connection(std::move(impl)));
    // The first read tells whether the file is a database at all.
    if (auto r = c->query("PRAGMA schema_version", "i", {}, [](const Row&) {}); !r)
      return fail(Code::failed_precondition, fmt::format("{} cannot be opened as an SQLite database", path), {},
                  r.error().detail);
    if (!read_only) {
      MR_CHECK(c->query("PRAGMA journal_mode=WAL", "s", {}, [](const Row&) {}));
      MR_CHECK(c->exec("PRAGMA synchronous=FULL"));
      MR_CHECK(c->exec("PRAGMA foreign_keys=ON"));
      MR_CHECK(c->query("PRAGMA wal_autocheckpoint=4000", "i", {}, [](const Row&) {}));
    }
    MR_CHECK(c->exec("PRAGMA case_sensitive_like=true"));
    // The journal of savepoints (one a job) and the sorter stay in memory: in a file they were 70% of the writes.
    MR_CHECK(c->exec("PRAGMA temp_store=MEMORY"));
    MR_CHECK(c->exec(read_only ? "PRAGMA cache_size=-8000" : "PRAGMA cache_size=-32000"));
    return c;
  } catch (const std::exception& e) {
    return fail(Code::failed_precondition, fmt::format("cannot open the database {}: {}", path, e.what()));
  }
}

Result<std::int64_t> Connection::exec(std::string_view sql, std::span<const Arg> args) {
  try {
    auto& p = impl_->prepared(sql, {}, args);
    p.st.execute(true);
    return p.st.get_affected_rows();
  } catch (const std::exception& e) {
    auto err = translate(e);
    err.error().detail += fmt::format(" [{}]", sql);
    return err;
  }
}

Result<void> Connection::query(std::string_view sql, std::string_view types, std::span<const Arg> args,
                               const RowSink& sink) {
  try {
    auto& p = impl_->prepared(sql, types, args);
    p.st.execute(false);
    while (p.st.fetch()) sink(p);
    return {};
  } catch (const std::exception& e) {
    auto err = translate(e);
    err.error().detail += fmt::format(" [{}]", sql);
    return err;
  }
}

Result<void> Connection::script(std::string_view sql) {
  auto* backend = static_cast<soci::sqlite3_session_backend*>(impl_->session.get_backend());
  char* message = nullptr;
  int r = sqlite_api::sqlite3_exec(backend->conn_, std::string(sql).c_str(), nullptr, nullptr, &message);
  if (r == SQLITE_OK) return {};
  std::string text = message == nullptr ? "unknown" : message;
  sqlite_api::sqlite3_free(message);
  return fail(Code::internal, "a schema statement failed", {}, text);
}

}  // namespace mr::sql
