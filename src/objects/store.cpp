#include "objects/store.h"

#include <fcntl.h>

#include "crypto/random.h"
#include "json/parse.h"
#include "log/log.h"
#include "objects/checksum.h"
#include "objects/errors.h"
#include "task/pool.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::objects {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kSchema = R"(
CREATE TABLE IF NOT EXISTS buckets (name TEXT PRIMARY KEY, created_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (bucket TEXT NOT NULL, key TEXT NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL, blob TEXT NOT NULL,
  modified_ms INTEGER NOT NULL, info TEXT NOT NULL, PRIMARY KEY (bucket, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS objects_blob ON objects (blob);
CREATE TABLE IF NOT EXISTS uploads (id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, created_ms INTEGER NOT NULL, info TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS uploads_key ON uploads (bucket, key);
CREATE TABLE IF NOT EXISTS parts (upload TEXT NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL, blob TEXT NOT NULL,
  modified_ms INTEGER NOT NULL, info TEXT NOT NULL, PRIMARY KEY (upload, number)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS parts_blob ON parts (blob);
)";

std::unexpected<Error> busy() { return s3_error("SlowDown"); }

// The rarely used rest of a row, as one JSON text.
std::string to_info(const Metadata& metadata, const std::map<std::string, std::string>& tags, const Checksum& sum, const std::vector<std::uint64_t>& parts) {
  boost::json::object o;
  if (!metadata.empty()) {
    auto& m = o["metadata"].emplace_object();
    for (const auto& [k, v] : metadata) m[k] = v;
  }
  if (!tags.empty()) {
    auto& t = o["tags"].emplace_object();
    for (const auto& [k, v] : tags) t[k] = v;
  }
  if (sum.algorithm != ChecksumAlgorithm::none) {
    o["algorithm"] = std::string(checksum_name(sum.algorithm));
    o["checksum"] = sum.value;
    o["composite"] = sum.composite;
  }
  if (!parts.empty()) {
    auto& p = o["parts"].emplace_array();
    for (auto size : parts) p.push_back(size);
  }
  return json::serialize(o);
}

struct Info {
  Metadata metadata;
  std::map<std::string, std::string> tags;
  Checksum checksum;
  std::vector<std::uint64_t> parts;
};
Info from_info(const std::string& text) {
  Info out;
  if (text.size() <= 2) return out;
  auto doc = json::parse(text);
  if (!doc) return out;
  auto strings = [&](const char* key, std::map<std::string, std::string>& into) {
    const auto* o = json::find(*doc, key);
    if (o == nullptr || !o->is_object()) return;
    for (const auto& [k, v] : o->get_object())
      if (v.is_string()) into[std::string(k)] = std::string(v.get_string());
  };
  strings("metadata", out.metadata);
  strings("tags", out.tags);
  out.checksum.algorithm = parse_checksum_name(json::string_or_empty(*doc, "algorithm"));
  out.checksum.value = json::string_or_empty(*doc, "checksum");
  if (const auto* c = json::find(*doc, "composite"); c != nullptr && c->is_bool()) out.checksum.composite = c->get_bool();
  if (const auto* p = json::find(*doc, "parts"); p != nullptr && p->is_array())
    for (const auto& size : p->get_array())
      if (size.is_int64()) out.parts.push_back(static_cast<std::uint64_t>(size.get_int64()));
  return out;
}

constexpr std::string_view kObjectColumns = "key, size, etag, blob, modified_ms, info";
constexpr std::string_view kObjectTypes = "sissis";
Object object_row(const sql::Row& r) {
  Object o;
  o.key = r.text(0);
  o.size = static_cast<std::uint64_t>(r.i64(1));
  o.etag = r.text(2);
  o.blob = r.text(3);
  o.modified_ms = r.i64(4);
  auto info = from_info(r.text(5));
  o.metadata = std::move(info.metadata);
  o.tags = std::move(info.tags);
  o.checksum = std::move(info.checksum);
  o.parts = std::move(info.parts);
  return o;
}

Result<> bucket_exists(sql::Connection& c, const std::string& name) {
  bool found = false;
  MR_CHECK(c.query("SELECT 1 FROM buckets WHERE name = ?", "i", {name}, [&](const sql::Row&) { found = true; }));
  if (!found) return s3_error("NoSuchBucket");
  return {};
}

// Checks a write's condition against the present row and writes the new one; gives the blob that it replaces.
Result<std::string> put_row(sql::Connection& c, const std::string& bucket, const Object& o, const WriteCondition& cond) {
  MR_CHECK(bucket_exists(c, bucket));
  std::string old_blob;
  std::string old_etag;
  bool present = false;
  MR_CHECK(c.query("SELECT blob, etag FROM objects WHERE bucket = ? AND key = ?", "ss", {bucket, o.key}, [&](const sql::Row& r) {
    present = true;
    old_blob = r.text(0);
    old_etag = r.text(1);
  }));
  if (cond.if_absent && present) return s3_error("PreconditionFailed");
  if (!cond.if_match.empty()) {
    if (!present) return s3_error("NoSuchKey");
    if (cond.if_match != "*" && cond.if_match != old_etag) return s3_error("PreconditionFailed");
  }
  MR_CHECK(c.exec("INSERT INTO objects (bucket, key, size, etag, blob, modified_ms, info) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (bucket, key) DO UPDATE SET size = excluded.size, etag = excluded.etag, "
                  "blob = excluded.blob, modified_ms = excluded.modified_ms, info = excluded.info",
                  bucket, o.key, o.size, o.etag, o.blob, o.modified_ms, to_info(o.metadata, o.tags, o.checksum, o.parts)));
  return old_blob;
}

// The least text greater than every text that starts with p; empty when there is none.
std::string after_prefix(std::string p) {
  while (!p.empty()) {
    auto c = static_cast<unsigned char>(p.back());
    if (c < 0xFF) {
      p.back() = static_cast<char>(c + 1);
      return p;
    }
    p.pop_back();
  }
  return p;
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(const std::string& folder) {
  auto s = std::unique_ptr<Store>(new Store(folder));
  MR_CHECK(make_folders(folder + "/blobs"));
  std::error_code ec;
  fs::remove_all(folder + "/tmp", ec);
  MR_CHECK(make_folders(folder + "/tmp"));
  MR_TRY(s->db_, sql::Database::open_sqlite(folder + "/index.db"));
  MR_CHECK(s->db_->write_blocking([](sql::Connection& c) { return c.script(kSchema); }));
  (void)task::disk_pool().submit([p = s.get()] { p->collect_orphans(); });
  return s;
}

void Store::stop() { db_->stop(); }

// A crash between rename and index row, or between index row and unlink, leaves a file that no row names.
void Store::collect_orphans() {
  std::error_code ec;
  auto started = fs::file_time_type::clock::now();
  std::size_t removed = 0;
  for (fs::recursive_directory_iterator it(folder_ + "/blobs", ec), end; !ec && it != end; it.increment(ec)) {
    std::error_code e2;
    if (!it->is_regular_file(e2) || it->last_write_time(e2) > started - std::chrono::minutes(10)) continue;
    auto blob = it->path().filename().string();
    auto known = db_->read([&](sql::Connection& c) -> Result<bool> {
      bool found = false;
      MR_CHECK(c.query("SELECT 1 FROM objects WHERE blob = ? UNION ALL SELECT 1 FROM parts WHERE blob = ?", "i", {blob, blob}, [&](const sql::Row&) { found = true; }));
      return found;
    });
    if (known && !*known && fs::remove(it->path(), e2)) ++removed;
  }
  if (removed > 0) log::info("removed files that no object names", {{"files", removed}});
}

std::string Store::blob_path(const std::string& blob) const { return fmt::format("{}/blobs/{}/{}", folder_, blob.substr(0, 2), blob); }

void Store::drop_blobs(std::vector<std::string> blobs) {
  std::erase(blobs, "");
  if (blobs.empty()) return;
  (void)task::disk_pool().submit([this, b = std::move(blobs)] {
    for (const auto& blob : b) ::unlink(blob_path(blob).c_str());
  });
}

Result<> Store::make_bucket_blocking(const std::string& name) {
  return db_->write_blocking([&](sql::Connection& c) -> Result<> {
    MR_CHECK(c.exec("INSERT INTO buckets (name, created_ms) VALUES (?, ?) ON CONFLICT DO NOTHING", name, time::now_ms()));
    return {};
  });
}

task::Task<Result<>> Store::create_bucket(std::string name) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<> {
    MR_CHECK(c.exec("INSERT INTO buckets (name, created_ms) VALUES (?, ?) ON CONFLICT DO NOTHING", name, time::now_ms()));
    return {};
  });
}

task::Task<Result<>> Store::delete_bucket(std::string name) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<> {
    MR_CHECK(bucket_exists(c, name));
    bool used = false;
    MR_CHECK(c.query("SELECT 1 FROM objects WHERE bucket = ? LIMIT 1", "i", {name}, [&](const sql::Row&) { used = true; }));
    if (used) return s3_error("BucketNotEmpty");
    MR_CHECK(c.exec("DELETE FROM parts WHERE upload IN (SELECT id FROM uploads WHERE bucket = ?)", name));
    MR_CHECK(c.exec("DELETE FROM uploads WHERE bucket = ?", name));
    MR_CHECK(c.exec("DELETE FROM buckets WHERE name = ?", name));
    return {};
  });
}

Result<std::vector<Bucket>> Store::buckets() {
  return db_->read([](sql::Connection& c) -> Result<std::vector<Bucket>> {
    std::vector<Bucket> out;
    MR_CHECK(c.query("SELECT name, created_ms FROM buckets ORDER BY name", "si", {}, [&](const sql::Row& r) { out.push_back({r.text(0), r.i64(1)}); }));
    return out;
  });
}

Result<> Store::require_bucket(const std::string& name) {
  return db_->read([&](sql::Connection& c) { return bucket_exists(c, name); });
}

Result<Object> Store::head(const std::string& bucket, const std::string& key) {
  return db_->read([&](sql::Connection& c) -> Result<Object> {
    std::optional<Object> o;
    MR_CHECK(c.query(fmt::format("SELECT {} FROM objects WHERE bucket = ? AND key = ?", kObjectColumns), kObjectTypes, {bucket, key}, [&](const sql::Row& r) { o = object_row(r); }));
    if (o) return *std::move(o);
    MR_CHECK(bucket_exists(c, bucket));
    return s3_error("NoSuchKey");
  });
}

Result<Fd> Store::open_blob(const std::string& blob) {
  Fd fd(::open(blob_path(blob).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail(Code::data_loss, "the bytes of an object are missing", "InternalError", blob);
  return fd;
}

Result<Listing> Store::list(const std::string& bucket, const ListQuery& q) {
  return db_->read([&](sql::Connection& c) -> Result<Listing> {
    MR_CHECK(bucket_exists(c, bucket));
    Listing out;
    if (q.max_keys == 0) return out;
    std::string upper = after_prefix(q.prefix);
    // `from` with `strict`: keys after it; without: keys from it on.
    std::string from = q.prefix;
    bool strict = false;
    if (!q.after.empty() && q.after >= q.prefix) {
      from = q.after;
      strict = true;
      // A common prefix given as the last entry covers all keys below it.
      if (!q.delimiter.empty() && q.after.size() > q.prefix.size() && q.after.ends_with(q.delimiter) && q.after.find(q.delimiter, q.prefix.size()) + q.delimiter.size() == q.after.size()) {
        from = after_prefix(q.after);
        strict = false;
      }
    }
    std::size_t count = 0;
    for (bool go_on = true; go_on;) {
      go_on = false;
      auto limit = static_cast<std::int64_t>(q.max_keys + 1 - count);
      std::string sql = fmt::format("SELECT {} FROM objects WHERE bucket = ? AND key {} ?{} ORDER BY key LIMIT ?", kObjectColumns, strict ? ">" : ">=", upper.empty() ? "" : " AND key < ?");
      std::vector<sql::Arg> args{bucket, from};
      if (!upper.empty()) args.emplace_back(upper);
      // With a delimiter most rows of a chunk may be skipped: take fewer at first.
      args.emplace_back(q.delimiter.empty() ? limit : std::min<std::int64_t>(limit, 64));
      std::int64_t rows = 0;
      std::int64_t asked = args.back().i;
      bool skipping = false;
      std::string next = from;
      MR_CHECK(c.query(sql, kObjectTypes, args, [&](const sql::Row& r) {
        ++rows;
        if (skipping || out.truncated) return;
        const auto& key = r.text(0);
        next = key;
        if (!q.delimiter.empty()) {
          auto at = key.find(q.delimiter, q.prefix.size());
          if (at != std::string::npos) {
            auto prefix = key.substr(0, at + q.delimiter.size());
            if (count == q.max_keys) {
              out.truncated = true;
              return;
            }
            out.prefixes.push_back(prefix);
            out.last = prefix;
            ++count;
            next = after_prefix(prefix);
            skipping = true;
            return;
          }
        }
        if (count == q.max_keys) {
          out.truncated = true;
          return;
        }
        out.objects.push_back(object_row(r));
        out.last = key;
        ++count;
      }));
      if (out.truncated) break;
      if (skipping && next.empty()) break;  // a prefix of 0xFF bytes: nothing can follow
      if (skipping || rows == asked) {
        from = next;
        strict = !skipping;
        go_on = true;
      }
    }
    return out;
  });
}

Result<DurableFile> Store::temporary() { return DurableFile::create(folder_ + "/tmp/" + crypto::random_hex(16)); }

task::Task<Result<std::string>> Store::keep(DurableFile& file) {
  auto r = co_await task::run_on(task::disk_pool(), [&]() -> Result<std::string> {
    auto blob = crypto::random_hex(16);
    auto path = blob_path(blob);
    MR_CHECK(make_folders(fs::path(path).parent_path().string()));
    MR_CHECK(file.commit(path));
    return blob;
  });
  if (!r) co_return busy();
  co_return std::move(*r);
}

task::Task<Result<Object>> Store::copy_blob(std::string blob, std::uint64_t offset, std::uint64_t length, ChecksumAlgorithm algorithm) {
  auto r = co_await task::run_on(task::disk_pool(), [&]() -> Result<Object> {
    MR_TRY(Fd in, open_blob(blob));
    MR_TRY(auto file, temporary());
    crypto::Hash md5(crypto::Algorithm::md5);
    ChecksumRun sum(algorithm);
    std::vector<char> buffer(1 << 20);
    auto at = static_cast<off_t>(offset);
    for (std::uint64_t left = length; left > 0;) {
      ssize_t n = ::pread(in.get(), buffer.data(), std::min<std::uint64_t>(buffer.size(), left), at);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return fail(Code::data_loss, "the bytes of an object are cut short", "InternalError", blob);
      std::string_view piece(buffer.data(), static_cast<std::size_t>(n));
      md5.update(piece);
      sum.update(piece);
      MR_CHECK(file.append(piece));
      at += n;
      left -= static_cast<std::uint64_t>(n);
    }
    Object o;
    o.size = length;
    o.etag = text::hex(md5.finish());
    if (algorithm != ChecksumAlgorithm::none) o.checksum = {algorithm, text::base64_encode(sum.finish()), false};
    o.blob = crypto::random_hex(16);
    auto path = blob_path(o.blob);
    MR_CHECK(make_folders(fs::path(path).parent_path().string()));
    MR_CHECK(file.commit(path));
    return o;
  });
  if (!r) co_return busy();
  co_return std::move(*r);
}

task::Task<Result<>> Store::put(std::string bucket, Object o, WriteCondition cond) {
  auto r = co_await db_->write([&](sql::Connection& c) { return put_row(c, bucket, o, cond); });
  drop_blobs({r ? *r : o.blob});
  if (!r) co_return std::unexpected(r.error());
  co_return Result<>{};
}

task::Task<Result<>> Store::remove(std::string bucket, std::string key, std::string if_match) {
  auto r = co_await db_->write([&](sql::Connection& c) -> Result<std::string> {
    MR_CHECK(bucket_exists(c, bucket));
    std::string blob;
    std::string etag;
    MR_CHECK(c.query("SELECT blob, etag FROM objects WHERE bucket = ? AND key = ?", "ss", {bucket, key}, [&](const sql::Row& row) {
      blob = row.text(0);
      etag = row.text(1);
    }));
    if (!if_match.empty()) {
      if (blob.empty()) return s3_error("NoSuchKey");
      if (if_match != "*" && if_match != etag) return s3_error("PreconditionFailed");
    }
    MR_CHECK(c.exec("DELETE FROM objects WHERE bucket = ? AND key = ?", bucket, key));
    return blob;
  });
  if (!r) co_return std::unexpected(r.error());
  drop_blobs({*r});
  co_return Result<>{};
}

task::Task<Result<>> Store::remove_all(std::string bucket, std::vector<std::string> keys) {
  auto r = co_await db_->write([&](sql::Connection& c) -> Result<std::vector<std::string>> {
    MR_CHECK(bucket_exists(c, bucket));
    std::vector<std::string> blobs;
    for (const auto& key : keys) {
      MR_CHECK(c.query("SELECT blob FROM objects WHERE bucket = ? AND key = ?", "s", {bucket, key}, [&](const sql::Row& row) { blobs.push_back(row.text(0)); }));
      MR_CHECK(c.exec("DELETE FROM objects WHERE bucket = ? AND key = ?", bucket, key));
    }
    return blobs;
  });
  if (!r) co_return std::unexpected(r.error());
  drop_blobs(std::move(*r));
  co_return Result<>{};
}

task::Task<Result<>> Store::set_tags(std::string bucket, std::string key, std::map<std::string, std::string> tags) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<> {
    MR_CHECK(bucket_exists(c, bucket));
    std::optional<std::string> info;
    MR_CHECK(c.query("SELECT info FROM objects WHERE bucket = ? AND key = ?", "s", {bucket, key}, [&](const sql::Row& r) { info = r.text(0); }));
    if (!info) return s3_error("NoSuchKey");
    auto i = from_info(*info);
    MR_CHECK(c.exec("UPDATE objects SET info = ? WHERE bucket = ? AND key = ?", to_info(i.metadata, tags, i.checksum, i.parts), bucket, key));
    return {};
  });
}

task::Task<Result<>> Store::create_upload(Upload u) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<> {
    MR_CHECK(bucket_exists(c, u.bucket));
    MR_CHECK(c.exec("INSERT INTO uploads (id, bucket, key, created_ms, info) VALUES (?, ?, ?, ?, ?)", u.id, u.bucket, u.key, u.created_ms, to_info(u.metadata, u.tags, {u.algorithm, "", u.composite}, {})));
    return {};
  });
}

