#include "objects/store.h"

#include <fcntl.h>

#include "crypto/random.h"
#include "log/log.h"
#include "objects/checksum.h"
#include "objects/errors.h"
#include "objects/store_rows.h"
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
  s->in_background([p = s.get()] { p->collect_orphans(); });
  return s;
}

Store::~Store() { stop(); }

void Store::in_background(std::move_only_function<void()> fn) {
  {
    std::lock_guard guard(mutex_);
    if (stopping_) return;
    ++running_;
  }
  auto job = [this, f = std::move(fn)]() mutable {
    f();
    std::lock_guard guard(mutex_);
    if (--running_ == 0) idle_.notify_all();
  };
  // A full pool drops the job: what it would have removed is an orphan, and orphans go at the next start.
  if (task::disk_pool().submit(std::move(job))) return;
  std::lock_guard guard(mutex_);
  if (--running_ == 0) idle_.notify_all();
}

void Store::stop() {
  stopping_ = true;
  {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [&] { return running_ == 0; });
  }
  if (db_) db_->stop();
}

// A crash between rename and index row, or between index row and unlink, leaves a file that no row names.
void Store::collect_orphans() {
  std::error_code ec;
  auto started = fs::file_time_type::clock::now();
  std::size_t removed = 0;
  for (fs::recursive_directory_iterator it(folder_ + "/blobs", ec), end; !ec && it != end; it.increment(ec)) {
    std::error_code e2;
    if (stopping_) return;
    if (!it->is_regular_file(e2) || it->last_write_time(e2) > started - std::chrono::minutes(10)) continue;
    auto blob = it->path().filename().string();
    auto known = db_->read([&](sql::Connection& c) -> Result<bool> {
      bool found = false;
      MR_CHECK(c.query("SELECT 1 FROM objects WHERE blob = ? UNION ALL SELECT 1 FROM parts WHERE blob = ?", "i",
                       {blob, blob}, [&](const sql::Row&) { found = true; }));
      return found;
    });
    if (known && !*known && fs::remove(it->path(), e2)) ++removed;
  }
  if (removed > 0) log::info("removed files that no object names", {{"files", removed}});
}

std::string Store::blob_path(const std::string& blob) const {
  return fmt::format("{}/blobs/{}/{}", folder_, blob.substr(0, 2), blob);
}

void Store::drop_blobs(std::vector<std::string> blobs) {
  std::erase(blobs, "");
  if (blobs.empty()) return;
  in_background([this, b = std::move(blobs)] {
    for (const auto& blob : b) ::unlink(blob_path(blob).c_str());
  });
}  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks): the analyzer loses the closure inside move_only_function

Result<> Store::make_bucket_blocking(const std::string& name) {
  return db_->write_blocking([&](sql::Connection& c) -> Result<> {
    MR_CHECK(
        c.exec("INSERT INTO buckets (name, created_ms) VALUES (?, ?) ON CONFLICT DO NOTHING", name, time::now_ms()));
    return {};
  });
}

task::Task<Result<>> Store::create_bucket(std::string name) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<> {
    MR_CHECK(
        c.exec("INSERT INTO buckets (name, created_ms) VALUES (?, ?) ON CONFLICT DO NOTHING", name, time::now_ms()));
    return {};
  });
}

task::Task<Result<>> Store::delete_bucket(std::string name) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<> {
    MR_CHECK(bucket_exists(c, name));
    bool used = false;
    MR_CHECK(
        c.query("SELECT 1 FROM objects WHERE bucket = ? LIMIT 1", "i", {name}, [&](const sql::Row&) { used = true; }));
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
    MR_CHECK(c.query("SELECT name, created_ms FROM buckets ORDER BY name", "si", {},
                     [&](const sql::Row& r) { out.push_back({r.text(0), r.i64(1)}); }));
    return out;
  });
}

Result<> Store::require_bucket(const std::string& name) {
  return db_->read([&](sql::Connection& c) { return bucket_exists(c, name); });
}

