// A file that appears whole or not at all: written under a temporary name, synced, renamed, its folder synced.
// Not thread safe; append() may run on a loop (page cache), commit() blocks on the disk and belongs on a pool.
#pragma once
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/fd.h"

namespace mr {

class DurableFile {
 public:
  // `temporary` must be on the file system of the final place; its folder exists.
  static Result<DurableFile> create(std::string temporary);
  DurableFile(DurableFile&& o) noexcept : path_(std::exchange(o.path_, {})), fd_(std::move(o.fd_)), size_(o.size_) {}
  DurableFile& operator=(DurableFile&&) = delete;
  // Removes the temporary file unless it was committed.
  ~DurableFile();
  Result<> append(std::string_view bytes);
  Result<> commit(const std::string& final_path);
  [[nodiscard]] std::uint64_t size() const { return size_; }

 private:
  DurableFile(std::string path, Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  std::string path_;
  Fd fd_;
  std::uint64_t size_ = 0;
};

// Writes a small file in one go, durably. A crash may leave it in part: only for a name that nothing refers to before
// this returns. It saves the second name and with it a third of the disk's work. Blocks.
Result<> write_unnamed_yet(const std::string& path, std::string_view bytes);

// Makes folders as needed and syncs the parents of new ones.
Result<> make_folders(const std::string& path);

}  // namespace mr