namespace {
Upload upload_row(const sql::Row& r) {
  Upload u;
  u.id = r.text(0);
  u.bucket = r.text(1);
  u.key = r.text(2);
  u.created_ms = r.i64(3);
  auto info = from_info(r.text(4));
  u.metadata = std::move(info.metadata);
  u.tags = std::move(info.tags);
  u.algorithm = info.checksum.algorithm;
  u.composite = info.checksum.composite;
  return u;
}

Result<Upload> find_upload(sql::Connection& c, const std::string& bucket, const std::string& key, const std::string& id) {
  MR_CHECK(bucket_exists(c, bucket));
  std::optional<Upload> u;
  MR_CHECK(c.query("SELECT id, bucket, key, created_ms, info FROM uploads WHERE id = ? AND bucket = ? AND key = ?", "sssis", {id, bucket, key}, [&](const sql::Row& r) { u = upload_row(r); }));
  if (!u) return s3_error("NoSuchUpload");
  return *std::move(u);
}

Result<std::vector<std::string>> part_blobs(sql::Connection& c, const std::string& id) {
  std::vector<std::string> blobs;
  MR_CHECK(c.query("SELECT blob FROM parts WHERE upload = ?", "s", {id}, [&](const sql::Row& r) { blobs.push_back(r.text(0)); }));
  return blobs;
}
}  // namespace