Result<Object> Store::head(const std::string& bucket, const std::string& key) {
  return db_->read([&](sql::Connection& c) -> Result<Object> {
    std::optional<Object> o;
    MR_CHECK(c.query(fmt::format("SELECT {} FROM objects WHERE bucket = ? AND key = ?", kObjectColumns), kObjectTypes,
                     {bucket, key}, [&](const sql::Row& r) { o = object_row(r); }));
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
      if (!q.delimiter.empty() && q.after.size() > q.prefix.size() && q.after.ends_with(q.delimiter) &&
          q.after.find(q.delimiter, q.prefix.size()) + q.delimiter.size() == q.after.size()) {
        from = after_prefix(q.after);
        strict = false;
      }
    }
    std::size_t count = 0;
    for (bool go_on = true; go_on;) {
      go_on = false;
      auto limit = static_cast<std::int64_t>(q.max_keys + 1 - count);
      std::string sql = fmt::format("SELECT {} FROM objects WHERE bucket = ? AND key {} ?{} ORDER BY key LIMIT ?",
                                    kObjectColumns, strict ? ">" : ">=", upper.empty() ? "" : " AND key < ?");
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

task::Task<Result<Object>> Store::adopt(std::string from) {
  auto r = co_await task::run_on(task::disk_pool(), [&]() -> Result<Object> {
    Fd in(::open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (in.get() < 0) return fail_errno(from, errno);
    crypto::Hash md5(crypto::Algorithm::md5);
    ChecksumRun sum(ChecksumAlgorithm::crc64nvme);
    Object o;
    std::vector<char> buffer(1U << 20);
    auto blob = crypto::random_hex(16);
    auto path = blob_path(blob);
    MR_CHECK(make_folders(fs::path(path).parent_path().string()));
    bool linked = ::link(from.c_str(), path.c_str()) == 0;
    std::optional<DurableFile> copy;
    if (!linked) {
      MR_TRY(auto file, temporary());
      copy.emplace(std::move(file));
    }
    for (;;) {
      auto n = ::read(in.get(), buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_errno(from, errno);
      if (n == 0) break;
      std::string_view piece(buffer.data(), static_cast<std::size_t>(n));
      md5.update(piece);
      sum.update(piece);
      o.size += piece.size();
      if (copy) MR_CHECK(copy->append(piece));
    }
    if (copy) {
      MR_CHECK(copy->commit(path));
    } else {
      Fd folder(::open(fs::path(path).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (::fsync(in.get()) != 0 || folder.get() < 0 || ::fsync(folder.get()) != 0) {
        auto e = errno;
        ::unlink(path.c_str());
        return fail_errno(path, e);
      }
    }
    o.blob = blob;
    o.etag = text::hex(md5.finish());
    o.checksum = {ChecksumAlgorithm::crc64nvme, text::base64_encode(sum.finish()), false};
    o.modified_ms = time::now_ms();
    return o;
  });
  if (!r) co_return busy();
  co_return std::move(*r);
}

task::Task<Result<std::string>> Store::keep_bytes(std::string_view bytes) {
  auto r = co_await task::run_on(task::disk_pool(), [&]() -> Result<std::string> {
    auto blob = crypto::random_hex(16);
    auto path = blob_path(blob);
    MR_CHECK(make_folders(fs::path(path).parent_path().string()));
    MR_CHECK(write_unnamed_yet(path, bytes));
    return blob;
  });
  if (!r) co_return busy();
  co_return std::move(*r);
}

task::Task<Result<Object>> Store::copy_blob(std::string blob, std::uint64_t offset, std::uint64_t length,
                                            ChecksumAlgorithm algorithm) {
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
    MR_CHECK(c.query("SELECT blob, etag FROM objects WHERE bucket = ? AND key = ?", "ss", {bucket, key},
                     [&](const sql::Row& row) {
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
      MR_CHECK(c.query("SELECT blob FROM objects WHERE bucket = ? AND key = ?", "s", {bucket, key},
                       [&](const sql::Row& row) { blobs.push_back(row.text(0)); }));
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
    MR_CHECK(c.query("SELECT info FROM objects WHERE bucket = ? AND key = ?", "s", {bucket, key},
                     [&](const sql::Row& r) { info = r.text(0); }));
    if (!info) return s3_error("NoSuchKey");
    auto i = from_info(*info);
    MR_CHECK(c.exec("UPDATE objects SET info = ? WHERE bucket = ? AND key = ?",
                    to_info(i.metadata, tags, i.checksum, i.parts), bucket, key));
    return {};
  });
}

}  // namespace mr::objects
