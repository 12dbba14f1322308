#include <fcntl.h>

#include "crypto/random.h"
#include "objects/checksum.h"
#include "objects/store.h"
#include "objects/store_rows.h"
#include "task/pool.h"

namespace mr::objects {

namespace fs = std::filesystem;

task::Task<Result<>> Store::create_upload(Upload u) {
  co_return co_await db_->write([&](sql::Connection& c) -> Result<> {
    MR_CHECK(bucket_exists(c, u.bucket));
    MR_CHECK(c.exec("INSERT INTO uploads (id, bucket, key, created_ms, info) VALUES (?, ?, ?, ?, ?)", u.id, u.bucket,
                    u.key, u.created_ms, to_info(u.metadata, u.tags, {u.algorithm, "", u.composite}, {})));
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

Result<Upload> find_upload(sql::Connection& c, const std::string& bucket, const std::string& key,
                           const std::string& id) {
  MR_CHECK(bucket_exists(c, bucket));
  std::optional<Upload> u;
  MR_CHECK(c.query("SELECT id, bucket, key, created_ms, info FROM uploads WHERE id = ? AND bucket = ? AND key = ?",
                   "sssis", {id, bucket, key}, [&](const sql::Row& r) { u = upload_row(r); }));
  if (!u) return s3_error("NoSuchUpload");
  return *std::move(u);
}

Result<std::vector<std::string>> part_blobs(sql::Connection& c, const std::string& id) {
  std::vector<std::string> blobs;
  MR_CHECK(c.query("SELECT blob FROM parts WHERE upload = ?", "s", {id},
                   [&](const sql::Row& r) { blobs.push_back(r.text(0)); }));
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
    MR_CHECK(c.query("SELECT id, bucket, key, created_ms, info FROM uploads WHERE bucket = ? ORDER BY key, id", "sssis",
                     {bucket}, [&](const sql::Row& r) {
                       if (r.text(2).starts_with(prefix)) out.push_back(upload_row(r));
                     }));
    return out;
  });
}

task::Task<Result<>> Store::put_part(std::string bucket, std::string key, std::string id, Part p) {
  auto r = co_await db_->write([&](sql::Connection& c) -> Result<std::string> {
    MR_CHECK(find_upload(c, bucket, key, id));  // it may have ended while the part was on its way
    std::string old;
    MR_CHECK(c.query("SELECT blob FROM parts WHERE upload = ? AND number = ?", "s", {id, p.number},
                     [&](const sql::Row& row) { old = row.text(0); }));
    MR_CHECK(
        c.exec("INSERT INTO parts (upload, number, size, etag, blob, modified_ms, info) VALUES (?, ?, ?, ?, ?, ?, ?) "
               "ON CONFLICT (upload, number) DO UPDATE SET size = excluded.size, etag = excluded.etag, "
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
    MR_CHECK(c.query("SELECT number, size, etag, blob, modified_ms, info FROM parts WHERE upload = ? ORDER BY number",
                     "iissis", {id}, [&](const sql::Row& r) {
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