Result<Upload> Store::upload(const std::string& bucket, const std::string& key, const std::string& id) {
  return db_->read([&](sql::Connection& c) { return find_upload(c, bucket, key, id); });
}

Result<std::vector<Upload>> Store::uploads(const std::string& bucket, const std::string& prefix) {
  return db_->read([&](sql::Connection& c) -> Result<std::vector<Upload>> {
    MR_CHECK(bucket_exists(c, bucket));
    std::vector<Upload> out;
    MR_CHECK(c.query("SELECT id, bucket, key, created_ms, info FROM uploads WHERE bucket = ? ORDER BY key, id", "sssis", {bucket}, [&](const sql::Row& r) {
      if (r.text(2).starts_with(prefix)) out.push_back(upload_row(r));
    }));
    return out;
  });
}

task::Task<Result<>> Store::put_part(std::string bucket, std::string key, std::string id, Part p) {
  auto r = co_await db_->write([&](sql::Connection& c) -> Result<std::string> {
    MR_CHECK(find_upload(c, bucket, key, id));  // it may have ended while the part was on its way
    std::string old;
    MR_CHECK(c.query("SELECT blob FROM parts WHERE upload = ? AND number = ?", "s", {id, p.number}, [&](const sql::Row& row) { old = row.text(0); }));
    MR_CHECK(c.exec("INSERT INTO parts (upload, number, size, etag, blob, modified_ms, info) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (upload, number) DO UPDATE SET size = excluded.size, etag = excluded.etag, "
                    "blob = excluded.blob, modified_ms = excluded.modified_ms, info = excluded.info",
                    id, p.number, p.size, p.etag, p.blob, p.modified_ms, to_info({}, {}, p.checksum, {})));
    return old;
  });
  drop_blobs({r ? *r : p.blob});
  if (!r) co_return std::unexpected(r.error());
  co_return Result<>{};
}

