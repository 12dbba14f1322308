// The local object store: an SQLite index (objects/index.db) and one file for each object's bytes (objects/blobs).
// A write is temporary file, fsync, rename, index row: an answered object is whole on disk, an unanswered one is
// invisible. Thread safe. Methods that return Task run on a loop; the rest block.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "core/durable_file.h"
#include "objects/types.h"
#include "sql/database.h"

namespace mr::objects {

class Store {
 public:
  // Opens or makes the store in `folder`; removes what a crash left in tmp/.
  static Result<std::unique_ptr<Store>> open(const std::string& folder);
  ~Store();
  // Waits for work in the background (removing files), then closes the index. Idempotent.
  void stop();

  Result<> make_bucket_blocking(const std::string& name);  // at start; an existing one is fine
  task::Task<Result<>> create_bucket(std::string name);
  task::Task<Result<>> delete_bucket(std::string name);
  Result<std::vector<Bucket>> buckets();
  Result<> require_bucket(const std::string& name);

  Result<Object> head(const std::string& bucket, const std::string& key);
  // The object's bytes; the descriptor stays valid when the object is replaced or deleted.
  Result<Fd> open_blob(const std::string& blob);
  [[nodiscard]] std::string blob_path(const std::string& blob) const;
  Result<Listing> list(const std::string& bucket, const ListQuery& query);

  // A new temporary file for an upload.
  Result<DurableFile> temporary();
  // Puts a written file in place under a new blob name, durably; returns the name. Runs on the disk pool.
  task::Task<Result<std::string>> keep(DurableFile& file);
  // The file at `path`, which nobody writes to any more, as a new blob: a hard link, or a copy on another file system.
  // With its MD5 as etag and its CRC64NVME. Runs on the disk pool.
  task::Task<Result<Object>> adopt(std::string path);
  // The same for a small body that is in memory.
  task::Task<Result<std::string>> keep_bytes(std::string_view bytes);
  // A durable copy of a range of a blob, with its MD5 as etag and a full checksum. Runs on the disk pool.
  task::Task<Result<Object>> copy_blob(std::string blob, std::uint64_t offset, std::uint64_t length,
                                       ChecksumAlgorithm algorithm);
  // Removes a kept blob that no row will name.
  void discard(std::string blob) { drop_blobs({std::move(blob)}); }
  // Index writes. `object.blob` is kept already; on error the blob is removed.
  task::Task<Result<>> put(std::string bucket, Object object, WriteCondition condition);
  task::Task<Result<>> remove(std::string bucket, std::string key, std::string if_match);
  // Removes many in one transaction; missing keys are fine.
  task::Task<Result<>> remove_all(std::string bucket, std::vector<std::string> keys);
  task::Task<Result<>> set_tags(std::string bucket, std::string key, std::map<std::string, std::string> tags);

  task::Task<Result<>> create_upload(Upload upload);
  Result<Upload> upload(const std::string& bucket, const std::string& key, const std::string& id);
  Result<std::vector<Upload>> uploads(const std::string& bucket, const std::string& prefix);
  task::Task<Result<>> put_part(std::string bucket, std::string key, std::string upload_id, Part part);
  Result<std::vector<Part>> parts(const std::string& upload_id);
  // Joins the parts into one new blob (on the disk pool); full-object checksums are computed on the way.
  task::Task<Result<Object>> join(std::vector<Part> parts, ChecksumAlgorithm full);
  // The object takes the upload's place: its row is written and the upload's rows go, in one transaction.
  task::Task<Result<>> complete(Upload upload, Object object, WriteCondition condition);
  task::Task<Result<>> abort(Upload upload);

 private:
  explicit Store(std::string folder) : folder_(std::move(folder)) {}
  void drop_blobs(std::vector<std::string> blobs);
  void collect_orphans();
  // Runs fn on the disk pool; stop() waits for it.
  void in_background(std::move_only_function<void()> fn);
  std::string folder_;
  std::unique_ptr<sql::Database> db_;
  std::mutex mutex_;  // guards the two below
  std::condition_variable idle_;
  int running_ = 0;
  std::atomic<bool> stopping_ = false;
};

}  // namespace mr::objects