Result<std::vector<Part>> Store::parts(const std::string& id) {
  return db_->read([&](sql::Connection& c) -> Result<std::vector<Part>> {
    std::vector<Part> out;
    MR_CHECK(c.query("SELECT number, size, etag, blob, modified_ms, info FROM parts WHERE upload = ? ORDER BY number", "iissis", {id}, [&](const sql::Row& r) {
      Part p;
      p.number = static_cast<int>(r.i64(0));
      p.size = static_cast<std::uint64_t>(r.i64(1));
      p.etag = r.text(2);
      p.blob = r.text(3);
      p.modified_ms = r.i64(4);
      p.checksum = from_info(r.text(5)).checksum;
      out.push_back(std::move(p));
    }));
    return out;
  });
}

task::Task<Result<Object>> Store::join(std::vector<Part> list, ChecksumAlgorithm full) {
  auto r = co_await task::run_on(task::disk_pool(), [&]() -> Result<Object> {
    Object o;
    MR_TRY(auto file, temporary());
    ChecksumRun sum(full);
    std::vector<char> buffer(1 << 20);
    for (const auto& p : list) {
      MR_TRY(Fd in, open_blob(p.blob));
      for (;;) {
        ssize_t n = ::read(in.get(), buffer.data(), buffer.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno("cannot read a part", errno);
        if (n == 0) break;
        std::string_view piece(buffer.data(), static_cast<std::size_t>(n));
        sum.update(piece);
        MR_CHECK(file.append(piece));
      }
      o.parts.push_back(p.size);
    }
    o.size = file.size();
    o.blob = crypto::random_hex(16);
    auto path = blob_path(o.blob);
    MR_CHECK(make_folders(fs::path(path).parent_path().string()));
    MR_CHECK(file.commit(path));
    if (full != ChecksumAlgorithm::none) o.checksum.value = sum.finish();
    return o;
  });
  if (!r) co_return busy();
  co_return std::move(*r);
}

task::Task<Result<>> Store::complete(Upload u, Object o, WriteCondition cond) {
  auto r = co_await db_->write([&](sql::Connection& c) -> Result<std::vector<std::string>> {
    MR_CHECK(find_upload(c, u.bucket, u.key, u.id));
    MR_TRY(auto old, put_row(c, u.bucket, o, cond));
    MR_TRY(auto blobs, part_blobs(c, u.id));
    blobs.push_back(old);
    MR_CHECK(c.exec("DELETE FROM parts WHERE upload = ?", u.id));
    MR_CHECK(c.exec("DELETE FROM uploads WHERE id = ?", u.id));
    return blobs;
  });
  drop_blobs(r ? std::move(*r) : std::vector<std::string>{o.blob});
  if (!r) co_return std::unexpected(r.error());
  co_return Result<>{};
}

task::Task<Result<>> Store::abort(Upload u) {
  auto r = co_await db_->write([&](sql::Connection& c) -> Result<std::vector<std::string>> {
    MR_CHECK(find_upload(c, u.bucket, u.key, u.id));
    MR_TRY(auto blobs, part_blobs(c, u.id));
    MR_CHECK(c.exec("DELETE FROM parts WHERE upload = ?", u.id));
    MR_CHECK(c.exec("DELETE FROM uploads WHERE id = ?", u.id));
    return blobs;
  });
  if (!r) co_return std::unexpected(r.error());
  drop_blobs(std::move(*r));
  co_return Result<>{};
}

}  // namespace mr::objects
